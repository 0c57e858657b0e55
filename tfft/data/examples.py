"""A source's splits -> rows ready to be tokenised: texts, labels, row numbers.

    examples = load_training(config.data, seed=42)
    examples.train          # datasets.Dataset: text, [text_pair], label, id, row
    examples.label_names    # ("0", "1")
    examples.notes          # what was chosen, for the user to read

    source = open_source("new.csv")
    rows = load_split(source, config.data, "test", learned=Learned("single_label", names))

Whatever the columns were called, they have these names from here on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.config import DataConfig
from tfft.data.cells import are_texts, column_of, digest_of, row_number, rows_from
from tfft.data.columns import Columns, check_columns, find_columns
from tfft.data.labels import UnknownLabelError
from tfft.data.sources import PREFIX_ROWS, SPLIT_ALIASES, Source, as_dataset, open_source
from tfft.data.spill import data_set, kept
from tfft.data.targets import (
    Targets,
    align_targets,
    as_arrow,
    check_variety,
    find_targets,
    find_task,
    from_arrow,
    strata,
)
from tfft.errors import DataError, listed, nearest

if TYPE_CHECKING:
    from datasets import Dataset

# The part of train that is held out where the data has no validation split.
HELD_OUT = 0.1
# Of a stream, its first rows, a tenth of those that tell its columns and labels.
MOST_HELD_OUT = 1000
CHUNK_ROWS = 1000
TEXT_FIELDS = ("text", "text_pair")
# Validation splits that are scored beside another: MNLI's other genres.
COMPANIONS = {"validation": "validation_mismatched"}


@dataclass(frozen=True)
class Examples:
    """What a fit learns from.

    Attributes:
        train, validation: `text` and, of pairs, `text_pair` (strings), `label` (as in
            `data/targets.py`), `id` (the data's own id, else the row number), `row` (in the split
            as it came, from 0).
        more_validation: further splits to score, by name: `validation_mismatched` of MNLI.
        columns: which columns of the data these were.
        targets: how their labels were read.
        fingerprint: a hash of all rows of all splits, of a stream of its first ones.
        stream: of a streamed train, all its rows as they come, a chunk at a time, from the first on
            each time that it is called; `train` has the first of them. Raises DataError on the way.
    """

    train: Dataset
    validation: Dataset
    more_validation: Mapping[str, Dataset]
    columns: Columns
    targets: Targets
    glue_task: str | None
    notes: tuple[str, ...]
    fingerprint: str
    stream: Callable[[], Iterator[Dataset]] | None = None

    @property
    def task(self) -> str:
        return self.targets.task

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.targets.names

    @property
    def splits(self) -> dict[str, Dataset]:
        """All of them by name, `train` first."""
        return {"train": self.train, "validation": self.validation, **self.more_validation}

    @property
    def n_rows(self) -> dict[str, int | None]:
        """By split; of a stream nobody knows."""
        counts: dict[str, int | None] = {name: len(rows) for name, rows in self.splits.items()}
        return counts if self.stream is None else {**counts, "train": None}


@dataclass(frozen=True)
class Learned:
    """What a saved model knows of its labels and of the data that it learned from.

    Attributes:
        label_names: by id.
        data: names the columns to take where the split has them and the user names none.
        held_out_seed: where the data is what the model learned from: the seed of that fit, so that
            `validation` is the part that it held out.
    """

    task: str
    label_names: tuple[str, ...]
    data: DataConfig = field(default_factory=DataConfig)
    held_out_seed: int | None = None


@dataclass(frozen=True)
class SplitRows:
    """One split for evaluation or prediction.

    Attributes:
        rows: columns as in `Examples`; `label` where labels were asked for.
        name: the split's name.
    """

    rows: Dataset
    name: str
    columns: Columns
    notes: tuple[str, ...]


def load_training(config: DataConfig, *, seed: int) -> Examples:
    """The splits of a fit: columns chosen, rows checked, labels read.

    Raises:
        DataError: something in the data is not as needed; says where and what to try.
    """
    source = _open_for_training(config)
    raw_train = _split_of(source, config.train_split)
    where = train_where = f"{source.name}, {config.train_split}"
    if source.stream is not None:
        where += f" (its first {len(raw_train):,} rows)"
    columns = find_columns(
        raw_train,
        where=where,
        texts=config.text_column,
        labels=config.label_column,
        unusable=_unusable(source, config.train_split),
    )
    task = find_task(raw_train, columns.labels, asked=config.task, delimiter=config.label_delimiter)
    targets = find_targets(
        raw_train,
        columns.labels,
        task=task,
        where=where,
        delimiter=config.label_delimiter,
        are_classes=config.task != "auto",
    )
    standardise = partial(
        _standardise, columns=columns, targets=targets, drop_missing=config.drop_missing
    )
    train, notes = standardise(raw_train, where=where)
    check_variety(targets, labels_of(train), where=where)
    validation, more_validation = None, {}
    for name in _validation_splits(source, config.validation_split):
        where = f"{source.name}, {name}"
        if source.name_of(name) == source.name_of(config.train_split):
            raise DataError(f"{where}: is the split that is trained on; name two that differ")
        rows, more_notes = standardise(
            _split_of(source, name), where=where, unusable=_unusable(source, name)
        )
        notes += more_notes
        if validation is None:
            validation = _limit(rows, config.limit_validation, seed=seed)
        else:
            more_validation[name] = _limit(rows, config.limit_validation, seed=seed)
    n_held_out = 0
    if validation is None and source.stream is not None:
        n_held_out = _n_held_out(len(raw_train))
        train, validation = hold_out_first(train, n_held_out)
        if len(validation) == 0 or len(train) == 0:
            raise DataError(f"{where}: too few to hold some out; give a validation file")
        notes.append(
            f"validation: the data has none; the first {n_held_out:,} rows of the stream are held "
            "out"
        )
        validation = _limit(validation, config.limit_validation, seed=seed)
    elif validation is None:
        train, validation = hold_out(train, seed=seed)
        notes.append(
            f"validation: the data has none; {len(validation)} rows of {config.train_split} are "
            f"held out, a tenth{' of each class' * (task == 'single_label')} (seed {seed})"
        )
        validation = _limit(validation, config.limit_validation, seed=seed)
    stream = None
    if source.stream is not None:
        notes.append(f"stream: columns and labels are those of its first {len(raw_train):,} rows")
        train = train.take(min(len(train), config.limit_train or len(train)))
        stream = partial(
            _streamed,
            source,
            partial(standardise, where=train_where, is_part=True),
            n_held_out=n_held_out,
            limit=config.limit_train,
        )
    return Examples(
        train=train if stream is not None else _limit(train, config.limit_train, seed=seed),
        validation=validation,
        more_validation=more_validation,
        columns=columns,
        targets=targets,
        glue_task=source.glue_task,
        notes=(*source.notes, _describe(columns, targets), *_doubts(config, targets), *notes),
        fingerprint=_fingerprint(train, validation, *more_validation.values()),
        stream=stream,
    )


def _open_for_training(config: DataConfig) -> Source:
    if not config.streaming:
        return open_source(config.source)
    scored = (config.validation_split, COMPANIONS.get(config.validation_split, ""))
    whole = (*scored, *(SPLIT_ALIASES.get(name, name) for name in scored))
    return open_source(config.source, streamed=config.train_split, whole=whole)


def _streamed(
    source: Source, standardise: Callable[..., Any], *, n_held_out: int, limit: int | None
) -> Iterator[Dataset]:
    """The rows behind those that are held out, `limit` of them at most.

    Raises:
        DataError: a row isn't as the first ones are, once the chunks before it are out.
    """
    assert source.stream is not None  # noqa: S101
    n_read = n_taken = 0
    for table in source.stream(CHUNK_ROWS):
        raw, unusable = as_dataset(table)
        try:
            with rows_from(n_read):
                rows, _ = standardise(raw, unusable=unusable)
        except UnknownLabelError as error:
            raise DataError(
                f"{error}, the labels of the first rows; shuffle the file so that they have them "
                "all, or go without --streaming"
            ) from None
        n_read += len(raw)
        rows = hold_out_first(rows, n_held_out)[0]
        rows = rows.take(len(rows) if limit is None else min(len(rows), limit - n_taken))
        n_taken += len(rows)
        if len(rows):
            yield rows
        if n_taken == limit:
            return


def _n_held_out(n_rows: int) -> int:
    """Of a stream that begins with these rows."""
    return max(1, min(MOST_HELD_OUT, int(n_rows * HELD_OUT)))


def hold_out_first(rows: Dataset, n_held_out: int) -> tuple[Dataset, Dataset]:
    """Splits off what came first in the data, whatever was left out since."""
    is_held_out = np.asarray(column_of(rows, "row")) < n_held_out
    return rows.select(np.flatnonzero(~is_held_out)), rows.select(np.flatnonzero(is_held_out))


def in_order_of(examples: Examples, label_names: Sequence[str]) -> Examples:
    """The same examples with the labels' ids in another order, that of a checkpoint's head."""
    new_ids = np.array([label_names.index(name) for name in examples.label_names])

    def reorder(rows: Dataset) -> Dataset:
        values = labels_of(rows)
        moved = new_ids[values] if values.ndim == 1 else values[:, np.argsort(new_ids)]
        return _with_labels(rows, moved)

    stream = examples.stream
    return replace(
        examples,
        stream=None if stream is None else lambda: map(reorder, stream()),
        train=reorder(examples.train),
        validation=reorder(examples.validation),
        more_validation={name: reorder(rows) for name, rows in examples.more_validation.items()},
        targets=replace(examples.targets, names=tuple(label_names)),
    )


def load_split(
    source: Source,
    config: DataConfig,
    split: str | None,
    *,
    learned: Learned,
    label_needed: bool,
) -> SplitRows:
    """One split of an opened source, its labels read as those that were learned.

    Args:
        split: its name; None takes `test` where there is one, else `validation`, else the only one.

    Raises:
        DataError: there is no such split, or it has no labels though they are needed.
    """
    notes: list[str] = []
    holds_out = split == DataConfig.validation_split and split not in source
    same_data = learned.held_out_seed is not None
    if holds_out and same_data and learned.data.validation_split in source:
        split, holds_out = learned.data.validation_split, False
        notes.append(f"validation: the split {split}, as in the model's training")
    takes_held_out = holds_out and same_data
    if split is None:
        split = next((each for each in ("test", "validation") if each in source), "train")
    elif takes_held_out:
        split = learned.data.train_split
        notes.append("validation: the rows of this data that the model's training held out")
    elif source.single_file and holds_out:
        split = "train"
        notes.append(f"{source.name}: one file, so all of its rows are taken")
    raw = _split_of(source, split)
    where = f"{source.name}, {split}"
    # Which rows were held out depends on their labels, even where nothing else does.
    label_needed, label_wanted = label_needed or takes_held_out, label_needed
    columns = _known_columns(config, learned, source, split, label_needed=label_needed)
    targets = None
    if label_needed:
        targets, note = align_targets(
            raw,
            columns.labels,
            task=learned.task,
            learned=learned.label_names,
            where=where,
            delimiter=config.label_delimiter or learned.data.label_delimiter,
        )
        notes += [note] if note else []
    drop_missing = config.drop_missing or (takes_held_out and learned.data.drop_missing)
    rows, more_notes = _standardise(
        raw, columns=columns, where=where, drop_missing=drop_missing, targets=targets
    )
    if takes_held_out:
        if learned.data.streaming:
            _, rows = hold_out_first(rows, _n_held_out(min(len(raw), PREFIX_ROWS)))
        else:
            _, rows = hold_out(rows, seed=learned.held_out_seed or 0)
        split = DataConfig.validation_split
        if not label_wanted:
            rows = rows.remove_columns("label")
    return SplitRows(
        rows=_limit(rows, config.limit_validation, seed=learned.held_out_seed or 0),
        name=split if not (source.single_file and holds_out) else DataConfig.validation_split,
        columns=columns,
        notes=(_describe(columns, targets), *notes, *more_notes),
    )


def splits_to_score(source: Source, split: str) -> list[str]:
    """The splits that are scored where `split` is asked for: of MNLI's two, both."""
    return _validation_splits(source, split) or [split]


def _validation_splits(source: Source, split: str) -> list[str]:
    """`split` and its companions; none where the data has no `validation` and one is held out."""
    if source.name_of(split) not in source and split == DataConfig.validation_split:
        return []
    companion = COMPANIONS.get(split)
    return [split, companion] if companion is not None and companion in source else [split]


def _known_columns(
    config: DataConfig, learned: Learned, source: Source, split: str, *, label_needed: bool
) -> Columns:
    """As the user names them, else as the model's training had them, else as they are found."""
    raw = _split_of(source, split)
    texts, labels = (
        names if set(names) <= {*raw.features} else ()
        for names in (learned.data.text_column, learned.data.label_column)
    )
    found = find_columns(
        raw,
        where=f"{source.name}, {split}",
        texts=config.text_column or texts,
        labels=config.label_column or labels,
        label_needed=label_needed,
        unusable=_unusable(source, split),
    )
    n_texts = len(learned.data.text_column)
    if not config.text_column and n_texts and len(found.texts) != n_texts:
        raise DataError(
            f"{source.name}, {split}: the model learned from {n_texts} text{'s' * (n_texts > 1)} a "
            f"row ({listed(learned.data.text_column)}), and {len(found.texts)} are found "
            f"({listed(found.texts)}); name what to take with --text-column"
        )
    return found


def hold_out(rows: Dataset, *, seed: int) -> tuple[Dataset, Dataset]:
    """Splits off a tenth, a tenth of each class too; both parts keep the rows' order.

    Classes of fewer than ten rows take turns by chance; none gives away its only row.
    """
    groups = _by_first_row(strata(labels_of(rows)))
    generator = np.random.Generator(np.random.PCG64(seed))
    classes, sizes = np.unique(groups, return_counts=True)
    n_held = np.floor(sizes * HELD_OUT).astype(int)
    n_more = max(1, round(len(groups) * HELD_OUT)) - n_held.sum()
    by_remainder = np.lexsort((generator.random(len(classes)), n_held - sizes * HELD_OUT))
    n_held[by_remainder[sizes[by_remainder] > 1][:n_more]] += 1
    if n_held.sum() == 0:
        raise DataError(
            f"{len(groups)} rows of {len(classes)} classes are too few to hold some out; give a "
            "validation file"
        )
    held = [
        generator.permutation(np.flatnonzero(groups == group))[:n]
        for group, n in zip(classes, n_held, strict=True)
    ]
    chosen = np.sort(np.concatenate(held))
    rest = np.setdiff1d(np.arange(len(groups)), chosen)
    return rows.select(rest), rows.select(chosen)


def _by_first_row(groups: np.ndarray) -> np.ndarray:
    """The same groups, numbered as they first come: which rows are held out is then a matter of the
    rows alone, whatever order a model has its labels in.
    """
    _, first_rows, groups = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_rows))[groups]


def labels_of(rows: Dataset) -> np.ndarray:
    """As in `data/targets.py`."""
    return from_arrow(column_of(rows, "label"))


def _with_labels(rows: Dataset, values: np.ndarray) -> Dataset:
    table = rows.with_format("arrow")[:]
    place = table.column_names.index("label")
    return data_set(table.set_column(place, "label", as_arrow(values)))


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
    targets: Targets | None,
    unusable: Mapping[str, str] | None = None,
    is_part: bool = False,
) -> tuple[Dataset, list[str]]:
    """The columns under their standard names, without the rows that lack a text or a label.

    Args:
        is_part: of more rows, so that all of these may be left out.
    """
    chosen = (*columns.texts, *(columns.labels if targets is not None else ()))
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
                f"{listed(row_number(which), most=5)}, counted from 0)"
            )
    if targets is not None:
        values, is_known = targets.read(raw, where=where)
        standard["label"] = as_arrow(values)
        lacking[f"a label in '{listed(columns.labels, most=3)}'"] = np.flatnonzero(~is_known)
        present &= is_known
        if not (is_part or is_known.any()):
            raise DataError(
                f"{where}: no row has a label in '{listed(columns.labels, most=3)}'; such a split "
                "can be predicted (tfft predict), not learned or scored"
            )
    numbers = row_number(np.arange(n_rows))
    has_ids = columns.id in raw.column_names and columns.id not in (unusable or {})
    standard["id"] = column_of(raw, columns.id) if columns.id and has_ids else numbers
    table = {name: kept(values) for name, values in {**standard, "row": numbers}.items()}
    rows = data_set(pa.table(table))
    if present.all():
        return rows, notes
    told = "; ".join(
        f"{len(which)} of {n_rows} rows lack {what} (rows {listed(row_number(which), most=5)}, "
        "counted from 0)"
        for what, which in lacking.items()
        if len(which)
    )
    if not drop_missing:
        raise DataError(f"{where}: {told}; mend them, or go on without with --drop-missing")
    if not (is_part or present.any()):
        raise DataError(f"{where}: {told}; no row is left")
    return rows.select(np.flatnonzero(present)), [*notes, f"left out: {where}: {told}"]


def _texts(raw: Dataset, name: str, *, where: str) -> pa.ChunkedArray:
    values = column_of(raw, name)
    kind = values.type
    if pa.types.is_null(kind):
        return values.cast(pa.string())
    if not are_texts(kind):
        row = pc.index(pc.is_valid(values), pa.scalar(True)).as_py()
        raise DataError(
            f"{where}: column '{name}' holds {kind}, not texts (row {row_number(row)}: "
            f"{values[row].as_py()!r:.60}); name another with --text-column"
        )
    return values


def _limit(rows: Dataset, limit: int | None, *, seed: int) -> Dataset:
    """The rows that the tutorial's `shuffle(seed=...).select(range(limit))` takes."""
    if limit is None or limit >= len(rows):
        return rows
    return rows.shuffle(seed=seed).select(range(limit))


def _describe(columns: Columns, targets: Targets | None) -> str:
    kind = "text pair" if len(columns.texts) == 2 else "text"
    labels = f", {targets.describe()}" if targets is not None else ""
    return f"columns: {kind} {' + '.join(columns.texts)}{labels}"


def _doubts(config: DataConfig, targets: Targets) -> list[str]:
    """What was chosen and may well have been meant otherwise."""
    joined = [name for name in targets.names if "|" in name or ";" in name]
    if config.task != "auto" or targets.task != "single_label" or not joined:
        return []
    return [f"labels: '{joined[0]}' is one class; if it is several labels, say --task multi_label"]


def _fingerprint(*splits: Dataset) -> str:
    """A hash of what the splits hold, whatever file or chunk it came in."""
    digest = hashlib.blake2b(digest_size=16)
    for rows in splits:
        digest.update(digest_of(rows, sorted(rows.column_names)))
    return digest.hexdigest()
