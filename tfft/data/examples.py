"""A source's splits -> rows ready to be tokenised: texts, class ids, row numbers.

    examples = load_training(config.data, seed=42)
    examples.train          # datasets.Dataset: text, [text_pair], label, id, row
    examples.label_names    # ("0", "1")
    examples.notes          # what was chosen, for the user to read

    rows = load_split(DataConfig(source="new.csv"), "test", label_names=("0", "1"))

Whatever the columns were called, they have these names from here on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.config import DataConfig
from tfft.data.columns import Columns, find_columns
from tfft.data.labels import UNLABELLED, find_label_names, to_ids
from tfft.data.sources import Source, open_source
from tfft.errors import DataError, listed, nearest

if TYPE_CHECKING:
    from datasets import Dataset

# The part of train that is held out where the data has no validation split.
HELD_OUT = 0.1
TEXT_FIELDS = ("text", "text_pair")


@dataclass(frozen=True)
class Examples:
    """What a fit learns from.

    Attributes:
        train, validation: `text` and, of pairs, `text_pair` (strings), `label` (int64 class id),
            `id` (the data's own id, else the row number), `row` (in the split as it came, from 0).
        columns: which columns of the data these were.
        fingerprint: a hash of all rows of both splits.
    """

    train: Dataset
    validation: Dataset
    task: str
    label_names: tuple[str, ...]
    columns: Columns
    glue_task: str | None
    notes: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class SplitRows:
    """One split for evaluation or prediction.

    Attributes:
        rows: columns as in `Examples`; `label` where the split has labels.
        name: the split's name.
    """

    rows: Dataset
    name: str
    columns: Columns
    glue_task: str | None
    notes: tuple[str, ...]


def load_training(config: DataConfig, *, seed: int) -> Examples:
    """Both splits of a fit: columns chosen, rows checked, labels as class ids.

    Raises:
        DataError: something in the data is not as needed; says where and what to try.
    """
    source = open_source(config.source)
    raw_train = _split_of(source, config.train_split)
    where = f"{source.name}, {config.train_split}"
    columns = find_columns(
        raw_train,
        where=where,
        texts=config.text_column,
        label=config.label_column,
        unusable=source.unusable,
    )
    assert columns.label is not None, "asked for"  # noqa: S101
    label_names = find_label_names(raw_train, columns.label, where=where)
    standardise = partial(
        _standardise, columns=columns, label_names=label_names, drop_missing=config.drop_missing
    )
    train, notes = standardise(raw_train, where=where)
    if len(np.unique(train["label"])) < 2:
        raise DataError(f"{where}: all rows have one class; at least 2 are needed")
    if config.validation_split in source.splits:
        where = f"{source.name}, {config.validation_split}"
        validation, more_notes = standardise(
            _split_of(source, config.validation_split), where=where
        )
    elif config.validation_split == DataConfig.validation_split:
        train, validation = hold_out(train, seed=seed)
        more_notes = [
            f"validation: the data has none; {len(validation)} rows of {config.train_split} are "
            f"held out, a tenth of each class (seed {seed})"
        ]
    else:
        _split_of(source, config.validation_split)
        raise AssertionError("refused above")
    return Examples(
        train=_limit(train, config.limit_train, seed=seed),
        validation=_limit(validation, config.limit_validation, seed=seed),
        task="single_label",
        label_names=label_names,
        columns=columns,
        glue_task=source.glue_task,
        notes=(*source.notes, _describe(columns, label_names), *notes, *more_notes),
        fingerprint=_fingerprint(train, validation),
    )


def load_split(
    config: DataConfig,
    split: str | None,
    *,
    label_names: Sequence[str],
    label_needed: bool,
    preferred: Sequence[str] = (),
    held_out_seed: int | None = None,
) -> SplitRows:
    """One split, its labels as ids among `label_names`.

    Args:
        preferred: columns of text to take where the split has them and `config` names none.
        split: its name; None takes `test` where there is one, else `validation`, else the only one.
        held_out_seed: of a fit on this same data, so that `validation` is the part it held out.

    Raises:
        DataError: there is no such split, or it has no labels though they are needed.
    """
    source = open_source(config.source)
    notes: list[str] = []
    holds_out = split == DataConfig.validation_split and split not in source.splits
    if split is None:
        split = next((each for each in ("test", "validation") if each in source.splits), "train")
    elif holds_out and held_out_seed is not None:
        split = config.train_split
        notes.append("validation: the rows of this data that the model's training held out")
    elif source.single_file and holds_out:
        split = "train"
        notes.append(f"{source.name}: one file, so all of its rows are taken")
    raw = _split_of(source, split)
    where = f"{source.name}, {split}"
    preferred = preferred if set(preferred) <= set(raw.column_names) else ()
    columns = find_columns(
        raw,
        where=where,
        texts=config.text_column or preferred,
        label=config.label_column,
        label_needed=label_needed,
        unusable=source.unusable,
    )
    if not label_needed:
        columns = replace(columns, label=None)
    rows, more_notes = _standardise(
        raw,
        columns=columns,
        where=where,
        drop_missing=config.drop_missing,
        label_names=label_names,
    )
    if holds_out and held_out_seed is not None:
        _, rows = hold_out(rows, seed=held_out_seed)
        split = DataConfig.validation_split
    return SplitRows(
        rows=_limit(rows, config.limit_validation, seed=held_out_seed or 0),
        name=split if not (source.single_file and holds_out) else DataConfig.validation_split,
        columns=columns,
        glue_task=source.glue_task,
        notes=(*source.notes, *notes, *more_notes),
    )


def hold_out(rows: Dataset, *, seed: int) -> tuple[Dataset, Dataset]:
    """Splits off a tenth of each class, at least one row in all; both keep the rows' order."""
    labels = np.asarray(rows["label"])
    generator = np.random.Generator(np.random.PCG64(seed))
    held: list[np.ndarray] = []
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        held.append(generator.permutation(of_class)[: round(len(of_class) * HELD_OUT)])
    chosen = np.sort(np.concatenate(held))
    if len(chosen) == 0:
        if len(labels) < 3:
            raise DataError(
                f"{len(labels)} rows are too few to hold some out; give a validation file"
            )
        chosen = generator.integers(len(labels), size=1)
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return rows.select(rest), rows.select(chosen)


def _split_of(source: Source, split: str) -> Dataset:
    if split not in source.splits:
        raise DataError(
            f"{source.name}: no split '{split}'{nearest(split, source.splits)}; there are "
            f"{listed(source.splits)}"
        )
    if len(source.splits[split]) == 0:
        raise DataError(f"{source.name}: split '{split}' has no rows")
    return source.splits[split]


def _standardise(
    raw: Dataset,
    *,
    columns: Columns,
    where: str,
    drop_missing: bool,
    label_names: Sequence[str],
) -> tuple[Dataset, list[str]]:
    """The columns under their standard names, without the rows that lack a text or a label."""
    for name in (*columns.texts, *([columns.label] if columns.label else [])):
        if name not in raw.column_names:
            raise DataError(
                f"{where}: no column '{name}'{nearest(name, raw.column_names)}; there are "
                f"{listed(raw.column_names)}"
            )
    rows = raw.select_columns(list(columns.texts))
    rows = rows.rename_columns(dict(zip(columns.texts, TEXT_FIELDS, strict=False)))
    n_rows = len(raw)
    present = np.ones(n_rows, dtype=bool)
    lacking = {}
    for name in columns.texts:
        has_text = _has_text(raw, name, where=where)
        lacking[f"a text in '{name}'"] = np.flatnonzero(~has_text)
        present &= has_text
    if columns.label is not None:
        labels = to_ids(raw, columns.label, label_names, where=where)
        rows = rows.add_column("label", labels)
        lacking[f"a label in '{columns.label}'"] = np.flatnonzero(labels == UNLABELLED)
        present &= labels != UNLABELLED
        if (labels == UNLABELLED).all():
            raise DataError(
                f"{where}: no row has a label in '{columns.label}'; such a split can be "
                "predicted (tfft predict), not learned or scored"
            )
    ids = raw[columns.id] if columns.id in raw.column_names else range(n_rows)
    rows = rows.add_column("id", list(ids)).add_column("row", np.arange(n_rows))
    if present.all():
        return rows, []
    told = "; ".join(
        f"{len(which)} of {n_rows} rows lack {what} (rows {listed(which, most=5)}, counted from 0)"
        for what, which in lacking.items()
        if len(which)
    )
    if not drop_missing:
        raise DataError(f"{where}: {told}; mend them, or go on without with --drop-missing")
    if not present.any():
        raise DataError(f"{where}: {told}; no row is left")
    return rows.select(np.flatnonzero(present)), [f"left out: {where}: {told}"]


def _has_text(raw: Dataset, name: str, *, where: str) -> np.ndarray:
    """Which rows have a text: bool [n_rows]."""
    values = raw.with_format("arrow")[:][name]
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        first = next((each for each in values.to_pylist() if each is not None), None)
        raise DataError(
            f"{where}: column '{name}' holds {kind}, not texts (row 0: {first!r:.60}); name "
            "another with --text-column"
        )
    return np.asarray(pc.is_valid(values))


def _limit(rows: Dataset, limit: int | None, *, seed: int) -> Dataset:
    """The rows that the tutorial's `shuffle(seed=...).select(range(limit))` takes."""
    if limit is None or limit >= len(rows):
        return rows
    return rows.shuffle(seed=seed).select(range(limit))


def _describe(columns: Columns, label_names: Sequence[str]) -> str:
    kind = "text pair" if len(columns.texts) == 2 else "text"
    return (
        f"columns: {kind} {' + '.join(columns.texts)}, label {columns.label} "
        f"({len(label_names)} classes: {listed(label_names, most=8)})"
    )


def _fingerprint(*splits: Dataset) -> str:
    """A hash of what the splits hold, whatever file or chunk it came in."""
    digest = hashlib.blake2b(digest_size=16)
    for rows in splits:
        arrow = rows.with_format("arrow")
        for start in range(0, len(rows), 10_000):
            for row in arrow[start : start + 10_000].to_pylist():
                digest.update(repr(row).encode())
    return digest.hexdigest()
