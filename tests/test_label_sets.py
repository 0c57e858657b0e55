"""Several labels a row: lists, vectors, texts, JSON and 0/1 columns all give the same 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, List
from helpers import load, one_line, write_csv, write_jsonl

from tfft.data.label_sets import find_form
from tfft.data.targets import Targets, find_targets
from tfft.errors import DataError

NAMES = ("a", "b", "c")
FLAGS = [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def column(values: Any, kind: pa.DataType | None = None) -> Dataset:
    return Dataset(
        pa.table({"tags": pa.array(values, kind) if isinstance(values, list) else values})
    )


def learn(rows: Dataset, *columns: str, delimiter: str | None = None) -> Targets:
    return find_targets(
        rows,
        columns or ("tags",),
        task="multi_label",
        where="data, train",
        delimiter=delimiter,
    )


def read(targets: Targets, rows: Dataset) -> tuple[list[Any], list[bool]]:
    values, is_known = targets.read(rows, where="data, validation")
    assert values.dtype == np.float32
    assert values.shape == (len(rows), len(targets.names))
    return values.tolist(), is_known.tolist()


def refusal(rows: Dataset, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        learn(rows, **options)
    assert "data, train" in one_line(caught)
    return one_line(caught)


def refusal_of_reading(targets: Targets, rows: Dataset) -> str:
    with pytest.raises(DataError) as caught:
        read(targets, rows)
    assert "data, validation" in one_line(caught)
    return one_line(caught)


CHUNKED = pa.chunked_array([pa.array([["z"], ["a", "b"], ["c"]]).slice(1), pa.array([[], ["z"]])])
FORMS = {
    "lists": column([["a", "b"], ["c"], []]),
    "large lists": column([["a", "b"], ["c"], []], pa.large_list(pa.large_string())),
    "lists of categories": column(
        [["a", "b"], ["c"], []], pa.list_(pa.dictionary(pa.int32(), pa.string()))
    ),
    "sliced chunks": Dataset(pa.table({"tags": CHUNKED})).select([0, 1, 2]),
    "chosen rows": Dataset(pa.table({"tags": [["c"], [], ["a", "b"]]})).select([2, 0, 1]),
    "labels of names": Dataset.from_dict(
        {"tags": [[0, 1], [2], []]}, features=Features({"tags": List(ClassLabel(names=NAMES))})
    ),
    "json": column(['["a", "b"]', '["c"]', "[]"]),
    "python's lists": column(["['a', 'b']", "['c']", "[]"]),
    "json and empty cells": column(['["a", "b"]', '["c"]', ""]),
    "texts": column(["a|b", "c", ""]),
    "texts and missing cells": column(["a|b", "c", None]),
    "texts with blanks": column(["a | b |", " c", " "]),
    "texts of categories": column(pa.array(["a;b", "c", ""]).dictionary_encode()),
    "large texts": column(["a,b", "c", ""], pa.large_string()),
    "blanks and nulls in lists": column([["a ", None, "b"], ["c", ""], []]),
    "a label twice": column([["b", "a", "b"], ["c"], []]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_flags(form: str) -> None:
    targets = learn(FORMS[form])
    assert targets.names == NAMES
    assert read(targets, FORMS[form]) == (FLAGS, [True] * 3)


VECTORS = {
    "whole numbers": column([[1, 1, 0], [0, 0, 1], [0, 0, 0]]),
    "of a fixed length": column([[1, 1, 0], [0, 0, 1], [0, 0, 0]], pa.list_(pa.int8(), 3)),
    "fractions": column([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
    "booleans": column([[True, True, False], [False, False, True], [False] * 3]),
    "json": column(["[1, 1, 0]", "[0, 0, 1]", "[0, 0, 0]"]),
}


@pytest.mark.parametrize("kind", VECTORS)
def test_lists_of_0_and_1_for_every_label_are_vectors(kind: str) -> None:
    targets = learn(VECTORS[kind])
    assert targets.form is not None
    assert targets.form.kind == "vector"
    assert targets.names == ("0", "1", "2")
    assert read(targets, VECTORS[kind]) == (FLAGS, [True] * 3)


def test_lists_of_ids_that_are_0_and_1_are_no_vectors() -> None:
    form = find_form(column([[0, 1], [1, 0]]), ("tags",), delimiter=None, where="data, train")
    assert form.kind == "list"


COLUMNS = {
    "whole numbers": ([1, 0, 0], [1, 0, 0], [0, 1, 0]),
    "fractions": ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    "booleans": ([True, False, False], [True, False, False], [False, True, False]),
    "cells of a csv": (["1", "0", "0"], ["1.0", "0.0", "0"], [" 0", "1 ", "0"]),
    "booleans in a csv": (["True", "False", "False"], ["true", "false", "false"], [0, 1, 0]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_0_and_1_are_a_label_each(kind: str) -> None:
    rows = Dataset.from_dict(dict(zip(NAMES, COLUMNS[kind], strict=True)))
    assert read(learn(rows, *NAMES), rows) == (FLAGS, [True] * 3)


@pytest.mark.parametrize("unknown", [-1, "-1", -1.0, None, float("nan"), "", "nan"], ids=repr)
def test_a_column_whose_label_is_kept_back_makes_the_row_unknown(unknown: Any) -> None:
    known = type(unknown)(1) if isinstance(unknown, int | float) else "1"
    rows = Dataset(pa.table({"a": [known, unknown], "b": [1, 0]}))
    assert read(learn(rows, "a", "b"), rows)[1] == [True, False]


@pytest.mark.parametrize("strange", [2, "yes", 0.5])
def test_a_column_that_holds_something_else_is_refused_with_its_row(strange: Any) -> None:
    rows = Dataset(pa.table({"a": [1, 0], "b": [strange] * 2}))
    message = refusal_of_reading(learn(rows, "a", "b"), rows)
    assert f"column 'b' holds '{strange}' in row 0" in message


def test_columns_of_lists_are_refused() -> None:
    rows = Dataset(pa.table({"a": [[1], [0]], "b": [1, 0]}))
    assert "column 'a' holds" in refusal_of_reading(learn(rows, "a", "b"), rows)


def test_other_columns_than_those_learned_are_refused() -> None:
    rows = Dataset(pa.table({"a": [1, 0], "b": [1, 0], "c": [0, 0]}))
    targets = learn(rows, "a", "b")
    other = Targets("multi_label", ("a", "c"), targets.names, targets.form)
    assert "expected a, b" in refusal_of_reading(other, rows)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([None, ["a"], ["b"]]),
        pa.array([None, [0, 1, 1], [0, 0, 1]]),
        pa.array([None, [0, 1, 1], [0, 0, 1]], pa.list_(pa.int64(), 3)),
        pa.array([None, "[0, 1, 1]", "[0, 0, 1]"]),
    ],
    ids=["lists", "vectors", "vectors of a fixed length", "vectors in texts"],
)
def test_a_missing_list_is_unknown_and_shifts_no_other_row(values: pa.Array) -> None:
    rows = column(pa.chunked_array([values]))
    whole = column(pa.chunked_array([values.slice(1)]))
    targets = learn(rows)
    assert targets == learn(whole)
    flags, is_known = read(targets, rows)
    assert is_known == [False, True, True]
    assert flags == [[0.0] * len(targets.names), *read(targets, whole)[0]]


@pytest.mark.parametrize("nothing", [[None, None], ["", " "]])
def test_where_all_cells_are_empty_nobody_knows(nothing: list[Any]) -> None:
    for learned in ("texts", "lists", "json"):
        targets = learn(FORMS[learned])
        assert read(targets, column(nothing, pa.string()))[1] == [False, False]


@pytest.mark.parametrize(
    ("train", "validation"),
    [("lists", "json"), ("json", "lists"), ("texts", "lists"), ("json", "sliced chunks")],
)
def test_splits_may_write_their_labels_as_lists_or_as_json(train: str, validation: str) -> None:
    assert read(learn(FORMS[train]), FORMS[validation])[0] == FLAGS


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (column([["a"], ["a"]]), "one label only (a)"),
        (column(["a", "a"]), "one label only (a)"),
        (column([[], []]), "holds no label"),
        (
            Dataset.from_dict(
                {"tags": [[0], []]}, features=Features({"tags": List(ClassLabel(names=["a"]))})
            ),
            "one label only (a)",
        ),
        (column([[f"label {n}"] for n in range(120)]), "120 different labels in 120 rows"),
        (column([[0.5, 1.0], [0.25]]), "lists of fractions"),
        (column([[{"name": "a"}], [{"name": "b"}]]), "lists of struct<name: string>"),
        (column([[["a"]], [["b"]]]), "lists of list<"),
        (column([{"a": 1}, {"a": 0}]), "holds struct<a: int64>, not labels"),
        (column(['[["a"]]', '["b"]']), "row 0: '[[\"a\"]]' is no list of labels"),
        (column(['["a"]', '["b"']), "row 1: '[\"b\"' is no list of labels"),
        (column(['["a"]', "[b]"]), "row 1: '[b]' is no list of labels"),
    ],
    ids=str,
)
def test_what_holds_no_sets_of_labels_is_refused(rows: Dataset, told: str) -> None:
    assert told in refusal(rows)


@pytest.mark.parametrize(
    ("learned", "rows", "told"),
    [
        ("lists", column([["a"], [], ["d", "bb"]]), "label 'd', 'bb' (first in row 2) isn't one"),
        ("texts", column(["a", "a|d"]), "label 'd' (first in row 1) isn't one"),
        ("lists", column(["a|b"]), "tags, row 0: 'a|b' is no list of labels"),
        ("lists", column([3]), "row 0: '3' is no list of labels"),
        ("labels of names", column([[7]]), "label '7'"),
    ],
)
def test_a_label_that_was_not_learned_is_refused_with_its_row(
    learned: str, rows: Dataset, told: str
) -> None:
    assert told in refusal_of_reading(learn(FORMS[learned]), rows)


def test_a_label_id_beyond_the_names_is_refused_with_its_row() -> None:
    features = Features({"tags": List(ClassLabel(names=NAMES))})
    table = pa.table({"tags": pa.array([[0], None, [1, 3]], pa.list_(pa.int64()))})
    rows = Dataset(table).cast(features)
    assert "isn't below 3 (row 2)" in refusal_of_reading(learn(FORMS["labels of names"]), rows)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ([[0, 1]], "row 0 has 2 numbers, expected 3"),
        ([[0, 1, 1], []], "row 1 has 0 numbers, expected 3"),
        ([[0, 1, 1], [0, 2, 0]], "row 1 holds [0.0, 2.0, 0.0]"),
        ([["a", "b", "c"]], "lists of string; expected 3 numbers"),
        (["[0, 1]"], "row 0 has 2 numbers"),
    ],
)
def test_a_vector_of_another_kind_is_refused_with_its_row(bad: list[Any], told: str) -> None:
    assert told in refusal_of_reading(learn(VECTORS["whole numbers"]), column(bad))


def test_the_delimiter_that_is_named_is_the_one() -> None:
    rows = column(["a,b/c", "c"])
    assert learn(rows, delimiter="/").names == ("a,b", "c")
    assert learn(rows).names == ("a", "b/c", "c")


def texts(labels: Sequence[Any], name: str = "tags") -> list[dict[str, Any]]:
    return [{"text": f"text {n}", name: label} for n, label in enumerate(labels)]


def test_a_csv_s_empty_cell_is_an_empty_set(tmp_path: Path) -> None:
    table = texts(["a|b", "", "b"] * 10)
    examples = load(
        write_csv(tmp_path / "train.csv", table), label_delimiter="|", label_column=("tags",)
    )
    labels = [*examples.train["label"], *examples.validation["label"]]
    assert len(labels) == 30
    assert sum(map(sum, labels)) == 30


def test_a_csv_s_lists_are_found_to_be_lists(tmp_path: Path) -> None:
    cells = ['"[""a"", ""b""]"', """ "['c']" """.strip(), "[]"]
    examples = load(write_csv(tmp_path / "train.csv", texts(cells * 10)))
    assert examples.task == "multi_label"
    assert examples.label_names == NAMES


@pytest.mark.parametrize("form", ["lists", "json"])
def test_rows_without_any_label_are_known(form: str) -> None:
    targets = learn(FORMS[form])
    for empty in (column([[], []]), column(["[]", "[]"])):
        assert read(targets, empty) == ([[0.0] * 3] * 2, [True] * 2)


def test_a_missing_list_is_a_missing_label(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", texts([["a"], None, ["b"]] * 10))
    with pytest.raises(DataError, match="10 of 30 rows lack a label in 'tags'"):
        load(tmp_path / "train.jsonl")


def test_a_label_in_validation_alone_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", texts([["a"], ["b"]] * 10))
    write_jsonl(tmp_path / "validation.jsonl", texts([["a"], ["c"]]))
    with pytest.raises(DataError, match=r"validation: label 'c' \(first in row 1\)"):
        load(tmp_path)
