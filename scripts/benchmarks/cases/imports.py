"""What every path needs to have imported before its clock starts."""

from __future__ import annotations

from importlib import import_module

import datasets  # noqa: F401 - is to be there


def import_tf_classes(model: str) -> None:
    """TensorFlow, Keras 2 and the TF classes of the checkpoint's architecture."""
    from tfft.backend import keras, transformers  # noqa: F401 - is to be there

    kind = transformers.AutoConfig.from_pretrained(model).model_type
    import_module(f"transformers.models.{kind}.modeling_tf_{kind}")
    transformers.AutoTokenizer.from_pretrained(model)
    assert transformers.TFAutoModelForSequenceClassification


def import_torch_classes(model: str) -> None:
    import torch  # noqa: F401 - is to be there
    import transformers

    kind = transformers.AutoConfig.from_pretrained(model).model_type
    import_module(f"transformers.models.{kind}.modeling_{kind}")
    transformers.AutoTokenizer.from_pretrained(model)
    assert transformers.Trainer
