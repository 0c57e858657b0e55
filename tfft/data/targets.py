"""What a row's label is, whichever the task: one door to labels, sets of labels and scores.

    task = find_task(train, ("label",), asked="auto", where="cola, train")
    targets = find_targets(train, ("label",), task=task, where="cola, train")
    values, is_known = targets.read(validation, where="cola, validation")

| task | values |
| --- | --- |
| single_label | class ids, int64 [n_rows] |
| multi_label | 0 or 1 for each label, float32 [n_rows, n_labels] |
| regression | numbers, float32 [n_rows] |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.data import label_sets, labels, scores
from tfft.data.alignment import align
from tfft.data.label_sets import Form
from tfft.errors import DataError, listed

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Targets:
    """How the labels of a data set are read.

    Attributes:
        names: the classes or labels by id; the one column of regression.
        form: how a row says which labels it has, of multi_label.
    """

    task: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    form: Form | None = None

    def read(self, rows: Dataset, *, where: str) -> tuple[np.ndarray, np.ndarray]:
        """The values as above, and which rows have one: bool [n_rows].

        Raises:
            DataError: a label that isn't among `names`, or a value of another kind.
        """
        if self.task == "regression":
            return scores.to_numbers(rows, self.columns[0], where=where)
        if self.form is not None:
            return label_sets.to_flags(rows, self.columns, self.form, self.names, where=where)
        ids = labels.to_ids(rows, self.columns[0], self.names, where=where)
        return ids, ids != labels.UNLABELLED

    def describe(self) -> str:
        """`label stars (5 classes: 1, 2, 3, 4, 5)`."""
        columns = listed(self.columns, most=8)
        if self.task == "regression":
            return f"label {columns} (a number: regression)"
        names = listed(self.names, most=8)
        if self.form is not None:
            return f"labels {columns} ({self.form}; {len(self.names)} labels: {names}: multi_label)"
        return f"label {columns} ({len(self.names)} classes: {names})"


def find_task(train: Dataset, columns: Sequence[str], *, asked: str, delimiter: str | None) -> str:
    """The task that the labels ask for, unless the user named one."""
    if asked != "auto":
        return asked
    if len(columns) > 1 or delimiter is not None or label_sets.holds_lists(train, columns[0]):
        return "multi_label"
    return "regression" if scores.are_scores(train, columns[0]) else "single_label"


def find_targets(
    train: Dataset,
    columns: Sequence[str],
    *,
    task: str,
    where: str,
    delimiter: str | None = None,
    are_classes: bool = False,
) -> Targets:
    """How the labels of `train` are read.

    Args:
        delimiter: stands between the labels of a text, of multi_label.
        are_classes: the user named the task, so that many numbers may be classes.

    Raises:
        DataError: the column holds nothing that the task can learn.
    """
    columns = _checked(columns, task=task, where=where)
    if task == "regression":
        return Targets(task, columns, columns)
    if task == "multi_label":
        form = label_sets.find_form(train, columns, delimiter=delimiter, where=where)
        return Targets(
            task, columns, label_sets.find_set_names(train, columns, form, where=where), form
        )
    names = labels.find_label_names(train, columns[0], where=where, are_classes=are_classes)
    return Targets(task, columns, names)


def align_targets(
    rows: Dataset,
    columns: Sequence[str],
    *,
    task: str,
    learned: Sequence[str],
    where: str,
    delimiter: str | None = None,
) -> tuple[Targets, str | None]:
    """How the labels of `rows` are read as those that a model learned, and what to say about it.

    Raises:
        DataError: there is no telling which label is which.
    """
    columns = _checked(columns, task=task, where=where)
    if task == "regression":
        return Targets(task, columns, columns), None
    if task == "multi_label":
        form = label_sets.find_form(rows, columns, delimiter=delimiter, where=where)
        found, are_all = label_sets.set_names_in(rows, columns, form, where=where)
        if form.kind == "vector" and len(found) == len(learned):
            found = tuple(learned)
        names, note = align(found, learned, are_all=are_all, where=where)
        return Targets(task, columns, names, form), note
    found, are_all = labels.names_in(rows, columns[0], where=where)
    names, note = align(found, learned, are_all=are_all, where=where)
    return Targets(task, columns, names), note


def _checked(columns: Sequence[str], *, task: str, where: str) -> tuple[str, ...]:
    if len(columns) > 1 and task != "multi_label":
        raise DataError(
            f"{where}: which column holds the label? {listed(columns)} could be, and task {task} "
            "has one; name it with --label-column"
        )
    return tuple(columns)


def check_variety(targets: Targets, values: np.ndarray, *, where: str) -> None:
    """Refuses training rows from which nothing can be learned.

    Raises:
        DataError: one class only, one number only, or no label at all.
    """
    if targets.task == "multi_label":
        if not values.any():
            raise DataError(f"{where}: no row has any label")
    elif len(np.unique(values)) < 2:
        what = "number" if targets.task == "regression" else "class"
        raise DataError(f"{where}: all rows have one {what}; at least 2 are needed")


def as_arrow(values: np.ndarray) -> pa.Array:
    """A column of a table: numbers, or a list of fixed length a row."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def from_arrow(column: pa.ChunkedArray) -> np.ndarray:
    """What `as_arrow` made a column of; a data set's own `[...]` makes a Python object of each."""
    if pa.types.is_nested(column.type):
        return np.asarray(pc.list_flatten(column)).reshape(-1, column.type.list_size)
    return np.asarray(column)


def strata(values: np.ndarray) -> np.ndarray:
    """Groups to be held out evenly from: classes, sets of labels, one group of all numbers.

    Returns:
        int64 [n_rows].
    """
    if values.ndim == 2:
        _, groups, sizes = np.unique(values, axis=0, return_inverse=True, return_counts=True)
        groups = groups.reshape(-1)
        # A tenth of a set of fewer than ten rows is none: the rare ones go together.
        return np.where(sizes[groups] < 10, len(sizes), groups)
    if np.issubdtype(values.dtype, np.floating):
        return np.zeros(len(values), dtype=np.int64)
    return values
