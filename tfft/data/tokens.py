"""All rows' tokens end to end: in memory, or in one Arrow file that is mapped, not read.

    tokens = join(chunks, ("input_ids", "attention_mask"))
    tokens.starts, tokens.values["input_ids"]       # int64 [n_rows + 1], int32 [n_tokens]
    write(tokens, Path("tokens.arrow"))
    tokens = read(Path("tokens.arrow"))             # takes no memory of its own

Row `n` is `values[name][starts[n]:starts[n + 1]]`. A feature that is one number throughout, as the
attention mask of unpadded texts, is kept as that number.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

# Under which the constants stand in the file's schema.
_CONSTANTS = b"tfft.constants"


@dataclass(frozen=True)
class Tokens:
    """The tokens of all rows.

    Attributes:
        names: the features in the tokenizer's order; each is in `values` or in `constants`.
        starts: where each row begins, and where the last one ends: int64 [n_rows + 1].
        values: int32 [n_tokens] by feature.
        constants: of the features that are one number throughout: which.
    """

    names: tuple[str, ...]
    starts: np.ndarray
    values: Mapping[str, np.ndarray]
    constants: Mapping[str, int]

    def flat(self, name: str) -> np.ndarray:
        """int32 [n_tokens], of a constant too."""
        if name in self.values:
            return self.values[name]
        return np.full(int(self.starts[-1]), self.constants[name], dtype=np.int32)


def join(
    chunks: Iterable[Mapping[str, Sequence[Sequence[int]]]],
    names: Sequence[str],
    *,
    scratch: Path | None = None,
) -> Tokens:
    """Chunks of tokenised rows -> all of them.

    Args:
        chunks: by feature, each row's tokens.
        scratch: a folder for the arrays while they grow; None keeps them in memory.

    Raises:
        OSError: the folder can't be written.
    """
    piles = {name: _Pile.new(name, scratch) for name in ("starts", *names)}
    try:
        piles["starts"].put(np.zeros(1, np.int64))
        n_tokens = 0
        for chunk in chunks:
            lengths = np.fromiter(map(len, chunk[names[0]]), np.int64, len(chunk[names[0]]))
            ends = n_tokens + np.cumsum(lengths)
            n_tokens = int(ends[-1])
            piles["starts"].put(ends)
            for name in names:
                flat = pa.array(chunk[name], pa.list_(pa.int32())).flatten()
                piles[name].put(flat.to_numpy(zero_copy_only=False))
        joined = {name: pile.whole() for name, pile in piles.items()}
    finally:
        for pile in piles.values():
            pile.file.close()
    starts = joined.pop("starts")
    constants = {
        name: pile.constant
        for name, pile in piles.items()
        if name not in ("starts", names[0]) and pile.constant is not None
    }
    values = {name: each for name, each in joined.items() if name not in constants}
    return Tokens(tuple(names), starts, values, constants)


@dataclass
class _Pile:
    """One array that grows at its end."""

    file: IO[bytes]
    path: Path | None
    dtype: type[Any]
    constant: int | None = None
    n_numbers: int = 0

    @classmethod
    def new(cls, name: str, folder: Path | None) -> _Pile:
        dtype = np.int64 if name == "starts" else np.int32
        if folder is None:
            return cls(io.BytesIO(), None, dtype)
        path = folder / f"{name}.raw"
        return cls(path.open("wb"), path, dtype)

    def put(self, numbers: np.ndarray) -> None:
        if len(numbers) == 0:
            return
        if self.n_numbers == 0:
            self.constant = int(numbers[0])
        if self.constant is not None and (numbers != self.constant).any():
            self.constant = None
        self.file.write(np.ascontiguousarray(numbers, self.dtype).data.cast("B"))
        self.n_numbers += len(numbers)

    def whole(self) -> np.ndarray:
        if self.path is None or self.n_numbers == 0:
            return np.frombuffer(self._in_memory(), self.dtype)
        self.file.flush()
        return np.memmap(self.path, self.dtype, mode="r")

    def _in_memory(self) -> bytes:
        return self.file.getvalue() if isinstance(self.file, io.BytesIO) else b""


def write(tokens: Tokens, path: Path) -> None:
    """Raises: OSError."""
    starts = pa.array(tokens.starts)
    columns = {
        name: pa.LargeListArray.from_arrays(starts, pa.array(values))
        for name, values in tokens.values.items()
    }
    about = {"names": tokens.names, "constants": tokens.constants}
    # One batch: each array then lies in one piece, and a row is found by one number.
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(
        {_CONSTANTS: json.dumps(about).encode()}
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def read(path: Path) -> Tokens:
    """Maps the file.

    Raises:
        ValueError, OSError: it isn't what `write` wrote.
    """
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        if reader.num_record_batches != 1 or _CONSTANTS not in (reader.schema.metadata or {}):
            raise ValueError("not a file of tokens")
        batch = reader.get_batch(0)
    about = json.loads(batch.schema.metadata[_CONSTANTS])
    starts = batch.column(0).offsets.to_numpy()
    values = {name: batch.column(name).values.to_numpy() for name in batch.schema.names}
    return Tokens(tuple(about["names"]), starts, values, about["constants"])
