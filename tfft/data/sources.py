"""Where data comes from: a path, `builtin/acceptability`, or a hub id -> named splits.

    source = open_source("glue/cola")
    source.splits["train"]      # datasets.Dataset, as it came
    source.glue_task            # "cola"
    source.notes                # what was chosen on the way, for the user to read

    source = open_source("imdb", streamed="train", whole=("validation",))
    source.splits["train"]      # its first rows
    source.stream(1000)         # all of them as files.Tables, read once more and never held

A path that exists goes first, then what is embedded, then the hub. `datasets` is imported where it
is needed: it takes seconds, and a missing file should answer at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from tfft.data.files import READERS, Table, read_chunks, read_file
from tfft.data.spill import data_set
from tfft.errors import DataError, listed, nearest
from tfft.hub import load_data, open_streams

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

GLUE_TASKS = ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli")
GLUE = "nyu-mll/glue"  # where the hub's bare `glue` has moved
BUILTIN = ("acceptability",)
# Other names that people give to the split.
SPLIT_ALIASES = {
    **dict.fromkeys(("dev", "valid", "val", "validation_matched", "dev_matched"), "validation"),
    "dev_mismatched": "validation_mismatched",
    "test_matched": "test",
}
SPLITS = ("train", "validation", "test")
# The rows of a stream that tell its columns and labels.
PREFIX_ROWS = 10_000
Stream = Callable[[int], Iterator[Table]]  # how many rows at a time -> all of them, from the first
Splits = TypeVar("Splits", bound=dict[str, Any])
_SHARD = re.compile(r"-\d{5}-of-(?P<n_shards>\d{5})$")


@dataclass(frozen=True)
class Source:
    """Named splits as they came.

    Attributes:
        name: what the user gave, for messages.
        splits: by name; a single file is one split called `train`.
        single_file: whether it is one, so that "all of it" has a meaning.
        glue_task: GLUE's name for it (`cola`), or None; a local copy in a folder `glue/cola` too.
        unusable: by split, columns that can't be used, and why.
        unreadable: splits that can't be read, and why; told when one is asked for.
        stream: of a streamed split, of which `splits` has the first `PREFIX_ROWS` rows alone.
    """

    name: str
    splits: DatasetDict
    single_file: bool = False
    glue_task: str | None = None
    unusable: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stream: Stream | None = None

    def name_of(self, split: str) -> str:
        """What the split is called here: `dev` is `validation`."""
        return split if split in self else SPLIT_ALIASES.get(split, split)

    def __contains__(self, split: str) -> bool:
        return split in self.splits or split in self.unreadable


def open_source(name: str, *, streamed: str | None = None, whole: Sequence[str] = ()) -> Source:
    """Finds and reads the data that `name` stands for.

    Args:
        streamed: a split to read the first rows of, and to leave the rest where it is.
        whole: beside a streamed split, those that are read nevertheless; no others are.

    Raises:
        DataError: there is nothing of that name, or it can't be read; says what is nearest.
    """
    if not name.strip():
        raise DataError("expected the name of a folder, a file or a data set, not an empty one")
    path = Path(os.path.expanduser(name))  # Path's own raises where there is no such user
    try:
        if path.is_dir():
            return _open_folder(name, path, streamed, whole)
        if path.exists():
            return _open_file(name, path, streamed)
    except OSError as error:
        raise DataError(f"{name:.200}: can't be read: {error.strerror or error}") from None
    if name.startswith("builtin/"):
        return _open_builtin(name, streamed, whole)
    if _is_path_like(name):
        raise DataError(f"{name}: no such file or folder{nearest_path(path)}")
    return _open_hub(name, streamed, whole)


def _open_file(name: str, path: Path, streamed: str | None) -> Source:
    stream = None if streamed is None else _files_stream([path])
    table = read_file(path) if stream is None else _beginning(stream)
    splits, unusable = _as_splits({"train": table})
    return Source(name, splits, single_file=True, unusable=unusable, stream=stream)


def _open_folder(name: str, path: Path, streamed: str | None, whole: Sequence[str]) -> Source:
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return _open_saved(name, path, streamed)
    by_split = _split_files(path)
    streamed = streamed if streamed in by_split else SPLIT_ALIASES.get(streamed or "", streamed)
    stream = None
    tables, unreadable = {}, {}
    for split, paths in by_split.items():
        if streamed is not None and split not in (streamed, *whole):
            unreadable[split] = _left_out(name, split)
            continue
        try:
            if split == streamed:
                _check_shards(paths)
                stream = _files_stream(paths)
                tables[split] = _beginning(stream)
            else:
                tables[split] = _read_all(paths)
        except DataError as error:  # of no matter, unless the split is asked for
            unreadable[split] = str(error)
    notes = [
        f"data: {listed(each.name for each in paths)} is read as {split}"
        for split, paths in by_split.items()
        if _stem(paths[0]) != split
    ]
    notes += [
        f"data: {split} is left out: {why}"
        for split, why in unreadable.items()
        if why != _left_out(name, split)
    ]
    splits, unusable = _as_splits(tables)
    return Source(
        name,
        splits,
        glue_task=_glue_task(path.resolve()),
        unusable=unusable,
        unreadable=unreadable,
        notes=tuple(notes),
        stream=stream,
    )


def _left_out(name: str, split: str) -> str:
    return f"{name}: split '{split}' isn't read beside a stream"


def _files_stream(paths: Sequence[Path]) -> Stream:
    """One split's files, one after the other."""

    def stream(n_rows: int) -> Iterator[Table]:
        first_row = 0
        for path in paths:
            for table in read_chunks(path, n_rows, first_row=first_row):
                first_row += table.rows.num_rows
                yield table

    return stream


def _beginning(stream: Stream) -> Table:
    """The first `PREFIX_ROWS` rows."""
    tables: list[Table] = []
    n_rows = 0
    for table in stream(PREFIX_ROWS):
        tables.append(Table(table.rows[: PREFIX_ROWS - n_rows], table.unusable))
        n_rows += tables[-1].rows.num_rows
        if n_rows == PREFIX_ROWS:
            break
    try:
        rows = pa.concat_tables(
            [each.rows for each in tables] or [pa.table({})], promote_options="permissive"
        )
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise DataError(f"the columns differ within the first {n_rows:,} rows: {why}") from None
    return Table(rows, {name: why for each in tables for name, why in each.unusable.items()})


def _as_splits(tables: Mapping[str, Table]) -> tuple[DatasetDict, dict[str, dict[str, str]]]:
    """Data sets by split; and, by split, the columns that can't be used, of nulls here."""
    from datasets import DatasetDict

    splits, unusable = DatasetDict(), {}
    for split, table in tables.items():
        splits[split], unusable[split] = as_dataset(table)
    return splits, unusable


def as_dataset(table: Table) -> tuple[Dataset, dict[str, str]]:
    """A table as a data set, and the columns that can't be used, of nulls there."""
    from datasets import Features

    rows, unusable = table.rows, dict(table.unusable)
    for place, column in enumerate(rows.schema):
        try:
            Features.from_arrow_schema(pa.schema([column]))
        except (ValueError, NotImplementedError):
            unusable[column.name] = f"its type, {column.type}, isn't supported"
            rows = rows.set_column(place, column.name, pa.nulls(rows.num_rows))
    return data_set(rows), unusable


def _rename_splits(splits: Splits) -> tuple[Splits, tuple[str, ...]]:
    """Splits under their usual names, and what was renamed."""
    notes = []
    for alias, split in SPLIT_ALIASES.items():
        if alias in splits and split not in splits:
            splits[split] = splits.pop(alias)
            notes.append(f"data: the split {alias} is read as {split}")
    return splits, tuple(notes)


def _stem(path: Path) -> str:
    """The split a file's name stands for: `train-00000-of-00002.parquet` is one of train's."""
    return _SHARD.sub("", path.name.removesuffix(path.suffix))


def _split_files(path: Path) -> dict[str, list[Path]]:
    """Split name -> its files, `train` first."""
    found = sorted(
        each
        for each in path.iterdir()
        if each.suffix.lower() in READERS and not each.name.startswith(".") and each.is_file()
    )
    if not found:
        raise DataError(
            f"{path}: expected train|validation|test files ({listed(READERS)}), "
            f"found {listed(sorted(each.name for each in path.iterdir())) or 'nothing'}"
        )
    by_split: dict[str, list[Path]] = {}
    for each in found:
        split = SPLIT_ALIASES.get(_stem(each).lower(), _stem(each))
        split = split.lower() if split.lower() in SPLITS else split
        by_split.setdefault(split, []).append(each)
    for split, paths in by_split.items():
        if len(paths) > 1 and len({_stem(each) + each.suffix for each in paths}) > 1:
            raise DataError(
                f"{path}: {listed(each.name for each in paths)} are all {split}; keep one"
            )
    if len(by_split) == 1 and not set(by_split) & set(SPLITS):
        return {"train": next(iter(by_split.values()))}
    return dict(
        sorted(
            by_split.items(),
            key=lambda item: SPLITS.index(item[0]) if item[0] in SPLITS else len(SPLITS),
        )
    )


def _read_all(paths: list[Path]) -> Table:
    """One split's files, one after the other."""
    _check_shards(paths)
    tables = [read_file(each) for each in paths]
    if len(tables) == 1:
        return tables[0]
    try:
        whole = pa.concat_tables([table.rows for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{paths[0].parent}: the files' columns differ: {why}") from None
    return Table(
        whole,
        {
            name: f"{each.name}: {why}"
            for each, table in zip(paths, tables, strict=True)
            for name, why in table.unusable.items()
        },
    )


def _check_shards(paths: Sequence[Path]) -> None:
    shard = _SHARD.search(paths[-1].stem)
    if shard is not None and len(paths) != int(shard["n_shards"]):
        raise DataError(
            f"{paths[0].parent}: expected {int(shard['n_shards'])} files for {_stem(paths[0])}, "
            f"found {len(paths)} ({listed(each.name for each in paths)})"
        )


def _open_saved(name: str, path: Path, streamed: str | None) -> Source:
    """What `Dataset.save_to_disk` wrote."""
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(str(path))
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{path}: a saved data set that can't be read: {why}") from None
    single_file = not isinstance(saved, DatasetDict)
    splits, notes = _rename_splits(DatasetDict(train=saved) if single_file else saved)
    stream = None
    if streamed is not None and streamed in splits:
        stream = _tables(splits[streamed].with_format("arrow").iter)
        splits[streamed] = splits[streamed].take(PREFIX_ROWS)
    return Source(name, splits, single_file=single_file, notes=notes, stream=stream)


def _tables(stream: Callable[[int], Iterable[pa.Table]]) -> Stream:
    return lambda n_rows: (Table(rows) for rows in stream(n_rows))


def _open_builtin(name: str, streamed: str | None, whole: Sequence[str]) -> Source:
    chosen = name.removeprefix("builtin/")
    if chosen not in BUILTIN:
        raise DataError(
            f"{name}: no such data{nearest(chosen, BUILTIN)}; embedded are "
            f"{listed(f'builtin/{each}' for each in BUILTIN)}"
        )
    folder = Path(str(files("tfft.builtin") / chosen))
    # Its columns and its label are CoLA's, and so is its metric.
    return replace(_open_folder(name, folder, streamed, whole), glue_task="cola")


def _glue_task(path: Path) -> str | None:
    """`cola` of a folder .../glue/cola, where a local copy of it lies."""
    inside_glue = path.parent.name == "glue" and path.name in GLUE_TASKS
    return path.name if inside_glue else None


def _is_path_like(name: str) -> bool:
    """What can't be a hub id: an absolute or dotted path, more than one slash, a file's ending."""
    looks = name.startswith(("/", "./", "../", "~")) or name.partition("@")[0].count("/") > 1
    return looks or Path(name).suffix.lower() in READERS


def nearest_path(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    names = sorted(each.name for each in parent.iterdir()) if parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f" (did you mean '{parent / close[0]}'?)" if close else ""


_HUB_ID = re.compile(
    r"(?P<repository>[\w.-]+(/[\w.-]+)?)(:(?P<config>[\w.+-]+))?(@(?P<revision>[\w./-]+))?"
)


def _open_hub(name: str, streamed: str | None, whole: Sequence[str]) -> Source:
    """`imdb`, `glue/cola`, `org/name:config@revision`."""
    match = _HUB_ID.fullmatch(name)
    if match is None:
        raise DataError(f"{name}: no such path, and not a hub id (org/name:config@revision)")
    repository, config, revision = match.group("repository", "config", "revision")
    if repository.startswith("glue/"):
        repository, config = "glue", repository.removeprefix("glue/")
    glue_task = config if repository in ("glue", GLUE) and config in GLUE_TASKS else None
    if repository == "glue":
        if config not in GLUE_TASKS:
            hint = nearest(config or "", GLUE_TASKS)
            raise DataError(f"{name}: name one of GLUE's tasks{hint}: {listed(GLUE_TASKS)}")
        repository = GLUE
    asked, hint = (name, repository, config, revision), nearest_path(Path(name))
    if streamed is None:
        splits, notes = _rename_splits(load_data(*asked, hint=hint))
        return Source(name, splits, glue_task=glue_task, notes=notes)
    streams, notes = _rename_splits(open_streams(*asked, hint=hint))
    streamed = streamed if streamed in streams else SPLIT_ALIASES.get(streamed, streamed)
    tables = {}
    for split, rows in streams.items():
        if split == streamed:
            tables[split] = _beginning(_tables(rows))
        elif split in whole:
            tables[split] = Table(pa.concat_tables(rows(PREFIX_ROWS)))
    splits, unusable = _as_splits(tables)
    return Source(
        name,
        splits,
        glue_task=glue_task,
        unusable=unusable,
        unreadable={split: _left_out(name, split) for split in streams if split not in tables},
        notes=notes,
        stream=_tables(streams[streamed]) if streamed in streams else None,
    )
