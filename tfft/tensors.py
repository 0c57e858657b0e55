"""What weight files hold, whichever framework saved them and in whatever floats.

    tensors = open_tensors(checkpoint.weight_files)
    tensors.shapes                      # name -> shape; of the files, the contents alone are read
    tensors.read("classifier.weight")   # float32, from the disk

transformers' own readers keep quiet about what they didn't find: tensors that are in no shard, and
all that an h5 file lacks, come out as random numbers.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfft.errors import ModelError, first_line, listed

# safetensors' words for the floats -> bytes; NumPy has no bfloat16 of its own.
_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64}


@dataclass(frozen=True)
class Tensors:
    """The tensors of a checkpoint, each read when it is asked for.

    Attributes:
        shapes: by the names and in the layout of the framework that saved them; TensorFlow's names
            without the model's own in front.
        layout: `pytorch` or `tensorflow`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    layout: str
    _readers: Mapping[str, Callable[[], np.ndarray]]

    def read(self, name: str) -> np.ndarray:
        """One of them, as float32.

        Raises:
            ModelError: it holds no floats, as a quantised checkpoint's.
        """
        return self._readers[name]()


def open_tensors(files: Sequence[Path]) -> Tensors:
    """The tensors of safetensors or h5 files, the shards of an index or a single one.

    Raises:
        ModelError: a file is missing, broken, partly written, or lacks what the index names.
    """
    index, shards = (files[0], files[1:]) if files[0].suffix == ".json" else (None, files)
    shapes: dict[str, tuple[int, ...]] = {}
    readers: dict[str, Callable[[], np.ndarray]] = {}
    layout = "tensorflow"
    for path in shards:
        if not path.exists():
            named = "" if index is None else f", which {index.name} names"
            raise ModelError(f"{path}: no such file{named}; fetch the checkpoint again")
        if path.suffix == ".safetensors":
            header = read_header(path)
            if (header.pop("__metadata__", None) or {}).get("format") != "tf":
                layout = "pytorch"
            for name, each in header.items():
                shapes[name] = tuple(each["shape"])
                readers[name] = partial(_read_safetensor, path, name, each)
        else:
            for name, (place, shape) in _contents_of_h5(path).items():
                shapes[name] = shape
                readers[name] = partial(_read_h5, path, place)
    if index is not None:
        _check_index(index, shapes)
    return Tensors(shapes, layout, readers)


def read_index(path: Path) -> dict[str, str]:
    """An index's tensors -> the files that hold them.

    Raises:
        ModelError: it isn't one.
    """
    try:
        places: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        files = set(places.values())
        if not files or any(Path(each).name != each for each in files):
            raise ValueError("its weight_map names no files beside it")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: a corrupt index ({first_line(error)}); fetch it again") from None
    return places


def _check_index(index: Path, found: Mapping[str, Any]) -> None:
    places = read_index(index)
    # An h5 index has the model's own name in front of each.
    lost = [name for name in places if not {name, name.partition("/")[2]} & found.keys()]
    if lost:
        raise ModelError(
            f"{index}: {lost[0]} isn't in {places[lost[0]]}, where the index has it"
            + (f", nor are {len(lost) - 1} more" if len(lost) > 1 else "")
            + "; fetch both again"
        )


def read_header(path: Path) -> dict[str, Any]:
    """A safetensors file's table of contents: 8 bytes of its length, then JSON, then the tensors.

    Each entry's `data_offsets` come out as places in the file.

    Raises:
        ModelError: the file is cut short, or isn't one.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        start, end = 8 + length, 8 + length
        for name, each in header.items():
            if name != "__metadata__":
                first, last = (start + offset for offset in each["data_offsets"])
                if (last - first) * 8 != math.prod(each["shape"]) * _n_bits(each["dtype"]):
                    raise ValueError(f"{name} has {last - first} bytes, which isn't its shape")
                each["data_offsets"], end = (first, last), max(end, last)
        if end != size:
            raise ValueError(f"{size} bytes, its header says {end}")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"{path}: a corrupt safetensors file ({first_line(error)}); fetch it again"
        ) from None
    return header


def _n_bits(dtype: str) -> int:
    """F32, I64, U8, F8_E4M3 ..."""
    named = dtype.removeprefix("B").partition("_")[0]
    return _BITS.get(dtype) or int(named[1:])


def _read_safetensor(path: Path, name: str, about: Mapping[str, Any]) -> np.ndarray:
    import ml_dtypes  # teaches NumPy bfloat16

    if about["dtype"] not in _FLOATS:
        raise ModelError(
            f"{path}: {name} is of {about['dtype']}, as in quantised checkpoints; "
            f"{listed(_FLOATS)} can be read"
        )
    bfloat16 = about["dtype"] == "BF16"
    dtype = np.dtype(ml_dtypes.bfloat16 if bfloat16 else _FLOATS[about["dtype"]])
    flat = np.fromfile(
        path, dtype, count=math.prod(about["shape"]), offset=about["data_offsets"][0]
    )
    return flat.reshape(about["shape"]).astype(np.float32, copy=False)


def has_names(path: Path) -> bool:
    """Whether an h5 file names its weights; Keras' `.weights.h5` knows but their places.

    Raises:
        ModelError: it is cut short, or no h5 file.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return any(each.startswith("layer_names") for each in file.attrs)
    except OSError as error:
        raise _corrupt_h5(path, error) from None


def count_h5(path: Path) -> int:
    """How many weights an h5 file has."""
    return len(_contents_of_h5(path))


def _contents_of_h5(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """A weight's name, without the model's own in front -> its place in the file, and its shape."""
    import h5py

    contents: dict[str, tuple[str, tuple[int, ...]]] = {}

    def note(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            layer, _, named = place.partition("/")
            # Keras has a group for each layer, and the full names in it; a shard of
            # transformers' has the names without the model's alone.
            by_layer = any(each.startswith("weight_names") for each in file[layer].attrs)
            contents[named.partition("/")[2] if by_layer else place] = (place, item.shape)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(note)
    except OSError as error:
        raise _corrupt_h5(path, error) from None
    return contents


def _read_h5(path: Path, place: str) -> np.ndarray:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file[place], dtype=np.float32)
    except OSError as error:
        raise _corrupt_h5(path, error) from None


def _corrupt_h5(path: Path, error: OSError) -> ModelError:
    return ModelError(f"{path}: a corrupt h5 file ({first_line(error)}); fetch it again")
