"""Pickled tensors -> safetensors; see `tfft/unpickling.py`.

python -m tfft.pytorch.unpickle
{"pickles": ["pytorch_model.bin"], "output": "model.safetensors"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfft.errors import ModelError, first_line
from tfft.pytorch.backend import torch
from tfft.pytorch.children import Job, answer


def main(job: Job) -> Job:
    """Writes `output`; tells the names of the tensors in it.

    Raises:
        ModelError: a pickle is broken, or holds something else.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    for path in map(Path, job["pickles"]):
        tensors |= read(path)
    # Tied weights share their memory, which safetensors don't.
    save_file(
        {name: each.detach().clone().contiguous() for name, each in tensors.items()},
        job["output"],
        metadata={"format": "pt"},
    )
    return {"names": sorted(tensors)}


def read(path: Path) -> dict[str, Any]:
    """The tensors by name, on the CPU."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise ModelError(
                f"{path}: refused: this pickle asks for {named[1]}, and a checkpoint needs tensors "
                "alone; don't trust it"
            ) from None
        raise ModelError(
            f"{path}: a corrupt pickle ({first_line(error)}); fetch it again"
        ) from None
    if not isinstance(found, Mapping) or not found:
        raise ModelError(f"{path}: holds a {type(found).__name__}, expected tensors by name")
    for name, each in found.items():
        if not isinstance(each, torch.Tensor):
            raise ModelError(
                f"{path}: {name} is a {type(each).__name__}, expected a tensor; save the model's "
                "state_dict alone"
            )
    return dict(found)


if __name__ == "__main__":
    answer(main)
