"""Where data comes from: a path, `builtin/acceptability`, or a hub id -> named splits.

    source = open_source("glue/cola")
    source.splits["train"]      # datasets.Dataset, as it came
    source.glue_task            # "cola"
    source.notes                # what was chosen on the way, for the user to read

A path that exists goes first, then what is embedded, then the hub. `datasets` is imported where it
is needed: it takes seconds, and a missing file should answer at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tfft.data.files import READERS, Table, read_file
from tfft.errors import DataError, listed

if TYPE_CHECKING:
    from datasets import DatasetDict

GLUE_TASKS = ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli")
BUILTIN = ("acceptability",)
# Other names that people give to the split.
SPLIT_ALIASES = {"dev": "validation", "valid": "validation", "val": "validation"}


@dataclass(frozen=True)
class Source:
    """Named splits as they came.

    Attributes:
        name: what the user gave, for messages.
        splits: by name; a single file is one split called `train`.
        single_file: whether it is one, so that "all of it" has a meaning.
        glue_task: GLUE's name for it (`cola`), or None; a local copy in a folder `glue/cola` too.
        unusable: columns that can't be used, and why.
    """

    name: str
    splits: DatasetDict
    single_file: bool = False
    glue_task: str | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_source(name: str) -> Source:
    """Finds and reads the data that `name` stands for.

    Raises:
        DataError: there is nothing of that name, or it can't be read; says what is nearest.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _open_folder(name, path)
    if path.exists():
        return _open_file(name, path)
    if name.startswith("builtin/"):
        return _open_builtin(name)
    if _is_path_like(name):
        raise DataError(f"{name}: no such file or folder{_nearest_path(path)}")
    return _open_hub(name)


def _open_file(name: str, path: Path) -> Source:
    table = read_file(path)
    splits = _as_splits({"train": table})
    return Source(name, splits, single_file=True, unusable=table.unusable)


def _open_folder(name: str, path: Path) -> Source:
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return _open_saved(name, path)
    by_split = _split_files(path)
    tables = {split: _read_all(paths) for split, paths in by_split.items()}
    notes = [
        f"data: {listed(each.name for each in paths)} is read as {split}"
        for split, paths in by_split.items()
        if _stem(paths[0]) != split
    ]
    unusable: dict[str, str] = {}
    for split, table in tables.items():
        unusable |= {column: f"{split}: {why}" for column, why in table.unusable.items()}
    return Source(
        name,
        _as_splits(tables),
        glue_task=_glue_task(path.resolve()),
        unusable=unusable,
        notes=tuple(notes),
    )


def _as_splits(tables: Mapping[str, Table]) -> DatasetDict:
    from datasets import Dataset, DatasetDict

    return DatasetDict({split: Dataset(table.rows) for split, table in tables.items()})


def _stem(path: Path) -> str:
    """The split a file's name stands for: `train-00000-of-00002.parquet` is one of train's."""
    return re.sub(r"-\d{5}-of-\d{5}$", "", path.name.removesuffix(path.suffix))


def _split_files(path: Path) -> dict[str, list[Path]]:
    """Split name -> its files, `train` first."""
    found = sorted(each for each in path.iterdir() if each.suffix.lower() in READERS)
    if not found:
        raise DataError(
            f"{path}: expected train|validation|test files ({listed(READERS)}), "
            f"found {listed(sorted(each.name for each in path.iterdir())) or 'nothing'}"
        )
    by_split: dict[str, list[Path]] = {}
    for each in found:
        stem = _stem(each)
        by_split.setdefault(SPLIT_ALIASES.get(stem, stem), []).append(each)
    for split, paths in by_split.items():
        if len(paths) > 1 and len({_stem(each) + each.suffix for each in paths}) > 1:
            raise DataError(
                f"{path}: {listed(each.name for each in paths)} are all {split}; keep one"
            )
    if len(by_split) == 1:
        return {"train": next(iter(by_split.values()))} if "test" not in by_split else by_split
    order = ["train", "validation", "test"]
    return dict(
        sorted(by_split.items(), key=lambda item: order.index(item[0]) if item[0] in order else 3)
    )


def _read_all(paths: list[Path]) -> Table:
    """One split's files, one after the other."""
    tables = [read_file(each) for each in paths]
    if len(tables) == 1:
        return tables[0]
    try:
        whole = pa.concat_tables([table.rows for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{paths[0].parent}: the files' columns differ: {error}") from None
    return Table(whole, {name: why for table in tables for name, why in table.unusable.items()})


def _open_saved(name: str, path: Path) -> Source:
    """What `Dataset.save_to_disk` wrote."""
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: a saved data set that can't be read: {error}") from None
    splits = saved if isinstance(saved, DatasetDict) else DatasetDict(train=saved)
    return Source(name, splits, single_file=not isinstance(saved, DatasetDict))


def _open_builtin(name: str) -> Source:
    chosen = name.removeprefix("builtin/")
    if chosen not in BUILTIN:
        raise DataError(f"{name}: embedded are {listed(f'builtin/{each}' for each in BUILTIN)}")
    folder = Path(str(files("tfft.builtin") / chosen))
    # Its columns and its label are CoLA's, and so is its metric.
    return Source(name, _open_folder(name, folder).splits, glue_task="cola")


def _glue_task(path: Path) -> str | None:
    """`cola` of a folder .../glue/cola, where a local copy of it lies."""
    inside_glue = path.parent.name == "glue" and path.name in GLUE_TASKS
    return path.name if inside_glue else None


def _is_path_like(name: str) -> bool:
    """What can't be a hub id: an absolute or dotted path, more than one slash, a file's ending."""
    looks = name.startswith(("/", "./", "../", "~")) or name.count("/") > 1
    return looks or Path(name).suffix.lower() in READERS


def _nearest_path(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    names = sorted(each.name for each in parent.iterdir()) if parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f" (did you mean '{parent / close[0]}'?)" if close else ""


_HUB_ID = re.compile(
    r"(?P<repository>[\w.-]+(/[\w.-]+)?)(:(?P<config>[\w.+-]+))?(@(?P<revision>[\w./-]+))?"
)


def _open_hub(name: str) -> Source:
    """`imdb`, `glue/cola`, `org/name:config@revision`."""
    match = _HUB_ID.fullmatch(name)
    if match is None:
        raise DataError(f"{name}: no such path, and not a hub id (org/name:config@revision)")
    repository, config, revision = match.group("repository", "config", "revision")
    glue_task = repository.removeprefix("glue/") if repository.startswith("glue/") else None
    if glue_task is not None:
        if glue_task not in GLUE_TASKS:
            raise DataError(f"{name}: GLUE's tasks are {listed(GLUE_TASKS)}")
        # The hub's bare `glue` has moved.
        repository, config = "nyu-mll/glue", glue_task
    from datasets import load_dataset

    try:
        splits = load_dataset(repository, config, revision=revision)
    except Exception as error:
        raise DataError(_hub_failure(name, repository, error)) from error
    return Source(name, splits, glue_task=glue_task)


def _hub_failure(name: str, repository: str, error: Exception) -> str:
    """One line for what `load_dataset` raises, which says it in many ways."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
    kind = type(error).__name__
    if "config" in first_line.lower() and "missing" in first_line.lower():
        return f"{name}: name a config, {repository}:NAME, one of {_configs(repository)}"
    hint = _nearest_path(Path(name))
    if kind in ("ConnectionError", "OfflineModeIsEnabled", "LocalEntryNotFoundError"):
        return f"{name}: no such path{hint}, and the hub can't be reached ({first_line})"
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError", "FileNotFoundError"):
        return f"{name}: no such path{hint}, and no such data set on the hub"
    return f"{name}: the hub's data set can't be read: {kind}: {first_line}"


def _configs(repository: str) -> str:
    from datasets import get_dataset_config_names

    names: Iterable[str] = get_dataset_config_names(repository)
    return listed(names)
