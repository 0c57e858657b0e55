"""The table of predictions: a row an example, and what its file holds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfft.errors import ConfigError
from tfft.metrics import sigmoid, softmax
from tfft.predictions import check_output, counts, predictions, write

NAMES = ("a", "b")
LOGITS = np.array([[2.0, -1.0], [-3.0, -2.0], [0.5, 0.5]], np.float32)
IDS = ["x", "y", "z"]


def test_a_class_comes_with_its_probability() -> None:
    table = predictions(IDS, LOGITS, NAMES)
    assert list(table) == ["id", "prediction", "score", "probability_a", "probability_b"]
    assert table["prediction"] == ["a", "b", "a"]
    np.testing.assert_array_equal(table["score"], softmax(LOGITS).max(axis=1))


@pytest.mark.parametrize(
    ("threshold", "given"),
    [
        (None, [["a"], [], ["a", "b"]]),
        (0.7, [["a"], [], []]),
        (0.1, [["a", "b"], ["b"], ["a", "b"]]),
    ],
)
def test_the_labels_from_the_threshold_on_are_given(
    threshold: float | None, given: list[list[str]]
) -> None:
    table = predictions(IDS, LOGITS, NAMES, task="multi_label", threshold=threshold)
    assert table["prediction"] == given
    np.testing.assert_array_equal(table["probability_b"], sigmoid(LOGITS)[:, 1])
    np.testing.assert_array_equal(table["score"], sigmoid(LOGITS).max(axis=1))


def test_a_number_is_its_own_score_and_has_no_probability() -> None:
    table = predictions(IDS, LOGITS[:, :1], ("stars",), task="regression")
    assert list(table) == ["id", "prediction", "score"]
    assert table["prediction"].tolist() == [2.0, -3.0, 0.5]


def test_a_row_of_several_labels_counts_for_each() -> None:
    assert counts([["a", "b"], [], ["a"]], ("a", "b", "c")) == {"a": 2, "b": 1, "c": 0}
    assert counts(["a", "a"], NAMES) == {"a": 2, "b": 0}


def read_back(path: Path) -> list[Any]:
    if path.suffix in (".csv", ".tsv"):
        with path.open(newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            return [json.loads(row["prediction"]) for row in rows]
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(path)["prediction"].to_pylist())
    text = path.read_text()
    lines = map(json.loads, text.splitlines()) if path.suffix == ".jsonl" else json.loads(text)
    return [row["prediction"] for row in lines]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_lists_of_labels_come_back_from_every_file(ending: str, tmp_path: Path) -> None:
    names = ('quo"te, comma', "Ärger\ttab")
    table = predictions(IDS, LOGITS, names, task="multi_label")
    write(table, tmp_path / f"predictions.{ending}")
    assert read_back(tmp_path / f"predictions.{ending}") == [[names[0]], [], [*names]]
    assert [path.name for path in tmp_path.iterdir()] == [f"predictions.{ending}"]


def test_numbers_come_back_from_a_csv_as_they_were(tmp_path: Path) -> None:
    logits = np.array([[1 / 3], [1e-8], [-2e5]], np.float32)
    write(predictions(IDS, logits, ("s",), task="regression"), tmp_path / "predictions.csv")
    assert read_back(tmp_path / "predictions.csv") == logits[:, 0].astype(np.float64).tolist()


@pytest.mark.parametrize("name", ["predictions", "predictions.xlsx", "nowhere/predictions.csv"])
def test_an_output_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        check_output(tmp_path / name, overwrite=False)


def test_a_folder_that_takes_no_files_is_refused_before_the_work() -> None:
    with pytest.raises(ConfigError, match=r"/proc/p\.csv: can't be written: .*another --output"):
        check_output(Path("/proc/p.csv"), overwrite=False)
