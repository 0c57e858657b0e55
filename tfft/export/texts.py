"""The texts that a bundle is proved with: those that the run learned from and was validated on.

    texts = read_texts(saved, config, asked, progress)
    texts.train["text"], texts.validation["text"]

Where the run's data can't be read any more, that is said, and made-up texts stand in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tfft.config import DataConfig, ExportConfig, RunConfig, TrainConfig
from tfft.data.cells import column_of
from tfft.data.examples import TEXT_FIELDS, load_training
from tfft.data.targets import from_arrow
from tfft.errors import TfftError
from tfft.export.fuzz import corpus
from tfft.progress import Progress
from tfft.served import Saved

if TYPE_CHECKING:
    from datasets import Dataset

Columns = Mapping[str, Sequence[str]]
# Of the made-up texts, those that the scores too are compared on.
N_HARD = 200


@dataclass(frozen=True)
class Texts:
    """Columns `text` and, of pairs, `text_pair`.

    Attributes:
        train, validation: the data's; empty where there is none.
        fuzz: made up, to be hard on a tokenizer.
        hard: some of them.
        n_texts: 1, or 2 of pairs.
        data: what the first two come from; None where they are empty.
        labels: of the validation texts, as the model learned them; None where it learned others.
    """

    train: Columns
    validation: Columns
    fuzz: Mapping[str, Sequence[str | bytes]]
    n_texts: int
    data: str | None
    labels: np.ndarray | None = None

    @property
    def compared(self) -> dict[str, list[str]]:
        """The texts whose scores are compared: the validation texts and some made-up ones."""
        hard = {name: list(filter(_is_unicode, each)) for name, each in self.fuzz.items()}
        n_hard = min(N_HARD, *map(len, hard.values()))
        return {
            name: [*self.validation.get(name, ()), *map(str, each[:n_hard])]
            for name, each in hard.items()
        }


def read_texts(saved: Saved, config: RunConfig, asked: ExportConfig, progress: Progress) -> Texts:
    """Reads them as the run did.

    Args:
        config: its data, where the user names some.

    Raises:
        TfftError: the data that the user names can't be read.
    """
    data, seed = _data_of(saved, config)
    names = tuple(saved.learned.label_names)
    train: Columns = {}
    validation: Columns = {}
    n_texts = max(1, len(data.text_column))
    source: str | None = data.source
    labels = None
    if source:
        progress.stage("reading the data")
        try:
            examples = load_training(data, seed=seed)
        except TfftError as error:
            if config.data.source:
                raise
            progress.waiting(
                f"data: the run's can't be read any more ({error}); made-up texts alone prove the "
                "bundle, or name some with --data"
            )
            source = None
        else:
            train = _columns(examples.train, asked.limit_train)
            validation = _columns(examples.validation, asked.limit_validation)
            n_texts = len(validation)
            if (examples.targets.task, tuple(examples.targets.names)) == (saved.task.name, names):
                rows = _some(examples.validation, asked.limit_validation)
                labels = from_arrow(column_of(rows, "label"))
    else:
        progress.waiting("data: no run.toml names any: made-up texts alone prove the bundle")
    fuzz = {
        name: corpus(asked.fuzz_texts, seed=asked.seed + place)
        for place, name in enumerate(TEXT_FIELDS[:n_texts])
    }
    return Texts(train, validation, fuzz, n_texts, source or None, labels)


def _data_of(saved: Saved, config: RunConfig) -> tuple[DataConfig, int]:
    """The run's data and its seed, with what the user names in its place."""
    if saved.run is None:
        return config.data, TrainConfig.seed
    data = saved.run.data
    if config.data.source:
        data = replace(data, source=config.data.source)
    if config.data.text_column:
        data = replace(data, text_column=config.data.text_column)
    return data, saved.run.train.seed


def _columns(rows: Dataset, most: int) -> dict[str, list[str]]:
    """The columns of texts; of more than `most` rows some, evenly over all."""
    names = [name for name in TEXT_FIELDS if name in rows.column_names]
    rows = _some(rows, most)
    return {name: column_of(rows, name).to_pylist() for name in names}


def _some(rows: Dataset, most: int) -> Dataset:
    if len(rows) <= most:
        return rows
    return rows.select(np.linspace(0, len(rows) - 1, most).astype(int))


def _is_unicode(text: str | bytes) -> bool:
    """Whether JSON and UTF-8 both have it."""
    if isinstance(text, bytes):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
