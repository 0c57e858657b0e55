"""Several labels a row -> 0 or 1 for each label of the set.

    form = find_form(train, ("topics",), delimiter=None)    # lists, a delimited text, 0/1 columns
    names = find_set_names(train, ("topics",), form, where="news, train")
    flags, is_known = to_flags(validation, ("topics",), form, names, where="news, validation")

A row without any label is a row of nothing but 0; one whose cell is missing isn't known.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.data.columns import FLAGS, MOST_CLASSES
from tfft.data.labels import in_order, refuse_strangers
from tfft.errors import DataError, listed

if TYPE_CHECKING:
    from datasets import Dataset

# What stands between labels in a text, in the order in which it is looked for.
DELIMITERS = ("|", ";", ",")


@dataclass(frozen=True)
class Form:
    """How a row says which labels it has.

    Attributes:
        kind: `columns` of 0 and 1 each; a list of labels (`list`); a list of 0 and 1 for every
            label (`vector`); a text with a delimiter (`text`), or one that is a JSON list (`json`).
        delimiter: of `text`; None where no cell holds more than one label.
    """

    kind: Literal["columns", "list", "vector", "text", "json"]
    delimiter: str | None = None

    def __str__(self) -> str:
        told = {
            "columns": "a 0/1 column for each",
            "list": "lists",
            "vector": "lists of 0 and 1",
            "text": f"texts, '{self.delimiter}' between labels" if self.delimiter else "texts",
            "json": "JSON lists",
        }
        return told[self.kind]


def find_form(rows: Dataset, columns: Sequence[str], *, delimiter: str | None) -> Form:
    """Which form the labels have in these columns."""
    if len(columns) > 1:
        return Form("columns")
    values = _column(rows, columns[0])
    if is_list(values.type):
        return Form("vector" if _is_vector(values) else "list")
    texts = values.cast(pa.string())
    if delimiter is not None:
        return Form("text", delimiter)
    if pc.all(pc.starts_with(pc.utf8_trim_whitespace(texts), "[")).as_py():
        return Form("json")
    found = (each for each in DELIMITERS if pc.any(pc.match_substring(texts, each)).as_py())
    return Form("text", next(found, None))


def find_set_names(
    train: Dataset, columns: Sequence[str], form: Form, *, where: str
) -> tuple[str, ...]:
    """The labels that a row may have: the data's own names, the columns', or the values.

    Raises:
        DataError: fewer than two, or more than can be labels.
    """
    if form.kind == "columns":
        return tuple(columns)
    if (own_names := _own_names(train, columns[0])) is not None:
        return own_names
    if form.kind == "vector":
        return tuple(str(number) for number in range(len(_column(train, columns[0])[0])))
    lists = _lists(train, columns[0], form, where=where)
    values = pc.unique(lists.flatten()).drop_null().to_pylist()
    if len(values) < 2:
        raise DataError(
            f"{where}: column '{columns[0]}' ({form}) holds "
            f"{f'one label only ({values[0]})' if values else 'no label'}; at least 2 are needed"
        )
    if len(values) > max(MOST_CLASSES, len(train) // 2):
        raise DataError(
            f"{where}: column '{columns[0]}' ({form}) has {len(values)} different labels in "
            f"{len(train)} rows ({listed(values, most=3)}); is it the label? Name another with "
            "--label-column, or what stands between labels with --label-delimiter"
        )
    return in_order(values)


def set_names_in(
    rows: Dataset, columns: Sequence[str], form: Form, *, where: str
) -> tuple[tuple[str, ...], bool]:
    """The data's own names, or the values that occur, and whether those are all that there are."""
    if form.kind in ("columns", "vector") or _own_names(rows, columns[0]) is not None:
        return find_set_names(rows, columns, form, where=where), True
    lists = _lists(rows, columns[0], form, where=where)
    return in_order(pc.unique(lists.flatten()).drop_null().to_pylist()), False


def to_flags(
    rows: Dataset, columns: Sequence[str], form: Form, names: Sequence[str], *, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """0 or 1 for each label, float32 [n_rows, n_labels], and which rows are known, bool [n_rows].

    Raises:
        DataError: a label that isn't among `names`, or a cell that isn't 0 or 1.
    """
    if form.kind == "columns":
        return _from_columns(rows, columns, names, where=where)
    values = _column(rows, columns[0])
    is_known = np.asarray(pc.is_valid(values))
    if form.kind in ("text", "json") and is_known.any():
        # An empty cell of a csv is an empty set of labels, unless all are: then nobody knows.
        is_known = np.ones(len(values), dtype=bool)
    flags = np.zeros((len(values), len(names)), dtype=np.float32)
    if not is_known.any():
        return flags, is_known
    if form.kind == "vector":
        return _from_vectors(values, is_known, len(names), flags, where=f"{where}, {columns[0]}")
    lists = _lists(rows, columns[0], form, where=where)
    labels, parents = lists.flatten(), pc.list_parent_indices(lists)
    ids = pc.index_in(labels, value_set=pa.array(names, pa.string()))
    unknown = pc.is_null(ids)
    if pc.any(unknown).as_py():
        row = parents[pc.index(unknown, pa.scalar(True)).as_py()].as_py()
        refuse_strangers(labels.filter(unknown), names, row=row, where=where)
    flags[np.asarray(parents), np.asarray(ids)] = 1.0
    return flags, is_known


def _from_columns(
    rows: Dataset, columns: Sequence[str], names: Sequence[str], *, where: str
) -> tuple[np.ndarray, np.ndarray]:
    if set(columns) != set(names):
        raise DataError(
            f"{where}: the label columns are {listed(columns)}; expected {listed(names)}"
        )
    stacked = []
    for name in names:
        values = _column(rows, name)
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        texts = values.cast(pa.string())
        strange = pc.invert(pc.is_in(texts, value_set=pa.array([*FLAGS, None], pa.string())))
        if pc.any(strange).as_py():
            row = pc.index(strange, pa.scalar(True)).as_py()
            raise DataError(
                f"{where}: column '{name}' holds {texts[row].as_py()!r:.60} in row {row}; each "
                "label's column must hold 0 or 1"
            )
        numbers = pc.fill_null(texts.cast(pa.float32()), -1.0)
        stacked.append(np.asarray(numbers))
    flags = np.stack(stacked, axis=1)
    is_known = np.asarray((flags >= 0.0).all(axis=1))
    return np.maximum(flags, 0.0), is_known


def _from_vectors(
    values: pa.ChunkedArray, is_known: np.ndarray, n_labels: int, flags: np.ndarray, *, where: str
) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(values), n_labels))
    numbers = np.asarray(pc.list_flatten(values).cast(pa.float32()), dtype=np.float32)
    if (lengths != n_labels).any():
        row = int(np.flatnonzero(lengths != n_labels)[0])
        raise DataError(
            f"{where}: row {row} has {lengths[row]} numbers, expected {n_labels}, one a label"
        )
    flags[is_known] = numbers.reshape(-1, n_labels)
    if not np.isin(flags, (0.0, 1.0)).all():
        row = int(np.flatnonzero(~np.isin(flags, (0.0, 1.0)).all(axis=1))[0])
        raise DataError(f"{where}: row {row} holds {flags[row].tolist()}; expected 0 or 1")
    return flags, is_known


def _column(rows: Dataset, name: str) -> pa.ChunkedArray:
    values = rows.select_columns(name).with_format("arrow")[:][name]
    if pa.types.is_dictionary(values.type):
        return values.cast(values.type.value_type)
    return values


def is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _own_names(rows: Dataset, column: str) -> tuple[str, ...] | None:
    names = getattr(getattr(rows.features[column], "feature", None), "names", None)
    return tuple(names) if names else None


def _is_vector(values: pa.ChunkedArray) -> bool:
    """A 0 or a 1 for every label, rather than the ids of those that a row has.

    Ids don't repeat within a row and aren't fractions; a vector of more than two numbers repeats.
    """
    kind = values.type.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return False
    lengths = pc.unique(pc.list_value_length(values.drop_null())).to_pylist()
    if len(lengths) != 1 or lengths[0] < 2:
        return False
    flat = np.asarray(pc.list_flatten(values).cast(pa.float64()), dtype=np.float64)
    if not np.isin(flat, (0.0, 1.0)).all():
        return False
    rows = np.sort(flat.reshape(-1, lengths[0]), axis=1)
    return not pa.types.is_integer(kind) or bool((np.diff(rows, axis=1) == 0.0).any())


def _lists(rows: Dataset, column: str, form: Form, *, where: str) -> pa.ListArray:
    """Each row's labels as strings; null where the cell is, unless it is a text."""
    values = _column(rows, column)
    if form.kind == "list":
        return _named(values, _own_names(rows, column), column, where=where)
    texts = pc.fill_null(values.cast(pa.string()), "").combine_chunks()
    if form.kind == "json":
        return pa.array(
            [_parse(text, f"{where}, {column}, row {row}") for row, text in enumerate(texts)],
            pa.list_(pa.string()),
        )
    split = pc.split_pattern(texts, form.delimiter) if form.delimiter else _singles(texts)
    return _trimmed(split)


def _singles(texts: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(np.arange(len(texts) + 1, dtype=np.int32), texts)


def _trimmed(lists: pa.ListArray) -> pa.ListArray:
    """Without the blanks around labels, and without empty ones: "a | b |" has two."""
    labels, parents = pc.utf8_trim_whitespace(lists.flatten()), pc.list_parent_indices(lists)
    kept = pc.not_equal(labels, "")
    counts = np.bincount(np.asarray(parents.filter(kept)), minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, labels.filter(kept))


def _parse(text: pa.Scalar, where: str) -> list[str]:
    """A JSON list, or Python's own way of writing one, which pandas leaves in a csv."""
    content = text.as_py().strip()
    if not content:
        return []
    try:
        labels = json.loads(content)
    except json.JSONDecodeError:
        try:
            labels = ast.literal_eval(content)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise DataError(f"{where}: {content!r:.60} is no JSON list") from None
    if not isinstance(labels, list):
        raise DataError(f"{where}: {content!r:.60} is no JSON list")
    return [str(each) for each in labels]


def _named(
    values: pa.ChunkedArray, own_names: tuple[str, ...] | None, column: str, *, where: str
) -> pa.ListArray:
    """Lists of ids or of texts -> lists of names."""
    kind = values.type.value_type
    lists = values.cast(pa.list_(kind)).combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    # Null rows, whose place in the flat values is empty.
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    flat = lists.flatten()
    if pa.types.is_nested(kind):
        raise DataError(
            f"{where}: column '{column}' holds lists of {kind}; labels are texts or ids: name "
            "another with --label-column"
        )
    if pa.types.is_floating(kind):
        if pc.any(pc.not_equal(flat, pc.floor(flat))).as_py():
            raise DataError(f"{where}: column '{column}' holds lists of fractions, not labels")
        flat = flat.cast(pa.int64())
    if own_names is not None and pa.types.is_integer(flat.type):
        known = pc.and_(pc.greater_equal(flat, 0), pc.less(flat, len(own_names)))
        if not pc.all(known).as_py():
            row = int(np.searchsorted(np.cumsum(lengths), pc.index(known, False).as_py(), "right"))
            raise DataError(
                f"{where}: column '{column}' has a label id that isn't below {len(own_names)} "
                f"(row {row})"
            )
        flat = pc.take(pa.array(own_names, pa.string()), flat)
    labels = pc.utf8_trim_whitespace(pc.fill_null(flat.cast(pa.string()), ""))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, labels)
