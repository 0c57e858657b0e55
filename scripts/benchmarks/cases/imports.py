"""What every path needs to have imported before its clock starts."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import datasets  # noqa: F401 - is to be there

# With one of these instructions TensorFlow takes oneDNN by itself (its guide to CPU optimizations).
ONEDNN_FLAGS = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}


def as_tensorflow_is_by_default() -> None:
    """Undoes what tfft switches on: a user of Keras alone hasn't it. What is set stays."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", str(int(bool(flags & ONEDNN_FLAGS))))


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
