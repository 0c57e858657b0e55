"""Labels: which values are one class, what the classes are called, and what is no class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features
from helpers import load, one_line, rows, write_csv

from tfft.data.labels import UNLABELLED, find_label_names, to_ids
from tfft.errors import DataError


def column(values: Sequence[Any], kind: pa.DataType | None = None) -> Dataset:
    return Dataset(pa.table({"label": pa.array(values, kind)}))


def names_of(data: Dataset) -> tuple[str, ...]:
    return find_label_names(data, "label", where="data, train")


def ids_of(data: Dataset, names: Sequence[str]) -> list[int]:
    ids = to_ids(data, "label", names, where="data, validation")
    assert ids.dtype == np.int64
    return ids.tolist()


def refusal(data: Dataset) -> str:
    with pytest.raises(DataError) as caught:
        names_of(data)
    return one_line(caught)


@pytest.mark.parametrize(
    ("values", "names", "ids"),
    [
        ([1, 0, 1], ("0", "1"), [1, 0, 1]),
        ([1.0, 0.0], ("0", "1"), [1, 0]),
        ([True, False], ("false", "true"), [1, 0]),
        (["10", "9", "-1"], ("-1", "9", "10"), [2, 1, 0]),
        (["1.0", "1", "0", "0.0"], ("0", "1"), [1, 1, 0, 0]),
        (["+1.0", "-1"], ("-1", "1"), [1, 0]),
        (["007", "07", "8"], ("007", "07", "8"), [0, 1, 2]),
        (["07", "007", "8"], ("007", "07", "8"), [1, 0, 2]),
        (["yes ", " yes", "no"], ("no", "yes"), [1, 1, 0]),
        ([" 1", "1 ", "0"], ("0", "1"), [1, 1, 0]),
        (["日本", "plutôt", "Ärger"], ("plutôt", "Ärger", "日本"), [2, 0, 1]),
        (["inf", "nan", "part"], ("inf", "nan", "part"), [0, 1, 2]),
        (["1_000", "1"], ("1", "1_000"), [1, 0]),
    ],
)
def test_classes_are_the_values_and_those_that_are_numbers_sort_as_such(
    values: list[Any], names: tuple[str, ...], ids: list[int]
) -> None:
    assert names_of(column(values)) == names
    assert ids_of(column(values), names) == ids


@pytest.mark.parametrize(
    "kind", [pa.float16(), pa.float32(), pa.int8(), pa.uint64(), pa.decimal128(4, 1)], ids=str
)
def test_every_type_of_whole_numbers_gives_the_same_classes(kind: pa.DataType) -> None:
    values = np.array([1, 0], np.float16) if kind == pa.float16() else [1, 0]
    assert names_of(column(values, kind)) == ("0", "1")


def test_a_category_gives_its_values() -> None:
    data = Dataset(pa.table({"label": pa.array(["b", "a", "b"]).dictionary_encode()}))
    assert names_of(data) == ("a", "b")


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_blank_is_no_label(blank: str | None) -> None:
    data = column(["yes", blank, "no"])
    assert names_of(data) == ("no", "yes")
    assert ids_of(data, ("no", "yes")) == [1, UNLABELLED, 0]


@pytest.mark.parametrize("values", [[1.0, float("nan"), 0.0], ["1", "nan", "0"], [1, None, 0]])
def test_nan_among_numbers_is_no_label(values: list[Any]) -> None:
    assert names_of(column(values)) == ("0", "1")
    assert ids_of(column(values), ("0", "1")) == [1, UNLABELLED, 0]


def test_the_features_names_are_kept_in_their_order() -> None:
    features = Features({"label": ClassLabel(names=["unacceptable", "acceptable", "unused"])})
    data = Dataset.from_dict({"label": [1, 0, -1]}, features=features)
    assert names_of(data) == ("unacceptable", "acceptable", "unused")
    assert ids_of(data, names_of(data)) == [1, 0, UNLABELLED]


def test_labels_go_by_name_where_two_splits_number_them_differently() -> None:
    data = Dataset.from_dict(
        {"label": [0, 1]}, features=Features({"label": ClassLabel(names=["b", "a"])})
    )
    assert ids_of(data, ("a", "b")) == [1, 0]


def test_minus_one_is_no_label_unless_it_is_a_class() -> None:
    assert ids_of(column([-1, 1]), ("0", "1")) == [UNLABELLED, 1]
    assert ids_of(column(["-1", "1"]), ("-1", "1")) == [0, 1]


def test_a_label_that_was_not_learned_is_refused_with_its_row_and_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        ids_of(column(["yes", "no", "noo", "noo"]), ("no", "yes"))
    message = one_line(caught)
    assert "label 'noo' (first in row 2) isn't one that was learned" in message
    assert "did you mean 'no'?" in message
    assert "expected no, yes" in message


@pytest.mark.parametrize("values", [["a", "a"], [1, 1, None], ["a ", "a"]])
def test_one_class_is_refused(values: list[Any]) -> None:
    assert "one class only" in refusal(column(values))


def test_no_label_at_all_is_refused() -> None:
    assert "holds no label" in refusal(column([None, None]))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.0, 0.5], "aren't whole, or too large (row 1: 0.5)"),
        (["0", "0.5"], "aren't whole, or too large (row 1: 0.5)"),
        ([0.0, float("inf")], "(row 1: inf)"),
        (["0.0", "1e30"], "(row 1: 1e+30)"),
        (["1.0", "9007199254740993"], "too large (row 1"),
        ([[0], [1]], "holds lists"),
        ([{"a": 0}, {"a": 1}], "holds objects"),
    ],
)
def test_values_that_are_no_classes_are_refused(values: list[Any], told: str) -> None:
    message = refusal(column(values))
    assert told in message
    assert "--label-column" in message


def test_a_label_of_nearly_as_many_values_as_rows_is_refused() -> None:
    message = refusal(column([f"value {row}" for row in range(200)]))
    assert "200 different values in 200 rows" in message


def test_a_label_in_validation_that_train_lacks_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "validation.csv", rows(labels=(0, 2)))
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "validation: label '2' (first in row 1) isn't one" in one_line(caught)


def test_train_and_validation_may_write_their_numbers_differently(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows(labels=("0", "1")))
    write_csv(tmp_path / "validation.csv", rows(labels=("0.0", "1.0")))
    examples = load(tmp_path)
    assert examples.label_names == ("0", "1")
    assert list(examples.validation["label"]) == list(examples.train["label"])


def test_many_numbers_are_classes_only_where_the_user_says_so() -> None:
    from datasets import Dataset

    rows = Dataset.from_dict({"label": [n % 60 for n in range(600)]})
    with pytest.raises(DataError, match=r"60 different numbers.*--task single_label"):
        find_label_names(rows, "label", where="d")
    assert len(find_label_names(rows, "label", where="d", are_classes=True)) == 60
