"""What PyTorch calls the weights of a TensorFlow model.

by_pytorch_name(model)["classifier.weight"]     # the variable, and how its layout differs
pytorch_names(tensors, model)                   # the same for names in a file
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tfft.errors import ModelError


def by_pytorch_name(model: Any) -> dict[str, tuple[Any, Any]]:
    """PyTorch's name -> the weight, and how its layout differs; no weight is copied.

    Without those that PyTorch's model hasn't, and nothing uses.

    Raises:
        ModelError: two weights get one name: the architecture's names don't map.
    """
    named: dict[str, tuple[Any, Any]] = {}
    for weight in model.weights:
        (name, *_), transpose = aliases(model, weight.name, weight.shape)
        if is_idle(model, name):
            continue
        if name in named:
            raise ModelError(
                f"{model.config.model_type}: two weights would be saved as {name}; this "
                "architecture's names don't map to PyTorch's"
            )
        named[name] = (weight, transpose)
    prefix = f"{model.base_model_prefix}."
    if all(name.startswith(prefix) for name in named):  # a body without a head
        return {name.removeprefix(prefix): each for name, each in named.items()}
    return named


def is_idle(model: Any, name: str) -> bool:
    """Whether a checkpoint may lack it: the pooler that TensorFlow's MPNet has below every head."""
    patterns = model._keys_to_ignore_on_load_missing or ()
    return any(re.search(each, name) for each in patterns)


def aliases(model: Any, name: str, shape: Iterable[int]) -> tuple[tuple[str, ...], Any]:
    """All that PyTorch may call a weight of TensorFlow's name, the usual first; and its layout."""
    from transformers.modeling_tf_pytorch_utils import convert_tf_weight_name_to_pt_weight_name

    named, transpose = convert_tf_weight_name_to_pt_weight_name(name, tf_weight_shape=shape)
    rename = getattr(model, "tf_to_pt_weight_rename", lambda each: (each,))
    return tuple(rename(named)), transpose


def pytorch_name(weight: Any) -> str:
    """Of a weight whose architecture renames none; see `by_pytorch_name`."""
    return aliases(None, weight.name, weight.shape)[0][0]


def in_pytorch_s_words(
    model: Any, shapes: Mapping[str, tuple[int, ...]], *, layout: str
) -> dict[str, str]:
    """PyTorch's name of today -> the name in the file.

    Args:
        shapes: by the names in the file, as `Tensors` has them.
    """
    if layout == "pytorch":
        return {modern(name): name for name in shapes}
    # Its names lack the model's own, which the conversion expects in front.
    return {aliases(model, f"/{name}", shape)[0][0]: name for name, shape in shapes.items()}


def modern(name: str) -> str:
    """BERT's first checkpoints call LayerNorm's weight and bias gamma and beta."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )
