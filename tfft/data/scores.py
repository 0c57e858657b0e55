"""A column of numbers to predict, as regression has it.

    numbers, is_known = to_numbers(train, "score", where="stsb, train")

A row without a number, or with NaN, isn't known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.data.cells import are_texts, column_of, row_number, trimmed
from tfft.data.columns import is_number
from tfft.data.labels import UNLABELLED
from tfft.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

SCORE_NAMES = frozenset({"score", "similarity_score"})


def are_scores(rows: Dataset, column: str) -> bool:
    """Whether it reads as something to measure: fractions, or any numbers under such a name."""
    if hasattr(rows.features[column], "names"):
        return False
    values = column_of(rows, column)
    kind = values.type
    if are_texts(kind):
        texts = [text for text in pc.unique(values).drop_null().to_pylist() if text.strip()]
        # An infinite one isn't a class beside fractions either: it is refused with its row.
        if not texts or not all(is_number(text) or _is_infinite(text) for text in texts):
            return False
        numbers = np.array([float(text) for text in texts])
    elif _is_numeric(kind) and not pa.types.is_boolean(kind):
        numbers = np.asarray(pc.unique(values.cast(pa.float64())).drop_null(), dtype=np.float64)
    else:
        return False
    numbers = numbers[np.isfinite(numbers)]
    return len(numbers) > 0 and (
        column.lower() in SCORE_NAMES or bool((numbers != np.floor(numbers)).any())
    )


def to_numbers(rows: Dataset, column: str, *, where: str) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n_rows], and which rows are known, bool [n_rows].

    A split whose numbers are all -1 is one whose numbers are kept back, as GLUE's test splits are.

    Raises:
        DataError: a value is no number, or is infinite.
    """
    values = column_of(rows, column)
    if are_texts(values.type):
        values = _parsed(values, column, where=where)
    elif not (_is_numeric(values.type) or pa.types.is_null(values.type)):
        raise DataError(
            f"{where}: column '{column}' holds {values.type}, not numbers; name another with "
            "--label-column"
        )
    filled = pc.fill_null(values.cast(pa.float64()), float("nan"))
    with np.errstate(over="ignore"):  # what is too large for it is refused below
        numbers = np.asarray(filled, dtype=np.float64).astype(np.float32)
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise DataError(
            f"{where}: column '{column}' holds {values[row].as_py()} in row {row_number(row)}; a "
            "finite number is needed"
        )
    is_known = ~np.isnan(numbers)
    if (numbers[is_known] == UNLABELLED).all():
        is_known[:] = False
    return numbers, is_known


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _is_infinite(text: str) -> bool:
    return text.strip().lower().lstrip("+-") in ("inf", "infinity")


def _parsed(values: pa.ChunkedArray, column: str, *, where: str) -> pa.ChunkedArray:
    texts = trimmed(values)
    distinct = pc.unique(texts).drop_null()
    strange = [text for text in distinct.to_pylist() if not is_number(text)]
    if strange:
        row = pc.index(texts, pa.scalar(strange[0], texts.type)).as_py()
        raise DataError(
            f"{where}: column '{column}' holds {strange[0]!r:.60} in row {row_number(row)}, where "
            "a number is needed; name another with --label-column, or say --task single_label"
        )
    numbers = pa.array([float(text) for text in distinct.to_pylist()], pa.float64())
    return pc.take(numbers, pc.index_in(texts, value_set=distinct))
