"""A TensorFlow model's weights under PyTorch's names, so that both frameworks load the same file.

    save_checkpoint(loaded, tokenizer, Path("runs/cola-1/model"))

writes `config.json`, `model.safetensors` (metadata `format: pt`, kernels transposed) and the
tokenizer's files. `save_pretrained` of a TF model writes TensorFlow's names instead, which PyTorch
opens without an error and then crashes on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tfft.errors import ModelError, listed
from tfft.folders import os_errors
from tfft.modeling import LoadedModel
from tfft.naming import by_pytorch_name


def to_pytorch(
    model: Any, value_of: Callable[[Any], np.ndarray] = lambda weight: weight.numpy()
) -> dict[str, np.ndarray]:
    """Every weight by PyTorch's name and in its layout.

    Args:
        value_of: what stands for a weight, in its shape: by default its value.

    Raises:
        ModelError: two weights get one name: the architecture's names don't map.
    """
    from transformers.modeling_tf_pytorch_utils import apply_transpose

    tensors: dict[str, np.ndarray] = {}
    for name, (weight, transpose) in by_pytorch_name(model).items():
        array = apply_transpose(transpose, value_of(weight), match_shape=None, pt_to_tf=False)
        if name.endswith(".bias"):  # GPT-2's are [1, n] in TensorFlow
            array = array.reshape(-1)
        tensors[name] = np.ascontiguousarray(array)
    return tensors


def check_names(saved: set[str], loaded: LoadedModel) -> None:
    """Compares what would be saved with what the checkpoint held.

    Each tensor that was read must come out again under its own name (but for the prefix that a
    head's model has and a bare body's lacks), and each that comes out must have been read or made.

    Raises:
        ModelError: the names of this architecture don't map; names the first of them.
    """
    prefix = loaded.model.base_model_prefix + "."
    came_out = {name.removeprefix(prefix) for name in saved}
    went_in = {name.removeprefix(prefix) for name in loaded.source_tensors}
    made = {name.removeprefix(prefix) for name in loaded.fresh}
    lost = sorted(went_in - came_out - NOT_WEIGHTS)
    strange = sorted(came_out - went_in - made)
    if lost or strange:
        told = f"lost: {listed(lost, most=3)}" if lost else f"new: {listed(strange, most=3)}"
        raise ModelError(
            f"{loaded.model.config.model_type}: the weights' names don't map to PyTorch's "
            f"({told}); a run of this architecture can't be saved"
        )


# Counters and index buffers that old PyTorch checkpoints carry: no parameters.
NOT_WEIGHTS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})


def save_checkpoint(loaded: LoadedModel, tokenizer: Any, folder: Path) -> None:
    """Writes a folder that TFAutoModel* and AutoModel* both load as it is.

    Raises:
        ModelError: the architecture's names don't map.
        OSError: the folder can't be written.
    """
    save_model(loaded, folder)
    with os_errors(folder):
        tokenizer.save_pretrained(folder)


def save_model(loaded: LoadedModel, folder: Path) -> None:
    """The same without a tokenizer."""
    tensors = to_pytorch(loaded.model)
    check_names(set(tensors), loaded)
    config = loaded.model.config
    config.architectures = [type(loaded.model).__name__.removeprefix("TF")]
    # transformers 5 loads a model in the floats that its config names, whatever the file has.
    config.torch_dtype = "float32"
    path = folder / "model.safetensors"
    with os_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(folder)
        save_file(tensors, str(path), metadata={"format": "pt"})
