"""A checkpoint's tensors -> a TFAutoModel that has them.

    model, filled = load("TFAutoModelForSequenceClassification", config, checkpoint.weight_files)
    filled.missing, filled.unused

transformers' own `from_pretrained` tells neither what an h5 file lacks nor what is in no shard, and
wants to be told which framework wrote a file; otherwise the two do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfft.backend import transformers
from tfft.errors import ModelError, first_line
from tfft.naming import aliases, by_pytorch_name, in_pytorch_s_words, is_idle
from tfft.tensors import Tensors, count_h5, has_names, open_tensors


@dataclass(frozen=True)
class Filled:
    """What went where, by PyTorch's names.

    Attributes:
        used: the file's tensors that are in the model now.
        missing: the model's that the file lacks.
        mismatched: those that have another shape in it.
        unused: the file's that the model has no place for.
    """

    used: frozenset[str]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    unused: tuple[str, ...]


def load(auto_class: str, config: Any, files: Sequence[Path]) -> tuple[Any, Filled]:
    """The model, with the weights that the files have; the others are drawn by its initialisers.

    Raises:
        ModelError: a file can't be read.
    """
    model = getattr(transformers, auto_class).from_config(config)
    model.build_in_name_scope()
    if files[0].suffix == ".h5" and not has_names(files[0]):
        return model, _fill_by_place(model, files[0])
    return model, fill(model, open_tensors(files))


def fill(model: Any, tensors: Tensors) -> Filled:
    """Gives the model's weights the values of the tensors with their names, one after the other.

    Raises:
        ModelError: a tensor can't be read.
    """
    from transformers.modeling_tf_pytorch_utils import apply_transpose

    in_file = in_pytorch_s_words(model, tensors.shapes, layout=tensors.layout)
    prefix = f"{model.base_model_prefix}."
    is_bare = not any(name.startswith(prefix) for name in in_file)
    used, idle, missing, mismatched = set(), set(), [], []
    for weight in model.weights:
        (own_name, *others), transpose = aliases(model, weight.name, weight.shape)
        names = [own_name, *others]
        if is_bare:  # a body that was saved without a head
            names = [each.removeprefix(prefix) for each in names]
        name = next((each for each in names if each in in_file), None)
        if is_idle(model, own_name):
            idle.add(name)
            continue
        if name is None:
            missing.append(own_name)
            continue
        used.add(name)
        array = tensors.read(in_file[name])
        if tensors.layout == "pytorch":
            array = apply_transpose(transpose, array)
        if _without_ones(array.shape) != _without_ones(weight.shape):
            mismatched.append(own_name)
            continue
        weight.assign(np.reshape(array, weight.shape))
    unused = sorted(in_file.keys() - used - idle)
    return Filled(frozenset(used), tuple(missing), tuple(mismatched), tuple(unused))


def _without_ones(shape: Sequence[int]) -> list[int]:
    """GPT-2's biases are [1, n] in TensorFlow."""
    return [each for each in shape if each != 1]


def _fill_by_place(model: Any, path: Path) -> Filled:
    n_weights = count_h5(path)
    try:
        if n_weights != len(model.weights):  # Keras takes the first of too many
            raise ValueError(f"it has {n_weights}, the model {len(model.weights)}")
        model.load_weights(str(path))
    except Exception as error:
        raise ModelError(
            f"{path}: not the weights of this {type(model).__name__} ({first_line(error)}); is the "
            "config.json beside it of the same model?"
        ) from error
    return Filled(frozenset(by_pytorch_name(model)), (), (), ())
