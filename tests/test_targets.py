"""The task that the labels ask for, and what they look like on their way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, List
from helpers import load, one_line, write_csv, write_jsonl

from tfft.data.examples import hold_out, in_order_of, labels_of
from tfft.data.targets import as_arrow, find_task, from_arrow, strata
from tfft.errors import DataError


def task_of(values: Any, *, name: str = "label", features: Features | None = None) -> str:
    rows = (
        Dataset.from_dict({name: values}, features=features)
        if features
        else Dataset(pa.table({name: values}))
    )
    return find_task(rows, (name,), asked="auto", delimiter=None)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0.5, 1.0], "regression"),
        (["0.5", "1"], "regression"),
        (["0.5", "", "1"], "regression"),
        ([0.5, float("nan")], "regression"),
        ([1, 2, 3], "single_label"),
        ([1.0, 2.0], "single_label"),
        (["1.0", "2.0"], "single_label"),
        (["yes", "no"], "single_label"),
        (["0.5", "high"], "single_label"),
        (["a|b", "c"], "single_label"),
        ([True, False], "single_label"),
        ([["a"], ["b", "c"]], "multi_label"),
        ([[0, 1, 1], [0, 0, 1]], "multi_label"),
        (['["a"]', '["b", "c"]'], "multi_label"),
        (["['a']", "['b', 'c']", ""], "multi_label"),
        (["[a]", "[b]"], "single_label"),
        (['["a"]', "b"], "single_label"),
    ],
    ids=str,
)
def test_the_task_is_told_by_the_labels(values: list[Any], task: str) -> None:
    assert task_of(values) == task


@pytest.mark.parametrize("name", ["score", "Score", "similarity_score"])
def test_whole_numbers_under_the_name_of_a_score_are_regression(name: str) -> None:
    assert task_of([0, 1, 2], name=name) == "regression"
    assert task_of(["0", "1", "2"], name=name) == "regression"
    assert task_of([0, 1, 2], name="stars") == "single_label"


@pytest.mark.parametrize("values", [["good", "bad"], [True, False], ["1", "bad"]], ids=str)
def test_a_score_that_is_no_number_is_a_class(values: list[Any]) -> None:
    assert task_of(values, name="score") == "single_label"


def test_a_class_label_is_a_class_whatever_its_name() -> None:
    features = Features({"score": ClassLabel(names=["low", "high"])})
    assert task_of([0, 1], name="score", features=features) == "single_label"


def test_lists_of_class_labels_are_multi_label() -> None:
    features = Features({"label": List(ClassLabel(names=["low", "high"]))})
    assert task_of([[0], [1]], features=features) == "multi_label"


def test_a_delimiter_makes_texts_multi_label(tmp_path: Path) -> None:
    table = [{"text": f"text {n}", "label": ("a|b", "c")[n % 2]} for n in range(20)]
    path = write_csv(tmp_path / "train.csv", table)
    assert load(path).label_names == ("a|b", "c")
    examples = load(path, label_delimiter="|")
    assert (examples.task, examples.label_names) == ("multi_label", ("a", "b", "c"))


def test_the_task_that_is_named_goes_before_what_the_labels_say(tmp_path: Path) -> None:
    table = [{"text": f"text {n}", "stars": n % 5} for n in range(50)]
    path = write_csv(tmp_path / "train.csv", table)
    assert load(path).task == "single_label"
    regression = load(path, task="regression")
    assert regression.task == "regression"
    assert regression.label_names == ("stars",)
    assert labels_of(regression.train).dtype == np.float32


def flagged(n_rows: int = 120, **more: Any) -> list[dict[str, Any]]:
    return [
        {"comment": f"text {n}", "toxic": n % 2, "insult": int(n % 5 == 0), **more}
        for n in range(n_rows)
    ]


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_several_0_1_columns_are_found_and_are_multi_label(write: Any, tmp_path: Path) -> None:
    ending = {write_csv: "csv", write_jsonl: "jsonl"}[write]
    examples = load(write(tmp_path / f"train.{ending}", flagged()))
    assert examples.task == "multi_label"
    assert examples.label_names == ("toxic", "insult")
    assert examples.columns.texts == ("comment",)


def test_a_csv_of_booleans_holds_0_1_columns(tmp_path: Path) -> None:
    table = [
        {**row, "toxic": bool(row["toxic"]), "insult": bool(row["insult"])} for row in flagged()
    ]
    examples = load(write_csv(tmp_path / "train.csv", table))
    assert examples.label_names == ("toxic", "insult")
    labels = np.concatenate([labels_of(examples.train), labels_of(examples.validation)])
    assert labels.sum(axis=0).tolist() == [60.0, 24.0]


def test_a_test_split_of_minus_ones_in_0_1_columns_is_predicted_and_not_learned(
    tmp_path: Path,
) -> None:
    write_csv(tmp_path / "train.csv", flagged())
    write_csv(
        tmp_path / "validation.csv", [{**row, "toxic": -1, "insult": -1} for row in flagged(9)]
    )
    with pytest.raises(DataError, match=r"no row has a label in 'toxic, insult'.*tfft predict"):
        load(tmp_path)


@pytest.mark.parametrize("task", ["single_label", "regression"])
def test_several_columns_that_could_be_the_one_label_are_not_chosen_from(
    task: str, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "train.csv", flagged())
    with pytest.raises(DataError) as caught:
        load(path, task=task)
    assert "toxic, insult could be" in one_line(caught)
    assert "--label-column" in one_line(caught)


def test_no_label_in_any_row_teaches_nothing(tmp_path: Path) -> None:
    table = [{**row, "toxic": 0, "insult": 0} for row in flagged()]
    with pytest.raises(DataError, match="no row has any label"):
        load(write_csv(tmp_path / "train.csv", table))


VALUES = {
    "classes": np.array([2, 0, 1, 1, 0]),
    "sets": np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 1]], np.float32),
    "numbers": np.array([0.5, -1.0, 2.5, 0.0, 1.0], np.float32),
}


@pytest.mark.parametrize("kind", VALUES)
def test_labels_come_back_from_a_table_as_they_were_in_whichever_order(kind: str) -> None:
    values = VALUES[kind]
    rows = Dataset(pa.table({"label": as_arrow(values), "text": ["t"] * 5}))
    for chosen in ([0, 1, 2, 3, 4], [3, 1], [1, 2, 3]):
        back = labels_of(rows.select(chosen))
        np.testing.assert_array_equal(back, values[chosen])
        assert back.dtype == values.dtype
    sliced = rows.with_format("arrow")[2:4]["label"]
    np.testing.assert_array_equal(from_arrow(sliced), values[2:4])


def test_the_labels_follow_another_order_of_names(tmp_path: Path) -> None:
    table = [{"text": f"text {n}", "label": "abc"[n % 3]} for n in range(30)]
    examples = load(write_csv(tmp_path / "train.csv", table))
    ordered = in_order_of(examples, ("c", "a", "b"))
    assert ordered.label_names == ("c", "a", "b")
    for before, after in zip(examples.splits.values(), ordered.splits.values(), strict=True):
        names = [examples.label_names[label] for label in before["label"]]
        assert names == [ordered.label_names[label] for label in after["label"]]
        assert before.column_names == after.column_names


def test_the_columns_of_sets_follow_another_order_of_names(tmp_path: Path) -> None:
    table = [{"text": f"text {n}", "label": ["abc"[n % 3], "c"]} for n in range(30)]
    examples = load(write_jsonl(tmp_path / "train.jsonl", table))
    ordered = in_order_of(examples, ("c", "a", "b"))
    before, after = labels_of(examples.train), labels_of(ordered.train)
    np.testing.assert_array_equal(after, before[:, [2, 0, 1]])
    assert after.dtype == np.float32


def test_rare_sets_of_labels_are_held_out_together() -> None:
    common = np.tile([[1.0, 0.0, 0.0]], (40, 1))
    rare = np.eye(3)[np.arange(12) % 3][:, ::-1][:12].copy()
    rare[:, 0] = 0.0
    groups = strata(np.concatenate([common, rare]).astype(np.float32))
    assert len(set(groups[:40])) == 1
    assert groups.shape == (52,)


def test_the_hold_out_of_sets_is_a_tenth_of_each_common_one() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 30, np.float32)
    rows = Dataset(pa.table({"label": as_arrow(labels), "row": list(range(len(labels)))}))
    train, held = hold_out(rows, seed=1)
    assert sorted([*train["row"], *held["row"]]) == list(range(120))
    assert set(Counter(map(tuple, labels_of(held).tolist())).values()) == {3}


def test_the_hold_out_of_numbers_is_a_tenth() -> None:
    labels = np.linspace(0, 5, 100, dtype=np.float32)
    rows = Dataset(pa.table({"label": as_arrow(labels), "row": list(range(100))}))
    train, held = hold_out(rows, seed=1)
    assert (len(train), len(held)) == (90, 10)
