"""Predictions as a table in a file, one row an example.

check_output(Path("predictions.csv"), overwrite=False)      # before the model is loaded
write(predictions(ids, logits, label_names), Path("predictions.csv"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfft.errors import ConfigError, DataError, listed
from tfft.metrics import softmax

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuses a file that can't be written, or that would be lost.

    Raises:
        ConfigError: an ending that isn't known; the file exists; its folder doesn't.
    """
    if output.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{output}: expected an ending of {listed(ENDINGS)}", options=["output"])
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists; choose another --output, or --overwrite it")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"{output}: no folder {output.absolute().parent}; make it first")


def predictions(
    ids: Sequence[Any], logits: np.ndarray, label_names: Sequence[str]
) -> dict[str, Any]:
    """The columns: `id`, `prediction` (the name), `score` (its probability), `probability_<label>`.

    Args:
        logits: float [n_rows, n_labels].
    """
    probabilities = softmax(logits)
    return {
        "id": ids,
        "prediction": [label_names[number] for number in probabilities.argmax(axis=-1)],
        "score": probabilities.max(axis=-1),
        **{f"probability_{name}": probabilities[:, i] for i, name in enumerate(label_names)},
    }


def write(columns: Mapping[str, Sequence[Any]], output: Path) -> None:
    """Writes beside `output` first, so that a full disk leaves no half of it."""
    import pandas as pd

    frame = pd.DataFrame(columns)
    unfinished = output.with_name(f".{output.name}.partial")
    ending = output.suffix.lower()
    try:
        if ending in (".csv", ".tsv"):
            frame.to_csv(unfinished, index=False, sep="\t" if ending == ".tsv" else ",")
        elif ending == ".parquet":
            frame.to_parquet(unfinished, index=False)
        else:
            frame.to_json(unfinished, orient="records", lines=ending == ".jsonl", force_ascii=False)
        unfinished.replace(output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"{output}: can't be written: {error.strerror or error}") from error
