"""Several labels a row -> 0 or 1 for each label of the set.

    form = find_form(train, ("topics",), delimiter=None, where="news, train")
    names = find_set_names(train, ("topics",), form, where="news, train")
    flags, is_known = to_flags(validation, ("topics",), form, names, where="news, validation")

The forms are lists (or texts that are lists in JSON), delimited texts, and 0/1 columns. A row
without any label is a row of nothing but 0; one whose cell is missing isn't known.
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

from tfft.data.cells import are_texts, column_of, row_number, trimmed
from tfft.data.columns import FLAGS, MOST_CLASSES, flag_texts
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
            label (`vector`), either one as JSON in a text too; or a text with a delimiter (`text`).
        delimiter: of `text`; None where no cell holds more than one label.
    """

    kind: Literal["columns", "list", "vector", "text"]
    delimiter: str | None = None

    def __str__(self) -> str:
        told = {
            "columns": "a 0/1 column for each",
            "list": "lists",
            "vector": "lists of 0 and 1",
            "text": f"texts, '{self.delimiter}' between labels" if self.delimiter else "texts",
        }
        return told[self.kind]


def find_form(rows: Dataset, columns: Sequence[str], *, delimiter: str | None, where: str) -> Form:
    """Which form the labels have in these columns.

    Raises:
        DataError: texts that begin as lists do aren't.
    """
    if len(columns) > 1:
        return Form("columns")
    values = _column(rows, columns[0], where=where)
    if delimiter is not None and not is_list(values.type):
        return Form("text", delimiter)
    if is_list(values.type) or _are_bracketed(values):
        as_vector = Form("vector")
        is_vector = _is_vector(_lists(rows, columns[0], as_vector, where=where))
        return as_vector if is_vector else Form("list")
    found = (each for each in DELIMITERS if pc.any(pc.match_substring(values, each)).as_py())
    return Form("text", next(found, None))


def holds_lists(rows: Dataset, column: str) -> bool:
    """Whether each cell is a list, or a text that is one as JSON or Python writes it."""
    values = column_of(rows, column)
    if not are_texts(values.type):
        return is_list(values.type)
    if not _are_bracketed(values):
        return False
    try:
        _parsed(values, where="")
    except DataError:
        return False
    return True


def find_set_names(
    train: Dataset, columns: Sequence[str], form: Form, *, where: str
) -> tuple[str, ...]:
    """The labels that a row may have: the data's own names, the columns', or the values.

    Raises:
        DataError: fewer than two, or more than can be labels.
    """
    if form.kind == "columns":
        return tuple(columns)
    own_names = _own_names(train, columns[0])
    if own_names is None and form.kind == "vector":
        lists = _lists(train, columns[0], form, where=where)
        return tuple(str(number) for number in range(_lengths(lists).max()))
    if own_names is None:
        values = _values_in(train, columns[0], form, where=where)
    else:
        values = list(own_names)
    if len(values) < 2:
        raise DataError(
            f"{where}: column '{columns[0]}' ({form}) holds "
            f"{f'one label only ({values[0]})' if values else 'no label'}; at least 2 are needed"
        )
    if own_names is not None:
        return own_names
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
    if form.kind in ("columns", "vector"):
        return find_set_names(rows, columns, form, where=where), True
    if (own_names := _own_names(rows, columns[0])) is not None:
        return own_names, True
    return in_order(_values_in(rows, columns[0], form, where=where)), False


def to_flags(
    rows: Dataset, columns: Sequence[str], form: Form, names: Sequence[str], *, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """0 or 1 for each label, float32 [n_rows, n_labels], and which rows are known, bool [n_rows].

    Raises:
        DataError: a label that isn't among `names`, or a cell that isn't 0 or 1.
    """
    if form.kind == "columns":
        return _from_columns(rows, columns, names, where=where)
    lists = _lists(rows, columns[0], form, where=where)
    is_known = np.asarray(pc.is_valid(lists))
    flags = np.zeros((len(lists), len(names)), dtype=np.float32)
    if form.kind == "vector":
        _fill_from_vectors(flags, lists, is_known, where=f"{where}, {columns[0]}")
        return flags, is_known
    named = _named(lists, _own_names(rows, columns[0]), columns[0], where=where)
    labels, parents = named.flatten(), pc.list_parent_indices(named)
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
    known = pa.array(list(FLAGS), pa.string())
    numbers = pa.array(list(FLAGS.values()), pa.float32())
    stacked = []
    for name in names:
        values = _column(rows, name, where=where)
        if is_list(values.type):
            raise DataError(f"{where}: column '{name}' holds lists; each must hold 0 or 1")
        texts = flag_texts(values)
        places = pc.index_in(texts, value_set=known)
        strange = pc.and_(pc.is_valid(texts), pc.is_null(places))
        if pc.any(strange).as_py():
            row = pc.index(strange, pa.scalar(True)).as_py()
            raise DataError(
                f"{where}: column '{name}' holds {texts[row].as_py()!r:.60} in row "
                f"{row_number(row)}; each label's column must hold 0 or 1"
            )
        stacked.append(np.asarray(pc.fill_null(pc.take(numbers, places), -1.0)))
    flags = np.stack(stacked, axis=1)
    is_known = np.asarray((flags >= 0.0).all(axis=1))
    return np.maximum(flags, 0.0), is_known


def _fill_from_vectors(
    flags: np.ndarray, lists: pa.ListArray, is_known: np.ndarray, *, where: str
) -> None:
    n_labels = flags.shape[1]
    kind = lists.type.value_type
    if is_known.any() and not _is_numeric(kind):
        raise DataError(f"{where}: lists of {kind}; expected {n_labels} numbers, 0 or 1 each")
    lengths = _lengths(lists)
    if (wrong := is_known & (lengths != n_labels)).any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{where}: row {row_number(row)} has {lengths[row]} numbers, expected {n_labels}, one "
            "a label"
        )
    numbers = np.asarray(lists.flatten().cast(pa.float32()), dtype=np.float32)
    flags[is_known] = numbers.reshape(-1, n_labels)
    if not np.isin(flags, (0.0, 1.0)).all():
        row = int(np.flatnonzero(~np.isin(flags, (0.0, 1.0)).all(axis=1))[0])
        raise DataError(
            f"{where}: row {row_number(row)} holds {flags[row].tolist()}; expected 0 or 1"
        )


def _column(rows: Dataset, name: str, *, where: str) -> pa.ChunkedArray:
    """Lists as they come, and everything else as texts.

    Raises:
        DataError: objects, or anything else that is neither.
    """
    values = column_of(rows, name)
    if is_list(values.type):
        return values
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(
            f"{where}: column '{name}' holds {values.type}, not labels; name another with "
            "--label-column"
        ) from None


def is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _own_names(rows: Dataset, column: str) -> tuple[str, ...] | None:
    names = getattr(getattr(rows.features[column], "feature", None), "names", None)
    return tuple(names) if names else None


def _lengths(lists: pa.ListArray) -> np.ndarray:
    """int64 [n_rows]; 0 where the row isn't known."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), dtype=np.int64)


def _is_vector(lists: pa.ListArray) -> bool:
    """A 0 or a 1 for every label, rather than the ids of those that a row has.

    Ids don't repeat within a row and aren't fractions; a vector of more than two numbers repeats.
    """
    kind = lists.type.value_type
    if not _is_numeric(kind):
        return False
    lengths = pc.unique(pc.list_value_length(lists.drop_null())).to_pylist()
    if len(lengths) != 1 or lengths[0] < 2:
        return False
    flat = np.asarray(lists.flatten().cast(pa.float64()), dtype=np.float64)
    if not np.isin(flat, (0.0, 1.0)).all():
        return False
    rows = np.sort(flat.reshape(-1, lengths[0]), axis=1)
    return not pa.types.is_integer(kind) or bool((np.diff(rows, axis=1) == 0.0).any())


def _lists(rows: Dataset, column: str, form: Form, *, where: str) -> pa.ListArray:
    """Each row's cell as a list; null where nobody knows.

    An empty cell of a csv is an empty set of labels, unless all are: then nobody knows. In vectors
    it is no set at all.
    """
    values = _column(rows, column, where=where)
    if is_list(values.type):
        return _one_chunk(values.cast(pa.list_(values.type.value_type)))
    if form.kind == "text":
        lists = _split(values, form.delimiter)
    else:
        lists = _parsed(values, where=f"{where}, {column}")
    if form.kind == "vector" or lists.null_count == len(lists):
        return lists
    return pc.fill_null(lists, pa.scalar([], lists.type))


def _one_chunk(values: pa.ChunkedArray) -> pa.ListArray:
    whole = values.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _are_bracketed(values: pa.ChunkedArray) -> bool:
    """Whether all texts, and there is one, begin as a list does."""
    texts = trimmed(values).drop_null()
    return len(texts) > 0 and bool(pc.all(pc.starts_with(texts, "[")).as_py())


def _split(values: pa.ChunkedArray, delimiter: str | None) -> pa.ListArray:
    texts = _one_chunk(trimmed(values))
    if delimiter is not None:
        return pc.split_pattern(texts, delimiter)
    mask = np.append(~np.asarray(pc.is_valid(texts)), False)
    offsets = np.arange(len(texts) + 1, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, mask=mask), texts)


def _parsed(values: pa.ChunkedArray, *, where: str) -> pa.ListArray:
    """Texts that write a list as JSON does, or as Python does, whose way pandas leaves in a csv.

    Raises:
        DataError: one that isn't.
    """
    texts = _one_chunk(trimmed(values))
    distinct = pc.unique(texts).drop_null()
    lists = []
    for text in distinct.to_pylist():
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            try:
                parsed = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                parsed = None
        if not isinstance(parsed, list) or any(isinstance(x, list | dict) for x in parsed):
            row = pc.index(texts, pa.scalar(text, texts.type)).as_py()
            raise DataError(
                f"{where}, row {row_number(row)}: {text!r:.60} is no list of labels, as JSON has it"
            )
        lists.append(parsed)
    try:
        array = pa.array(lists)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # of more than one kind
        array = pa.array([[None if x is None else str(x) for x in each] for each in lists])
    if not lists:
        array = pa.array([], pa.list_(pa.string()))
    return pc.take(array, pc.index_in(texts, value_set=distinct))


def _values_in(rows: Dataset, column: str, form: Form, *, where: str) -> list[str]:
    lists = _lists(rows, column, form, where=where)
    named = _named(lists, _own_names(rows, column), column, where=where)
    return list(pc.unique(named.flatten()).to_pylist())


def _named(
    lists: pa.ListArray, own_names: tuple[str, ...] | None, column: str, *, where: str
) -> pa.ListArray:
    """Lists of ids or of texts -> lists of names, empty where nobody knows.

    Without the blanks around labels, and without empty ones: "a | b |" has two.
    """
    kind = lists.type.value_type
    if pa.types.is_nested(kind):
        raise DataError(
            f"{where}: column '{column}' holds lists of {kind}; labels are texts or ids: name "
            "another with --label-column"
        )
    lengths, flat = _lengths(lists), lists.flatten()
    parents = np.repeat(np.arange(len(lists)), lengths)
    if pa.types.is_floating(kind):
        flat = pc.if_else(pc.is_nan(flat), None, flat)
        if pc.any(pc.not_equal(flat, pc.floor(flat))).as_py():
            raise DataError(f"{where}: column '{column}' holds lists of fractions, not labels")
        flat = flat.cast(pa.int64())
    if own_names is not None and pa.types.is_integer(flat.type):
        known = pc.and_(pc.greater_equal(flat, 0), pc.less(flat, len(own_names)))
        if not pc.all(known).as_py():
            row = parents[pc.index(known, pa.scalar(False)).as_py()]
            raise DataError(
                f"{where}: column '{column}' has a label id that isn't below {len(own_names)} "
                f"(row {row_number(row)})"
            )
        flat = pc.take(pa.array(own_names, pa.string()), flat)
    labels = pc.fill_null(pc.utf8_trim_whitespace(flat.cast(pa.string())), "")
    kept = pc.not_equal(labels, "")
    counts = np.bincount(parents[np.asarray(kept, dtype=bool)], minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, labels.filter(kept))
