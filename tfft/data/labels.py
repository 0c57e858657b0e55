"""One label a row -> class ids and the names they stand for.

    names = find_label_names(train, "label")         # ("0", "1"), or the features' own names
    ids = to_ids(validation, "label", names, where="cola, validation")      # int64 [n_rows]

A row without a label has the id `UNLABELLED`, as GLUE's test splits have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.data.cells import column_of, row_number, trimmed
from tfft.data.columns import MOST_CLASSES, is_number
from tfft.errors import DataError, listed, nearest

if TYPE_CHECKING:
    from datasets import Dataset

UNLABELLED = -1
EXACT = 2.0**53  # from here on several whole numbers share a float


class UnknownLabelError(DataError):
    """A label that isn't among those that are learned."""


def find_label_names(
    train: Dataset, column: str, *, where: str, are_classes: bool = False
) -> tuple[str, ...]:
    """The classes: the data set's own names, or the values; numeric strings sort as numbers.

    Args:
        are_classes: the user says so, however many numbers there are.

    Raises:
        DataError: the values are no classes, or there is one class only.
    """
    if (own_names := _own_names(train, column)) is not None:
        return own_names
    values = pc.unique(_values(train, column, where=where)).drop_null().to_pylist()
    if len(values) < 2:
        raise DataError(
            f"{where}: column '{column}' holds "
            f"{f'one class only ({listed(values)})' if values else 'no label'}; at least 2 are "
            "needed"
        )
    if len(values) > max(MOST_CLASSES, len(train) // 2):
        raise DataError(
            f"{where}: column '{column}' has {len(values)} different values in {len(train)} rows "
            f"({listed(values, most=3)}); is it the label? Name another with --label-column"
        )
    if not are_classes and len(values) > MOST_CLASSES and all(map(is_number, values)):
        raise DataError(
            f"{where}: column '{column}' holds {len(values)} different numbers, more than are "
            f"taken for classes ({MOST_CLASSES}); say --task single_label if they are, or "
            "--task regression"
        )
    return in_order(values)


def names_in(rows: Dataset, column: str, *, where: str) -> tuple[tuple[str, ...], bool]:
    """The data's own names, or the values that occur, and whether those are all that there are."""
    if (own_names := _own_names(rows, column)) is not None:
        return own_names, True
    values = pc.unique(_values(rows, column, where=where)).drop_null().to_pylist()
    return in_order(value for value in values if value != str(UNLABELLED)), False


def to_ids(dataset: Dataset, column: str, names: Sequence[str], *, where: str) -> np.ndarray:
    """Class ids by name: int64 [n_rows], `UNLABELLED` where there is none.

    Raises:
        DataError: a label that isn't among `names`.
    """
    values = _values(dataset, column, where=where)
    ids = pc.index_in(values, value_set=pa.array(names, pa.string()))
    unlabelled = pc.or_kleene(pc.is_null(values), pc.equal(values, str(UNLABELLED)))
    if str(UNLABELLED) in names:  # then it is a class like any other
        unlabelled = pc.is_null(values)
    unknown = pc.and_(pc.is_null(ids), pc.invert(pc.fill_null(unlabelled, True)))
    if pc.any(unknown).as_py():
        row = pc.index(unknown, pa.scalar(True)).as_py()
        refuse_strangers(values.filter(unknown), names, row=row, where=where)
    return np.asarray(pc.fill_null(ids, UNLABELLED)).astype(np.int64)


def refuse_strangers(
    strangers: pa.Array, names: Sequence[str], *, row: int, where: str
) -> NoReturn:
    found = pc.unique(strangers).to_pylist()
    raise UnknownLabelError(
        f"{where}: label {listed(map(repr, found), most=5)} (first in row {row_number(row)}) isn't "
        f"one that was learned{nearest(found[0], names)}; expected {listed(names)}"
    )


def in_order(values: Iterable[str]) -> tuple[str, ...]:
    """Numbers as numbers, other names as names."""
    names = sorted(values)
    if all(is_number(name) for name in names):
        names.sort(key=float)
    return tuple(names)


def _own_names(dataset: Dataset, column: str) -> tuple[str, ...] | None:
    names = getattr(dataset.features[column], "names", None)
    return tuple(names) if names else None


def _values(dataset: Dataset, column: str, *, where: str) -> pa.ChunkedArray:
    """The labels as strings: "yes " is "yes", "1.0" is "1", and a blank is none."""
    values = column_of(dataset, column)
    if (own_names := _own_names(dataset, column)) is not None:
        if pa.types.is_integer(values.type):
            known = pc.and_(pc.greater_equal(values, 0), pc.less(values, len(own_names)))
            ids = pc.if_else(known, values, None)
            return pc.take(pa.array(own_names, pa.string()), ids)
        return values.cast(pa.string())
    kind = values.type
    if pa.types.is_nested(kind):
        what = "objects" if pa.types.is_struct(kind) else "lists"
        raise DataError(
            f"{where}: column '{column}' holds {what}; "
            "one label a row is needed: name another with --label-column"
        )
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return values.cast(pa.string())
    if not pa.types.is_floating(kind):
        values = trimmed(values)
        distinct = pc.unique(values).drop_null()
        texts = distinct.to_pylist()
        if not all(is_number(each) for each in texts):
            return values
        if all(each.lstrip("+-").isdigit() for each in texts):
            return values
        numbers = pa.array([float(each) for each in texts], pa.float64())
        values = pc.take(numbers, pc.index_in(values, value_set=distinct))
    return _whole(values.cast(pa.float64()), column, where=where)


def _whole(values: pa.ChunkedArray, column: str, *, where: str) -> pa.ChunkedArray:
    """Floats that are whole -> "3"; NaN counts as missing, as pandas writes it."""
    values = pc.if_else(pc.is_nan(values), None, values)
    fractions = pc.or_(
        pc.not_equal(values, pc.floor(values)), pc.greater_equal(pc.abs(values), EXACT)
    )
    fractions = pc.fill_null(fractions, False)
    if pc.any(fractions).as_py():
        row = pc.index(fractions, pa.scalar(True)).as_py()
        raise DataError(
            f"{where}: column '{column}' holds numbers that aren't whole, or too large (row "
            f"{row_number(row)}: {values[row].as_py()}); classes are needed: name another with "
            "--label-column, or say --task regression"
        )
    return values.cast(pa.int64()).cast(pa.string())
