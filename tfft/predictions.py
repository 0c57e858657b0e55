"""Predictions as a table in a file, one row an example.

check_output(Path("predictions.csv"), overwrite=False)      # before the model is loaded
write(predictions(ids, logits, label_names), Path("predictions.csv"))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfft.errors import DataError
from tfft.folders import check_file
from tfft.metrics import THRESHOLD, above, sigmoid, softmax

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuses a file that can't be written, or that would be lost.

    Raises:
        ConfigError: an ending that isn't known; the file exists; its folder doesn't.
    """
    check_file(output, endings=ENDINGS, overwrite=overwrite)


def predictions(
    ids: Sequence[Any],
    logits: np.ndarray,
    label_names: Sequence[str],
    *,
    task: str = "single_label",
    threshold: float | None = None,
) -> dict[str, Any]:
    """The columns: `id`, `prediction`, `score` and, but for regression, `probability_<label>`.

    | task | prediction | score |
    | --- | --- | --- |
    | single_label | the label's name | its probability |
    | multi_label | the list of the labels from `threshold` on | the likeliest label's probability |
    | regression | the number | the number |

    Args:
        logits: float [n_rows, n_labels].
    """
    if task == "regression":
        numbers = logits.reshape(-1).astype(np.float64)
        return {"id": ids, "prediction": numbers, "score": numbers}
    if task == "multi_label":
        probabilities = sigmoid(logits)
        given = above(logits, THRESHOLD if threshold is None else threshold)
        chosen: list[Any] = [
            [name for name, is_given in zip(label_names, row, strict=True) if is_given]
            for row in given
        ]
    else:
        probabilities = softmax(logits)
        chosen = [label_names[number] for number in probabilities.argmax(axis=-1)]
    return {
        "id": ids,
        "prediction": chosen,
        "score": probabilities.max(axis=-1),
        **{f"probability_{name}": probabilities[:, i] for i, name in enumerate(label_names)},
    }


def counts(predicted: Sequence[Any], label_names: Sequence[str]) -> dict[str, int]:
    """Rows by predicted label; a row of several labels counts for each."""
    flat = [name for each in predicted for name in (each if isinstance(each, list) else [each])]
    counted = Counter(flat)
    return {name: counted[name] for name in label_names}


def as_cell(prediction: Any) -> Any:
    """A prediction where there is no place for a list but as JSON."""
    if isinstance(prediction, list):
        return json.dumps(prediction, ensure_ascii=False)
    return prediction


def write(columns: Mapping[str, Sequence[Any]], output: Path) -> None:
    """Writes beside `output` first, so that a full disk leaves no half of it."""
    import pandas as pd

    frame = pd.DataFrame(columns)
    if output.suffix.lower() in (".csv", ".tsv"):
        frame["prediction"] = [as_cell(each) for each in columns["prediction"]]
    unfinished = output.with_name(f".{output.name}.partial")
    ending = output.suffix.lower()
    try:
        if ending in (".csv", ".tsv"):
            frame.to_csv(unfinished, index=False, sep="\t" if ending == ".tsv" else ",")
        elif ending == ".parquet":
            frame.to_parquet(unfinished, index=False)
        else:
            frame.to_json(
                unfinished,
                orient="records",
                lines=ending == ".jsonl",
                force_ascii=False,
                double_precision=15,
            )
        unfinished.replace(output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"{output}: can't be written: {error.strerror or error}") from error
