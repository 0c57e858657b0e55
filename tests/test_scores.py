"""Numbers to predict: what reads as one, what is missing, what is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from helpers import load, one_line, write_csv

from tfft.data.scores import are_scores, to_numbers
from tfft.errors import DataError


def column(values: Any, kind: pa.DataType | None = None, *, name: str = "value") -> Dataset:
    return Dataset(pa.table({name: pa.array(values, kind)}))


def refusal(rows: Dataset) -> str:
    with pytest.raises(DataError) as caught:
        to_numbers(rows, "value", where="data, train")
    assert "data, train: column 'value'" in one_line(caught)
    return one_line(caught)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0.5, 2.0]),
        pa.array(np.array([0.5, 2.0], np.float16)),
        pa.array([Decimal("0.5"), Decimal("2.0")]),
        pa.array(["0.5", "2"]),
        pa.array([" 5e-1", "2.0 "], pa.large_string()),
        pa.array(["0.5", "2"]).dictionary_encode(),
        pa.chunked_array([pa.array([9.0, 0.5]).slice(1), pa.array([2.0])]),
    ],
    ids=str,
)
def test_every_way_to_write_a_number_gives_the_same(values: Any) -> None:
    rows = Dataset(pa.table({"value": values}))
    assert are_scores(rows, "value")
    numbers, is_known = to_numbers(rows, "value", where="data")
    assert numbers.dtype == np.float32
    assert numbers.tolist() == [0.5, 2.0]
    assert is_known.all()


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_number_is_not_known(missing: float | None) -> None:
    assert to_numbers(column([0.5, missing]), "value", where="data")[1].tolist() == [True, False]


@pytest.mark.parametrize("missing", [None, "", " ", "nan", "NaN"])
def test_an_empty_cell_is_not_known(missing: str | None) -> None:
    rows = column(["0.5", missing])
    assert are_scores(rows, "value")
    assert to_numbers(rows, "value", where="data")[1].tolist() == [True, False]


def test_numbers_that_are_all_minus_one_are_kept_back_and_a_single_one_is_a_number() -> None:
    assert not to_numbers(column([-1.0, -1.0]), "value", where="data")[1].any()
    assert to_numbers(column([-1.0, 0.5]), "value", where="data")[1].all()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.5, float("inf")], "holds inf in row 1"),
        ([-float("inf"), 0.5], "holds -inf in row 0"),
        ([0.5, 1e39], "holds 1e+39 in row 1"),
        (["0.5", "inf"], "'inf' in row 1"),
        (["0.5", "high"], "'high' in row 1, where a number is needed"),
        ([[0.5], [1.0]], "holds list<item: double>, not numbers"),
        ([date(2020, 1, 1)] * 2, "holds date32[day], not numbers"),
        ([b"0.5", b"x"], "holds binary, not numbers"),
        ([{"a": 0.5}] * 2, "holds struct<a: double>, not numbers"),
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_with_its_row(values: list[Any], told: str) -> None:
    assert told in refusal(column(values))


def test_an_infinite_score_of_a_csv_is_no_class(tmp_path: Path) -> None:
    table = [{"text": f"text {n}", "label": 0.5 + n if n else "inf"} for n in range(20)]
    with pytest.raises(DataError, match="'inf' in row 0"):
        load(write_csv(tmp_path / "train.csv", table))


def test_a_text_in_the_numbers_of_a_csv_is_refused_where_regression_is_asked(
    tmp_path: Path,
) -> None:
    table = [{"text": f"text {n}", "label": 0.5 + n if n != 7 else "n/a"} for n in range(20)]
    with pytest.raises(DataError, match="'n/a' in row 7"):
        load(write_csv(tmp_path / "train.csv", table), task="regression")


def test_all_numbers_alike_teach_nothing(tmp_path: Path) -> None:
    table = [{"text": f"text {n}", "label": 0.5} for n in range(20)]
    with pytest.raises(DataError, match="all rows have one number"):
        load(write_csv(tmp_path / "train.csv", table))
