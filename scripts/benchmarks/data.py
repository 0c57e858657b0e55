"""The rows that every path is given, read once by tfft and written as two parquet files.

    rows = write_rows("glue/cola", Path("work/cola"), n_train=1000, n_validation=500, seed=42)
    rows.folder                 # train.parquet, validation.parquet: text, label (0, 1, ...)
    write_reviews(Path("long.csv"), 2000)

One text a row: pairs are refused.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

GENERATED = "generated/long"


@dataclass(frozen=True)
class Rows:
    """A data set as the children get it."""

    name: str
    folder: str
    n_train: int
    n_validation: int
    n_labels: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write_rows(
    source: str, folder: Path, *, n_train: int | None, n_validation: int | None, seed: int
) -> Rows:
    """The data set's train and validation rows.

    Raises:
        TfftError: what `tfft fit --data` would say.
    """
    from datasets import disable_progress_bars

    from tfft.config import DataConfig
    from tfft.data.examples import load_training
    from tfft.errors import DataError

    folder.mkdir(parents=True)
    found = source
    if source == GENERATED:
        n_train, n_validation = n_train or 2000, n_validation or 500
        # A tenth is left for validation where a file has no split of its own.
        found = str(write_reviews(folder.parent / "long.csv", max(2 * n_train, 10 * n_validation)))
    config = DataConfig(source=found, limit_train=n_train, limit_validation=n_validation)
    examples = load_training(config, seed=seed)
    if examples.task != "single_label" or "text_pair" in examples.train.column_names:
        raise DataError(f"{source}: the benchmark takes classes of single texts")
    disable_progress_bars()
    for name, rows in (("train", examples.train), ("validation", examples.validation)):
        rows.select_columns(["text", "label"]).to_parquet(str(folder / f"{name}.parquet"))
    return Rows(
        name=source if source == GENERATED else Path(source).name or source,
        folder=str(folder),
        n_train=len(examples.train),
        n_validation=len(examples.validation),
        n_labels=len(examples.label_names),
    )


def write_reviews(path: Path, n_rows: int, *, longest: int = 400) -> Path:
    """Made-up texts in two classes, lengths spread as reviews' are: most short, some very long.

    A tenth of a text's words are of its class, so that there is something to learn.
    """
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(random.choice(letters, n)) for n in random.integers(2, 5, 3000)])
    opinions = (np.array(["good", "great", "kind", "warm"]), np.array(["bad", "poor", "rude"]))
    # The median is e^3.9, about 50 words or 100 tokens.
    lengths = np.clip(random.lognormal(3.9, 0.8, n_rows), 3, longest).astype(int)
    with path.open("w") as file:
        file.write("text,label\n")
        for number, length in enumerate(lengths):
            label = number % 2
            chosen = words[random.integers(0, len(words), length)].astype("U12")
            told = random.random(length) < 0.1
            chosen[told] = random.choice(opinions[label], int(told.sum()))
            file.write(f"{' '.join(chosen)},{label}\n")
    return path
