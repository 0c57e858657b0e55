"""One column's cells as Arrow has them, for all who read a column.

values = column_of(rows, "label")       # pyarrow.ChunkedArray
texts = trimmed(values)                 # null where blank
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from datasets import Dataset


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
