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
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.config import DataConfig
from tfft.data.columns import Columns, check_columns, find_columns
from tfft.data.labels import UNLABELLED, find_label_names, to_ids
from tfft.data.sources import Source, open_source
from tfft.errors import DataError, listed, nearest

if TYPE_CHECKING:
    from datasets import Dataset

# The part of train that is held out where the data has no validation split.
HELD_OUT = 0.1
TEXT_FIELDS = ("text", "text_pair")
# What transformers calls a class that nobody named.
_UNNAMED = re.compile(r"LABEL_\d+")


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
        unusable=_unusable(source, config.train_split),
    )
    assert columns.label is not None, "asked for"  # noqa: S101
    label_names = find_label_names(
        raw_train, columns.label, where=where, are_classes=config.task != "auto"
    )
    standardise = partial(
        _standardise, columns=columns, label_names=label_names, drop_missing=config.drop_missing
    )
    train, notes = standardise(raw_train, where=where)
    if len(np.unique(_labels(train))) < 2:
        raise DataError(f"{where}: all rows have one class; at least 2 are needed")
    if source.name_of(config.validation_split) in source:
        where = f"{source.name}, {config.validation_split}"
        if source.name_of(config.validation_split) == source.name_of(config.train_split):
            raise DataError(f"{where}: is the split that is trained on; name two that differ")
        validation, more_notes = standardise(
            _split_of(source, config.validation_split),
            where=where,
            unusable=_unusable(source, config.validation_split),
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
    preferred: DataConfig | None = None,
    held_out_seed: int | None = None,
) -> SplitRows:
    """One split, its labels as ids among `label_names`.

    Args:
        preferred: names the columns to take where the split has them and `config` names none.
        split: its name; None takes `test` where there is one, else `validation`, else the only one.
        held_out_seed: of a fit on this same data, so that `validation` is the part it held out.

    Raises:
        DataError: there is no such split, or it has no labels though they are needed.
    """
    source = open_source(config.source)
    notes: list[str] = []
    holds_out = split == DataConfig.validation_split and split not in source
    takes_held_out = holds_out and held_out_seed is not None
    if split is None:
        split = next((each for each in ("test", "validation") if each in source), "train")
    elif takes_held_out:
        split = config.train_split
        notes.append("validation: the rows of this data that the model's training held out")
    elif source.single_file and holds_out:
        split = "train"
        notes.append(f"{source.name}: one file, so all of its rows are taken")
    raw = _split_of(source, split)
    where = f"{source.name}, {split}"
    preferred = preferred or DataConfig()
    known_texts = preferred.text_column if set(preferred.text_column) <= {*raw.features} else ()
    known_label = preferred.label_column if preferred.label_column in raw.features else None
    columns = find_columns(
        raw,
        where=where,
        texts=config.text_column or known_texts,
        label=config.label_column or (known_label if label_needed or takes_held_out else None),
        # Which rows were held out depends on their labels, even where nothing else does.
        label_needed=label_needed or takes_held_out,
        unusable=_unusable(source, split),
    )
    if not (label_needed or takes_held_out):
        columns = replace(columns, label=None)
    if columns.label is not None and all(_UNNAMED.fullmatch(name) for name in label_names):
        label_names, note = _by_position(raw, columns.label, label_names, where=where)
        notes.append(note)
    rows, more_notes = _standardise(
        raw,
        columns=columns,
        where=where,
        drop_missing=config.drop_missing,
        label_names=label_names,
    )
    if takes_held_out:
        _, rows = hold_out(rows, seed=held_out_seed or 0)
        split = DataConfig.validation_split
        if not label_needed:
            rows, columns = rows.remove_columns("label"), replace(columns, label=None)
    return SplitRows(
        rows=_limit(rows, config.limit_validation, seed=held_out_seed or 0),
        name=split if not (source.single_file and holds_out) else DataConfig.validation_split,
        columns=columns,
        glue_task=source.glue_task,
        notes=(*source.notes, *notes, *more_notes),
    )


def _by_position(
    raw: Dataset, column: str, label_names: Sequence[str], *, where: str
) -> tuple[tuple[str, ...], str]:
    """The data's own label names, for a checkpoint that was saved without any."""
    names = find_label_names(raw, column, where=where, are_classes=True)
    if len(names) != len(label_names):
        raise DataError(
            f"{where}: column '{column}' has {len(names)} classes ({listed(names)}), the model "
            f"{len(label_names)} without names"
        )
    return names, f"labels: the model names none; {listed(names)} are taken for its ids in order"


def hold_out(rows: Dataset, *, seed: int) -> tuple[Dataset, Dataset]:
    """Splits off a tenth, a tenth of each class too; both parts keep the rows' order.

    Classes of fewer than ten rows take turns by chance; none gives away its only row.
    """
    labels = _labels(rows)
    generator = np.random.Generator(np.random.PCG64(seed))
    classes, sizes = np.unique(labels, return_counts=True)
    n_held = np.floor(sizes * HELD_OUT).astype(int)
    n_more = max(1, round(len(labels) * HELD_OUT)) - n_held.sum()
    by_remainder = np.lexsort((generator.random(len(classes)), n_held - sizes * HELD_OUT))
    n_held[by_remainder[sizes[by_remainder] > 1][:n_more]] += 1
    if n_held.sum() == 0:
        raise DataError(
            f"{len(labels)} rows of {len(classes)} classes are too few to hold some out; give a "
            "validation file"
        )
    held = [
        generator.permutation(np.flatnonzero(labels == label))[:n]
        for label, n in zip(classes, n_held, strict=True)
    ]
    chosen = np.sort(np.concatenate(held))
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return rows.select(rest), rows.select(chosen)


def _labels(rows: Dataset) -> np.ndarray:
    """Class ids: int64 [n_rows]. `rows["label"]` would make a Python number of each."""
    return np.asarray(_column(rows, "label"))


def _unusable(source: Source, split: str) -> Mapping[str, str]:
    return source.unusable.get(source.name_of(split), {})


def _split_of(source: Source, split: str) -> Dataset:
    split = source.name_of(split)
    if split in source.unreadable:
        raise DataError(source.unreadable[split])
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
    unusable: Mapping[str, str] | None = None,
) -> tuple[Dataset, list[str]]:
    """The columns under their standard names, without the rows that lack a text or a label."""
    from datasets import Dataset

    chosen = (*columns.texts, *([columns.label] if columns.label else []))
    check_columns(chosen, raw.column_names, where=where, unusable=unusable or {})
    n_rows = len(raw)
    present = np.ones(n_rows, dtype=bool)
    lacking, standard, notes = {}, {}, []
    for name, standard_name in zip(columns.texts, TEXT_FIELDS, strict=False):
        texts = standard[standard_name] = _texts(raw, name, where=where)
        has_text = np.asarray(pc.is_valid(texts))
        lacking[f"a text in '{name}'"] = np.flatnonzero(~has_text)
        present &= has_text
        blank = pc.fill_null(pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts)), False)
        if pc.any(blank).as_py():
            which = np.flatnonzero(blank)
            notes.append(
                f"blank: {where}: {len(which)} of {n_rows} texts in '{name}' (rows "
                f"{listed(which, most=5)}, counted from 0)"
            )
    if columns.label is not None:
        labels = standard["label"] = to_ids(raw, columns.label, label_names, where=where)
        lacking[f"a label in '{columns.label}'"] = np.flatnonzero(labels == UNLABELLED)
        present &= labels != UNLABELLED
        if (labels == UNLABELLED).all():
            raise DataError(
                f"{where}: no row has a label in '{columns.label}'; such a split can be "
                "predicted (tfft predict), not learned or scored"
            )
    numbers = np.arange(n_rows)
    has_ids = columns.id in raw.column_names and columns.id not in (unusable or {})
    standard["id"] = _column(raw, columns.id) if columns.id and has_ids else numbers
    rows = Dataset(pa.table({**standard, "row": numbers}))
    if present.all():
        return rows, notes
    told = "; ".join(
        f"{len(which)} of {n_rows} rows lack {what} (rows {listed(which, most=5)}, counted from 0)"
        for what, which in lacking.items()
        if len(which)
    )
    if not drop_missing:
        raise DataError(f"{where}: {told}; mend them, or go on without with --drop-missing")
    if not present.any():
        raise DataError(f"{where}: {told}; no row is left")
    return rows.select(np.flatnonzero(present)), [*notes, f"left out: {where}: {told}"]


def _column(rows: Dataset, name: str) -> pa.ChunkedArray:
    return rows.select_columns(name).with_format("arrow")[:][name]


def _texts(raw: Dataset, name: str, *, where: str) -> pa.ChunkedArray:
    values = _column(raw, name)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if pa.types.is_null(kind):
        return values.cast(pa.string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        row = pc.index(pc.is_valid(values), pa.scalar(True)).as_py()
        raise DataError(
            f"{where}: column '{name}' holds {kind}, not texts (row {row}: "
            f"{values[row].as_py()!r:.60}); name another with --text-column"
        )
    return values


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
            digest.update(repr(arrow[start : start + 10_000].to_pydict()).encode())
    return digest.hexdigest()
