"""One column's cells as Arrow has them, for all who read a column.

values = column_of(rows, "label")       # pyarrow.ChunkedArray
texts = trimmed(values)                 # null where blank
with rows_from(12_000):                 # `rows` are a part of the data, from that row on
    row_number(7)                       # 12007, as messages and `row` have it
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from datasets import Dataset


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
    values = rows.select_columns(name).with_format("arrow")[:][name]
    kind = values.type
    return values.cast(kind.value_type) if pa.types.is_dictionary(kind) else values


def are_texts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def trimmed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as texts without the blanks around them; null where nothing is left."""
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(texts, ""), None, texts)
