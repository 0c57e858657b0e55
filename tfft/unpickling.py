"""The tensors of a pickled checkpoint, taken out of it where nothing that it asks for is run.

    folder = unpickle(Path("model"), cache=cache_folder())      # model.safetensors, config.json

A pickle is a program. PyTorch's `weights_only` reads the part of that language that makes tensors
and refuses the rest, in a process of its own; from then on TensorFlow sees safetensors alone.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import mkdtemp

from tfft.errors import ModelError
from tfft.hub import weight_files
from tfft.pytorch.children import run_child
from tfft.tensors import read_index


def unpickle(folder: Path, *, cache: Path) -> Path | None:
    """A folder with the same tensors as safetensors, kept by the pickle's hash.

    Returns:
        None where `folder` has no pickle of a name that transformers gives.

    Raises:
        ModelError: the pickle holds more than tensors, or is broken.
        TfftError: torch isn't installed.
    """
    files = weight_files(folder, allow_pickle=True)
    if not files:
        return None
    for path in files:
        if not path.exists():
            raise ModelError(f"{path}: no such file, which {files[0].name} names")
    kept = cache / "unpickled" / _sha256(files)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(dir=kept.parent))
        try:
            _take_out(files, unfinished)
            if not kept.exists():  # another run may have been quicker
                unfinished.rename(kept)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copyfile(folder / "config.json", kept / "config.json")
    return kept


def _take_out(files: tuple[Path, ...], output: Path) -> None:
    index, pickles = (files[0], files[1:]) if files[0].suffix == ".json" else (None, files)
    told = run_child(
        "tfft.pytorch.unpickle",
        {"pickles": [str(each) for each in pickles], "output": str(output / "model.safetensors")},
    )
    if index is not None:
        lost = sorted(read_index(index).keys() - set(told["names"]))
        if lost:
            raise ModelError(f"{index}: {lost[0]} is in none of its files; fetch them again")


def _sha256(files: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
