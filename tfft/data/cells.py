"""One column's cells as Arrow has them, for all who read a column.

values = column_of(rows, "label")       # pyarrow.ChunkedArray
texts = trimmed(values)                 # null where blank
digest = digest_of(rows, ["text"])      # of what the cells hold, whatever chunks they come in
with rows_from(12_000):                 # `rows` are a part of the data, from that row on
    row_number(7)                       # 12007, as messages and `row` have it
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from datasets import Dataset

DIGESTED_ROWS = 10_000


_first_row: ContextVar[int] = ContextVar("first_row", default=0)
Place = TypeVar("Place", int, np.ndarray)


@contextmanager
def rows_from(first_row: int) -> Iterator[None]:
    """Inside, the rows at hand are those of the data from `first_row` on."""
    token = _first_row.set(first_row)
    try:
        yield
    finally:
        _first_row.reset(token)


def row_number(place: Place) -> Place:
    """The data's own number of the row at this place, from 0."""
    return place + _first_row.get()


def column_of(rows: Dataset, name: str) -> pa.ChunkedArray:
    """The column alone, as plain values where it is dictionary-encoded."""
    return _plain(rows.select_columns(name).with_format("arrow")[:][name])


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    return values.cast(kind.value_type) if pa.types.is_dictionary(kind) else values


def are_texts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def trimmed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as texts without the blanks around them; null where nothing is left."""
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(texts, ""), None, texts)


def digest_of(rows: Dataset, names: Iterable[str]) -> bytes:
    """16 bytes that tell the columns' cells, whatever file and chunks they came in."""
    names = list(names)
    digest = hashlib.blake2b(digest_size=16)
    table = rows.select_columns(names).with_format("arrow")
    for start in range(0, len(rows), DIGESTED_ROWS):
        some = table[start : start + DIGESTED_ROWS]
        for name in names:
            for part in _contents(_plain(some[name])):
                digest.update(part)
    return digest.digest()


def _contents(values: pa.ChunkedArray) -> Iterable[bytes | memoryview]:
    """What tells these cells from others, as fast as their type allows."""
    yield np.packbits(np.asarray(pc.is_null(values))).tobytes() if values.null_count else b"-"
    if are_texts(values.type):
        yield np.asarray(pc.fill_null(pc.binary_length(values), 0), np.int64).tobytes()
        for chunk in values.cast(pa.large_string()).chunks:
            offsets, letters = chunk.buffers()[1:]
            ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            if len(ends) and letters is not None:
                yield memoryview(letters)[ends[0] : ends[-1]]
    elif pa.types.is_integer(values.type):
        yield np.asarray(pc.fill_null(values, 0), np.int64).tobytes()
    else:
        yield repr(values.to_pylist()).encode()
