"""Which columns are texts, label and id: by name, by type, or as named."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from helpers import load, one_line, rows, write_csv, write_jsonl

from tfft.data.columns import PAIR_NAMES, Columns, find_columns, is_number
from tfft.errors import DataError

N_ROWS = 120


def table(*names: str, **columns: list[Any]) -> Dataset:
    """Varied texts under `names`, then `columns`."""
    texts = {name: [f"{name} {row}" for row in range(N_ROWS)] for name in names}
    return Dataset(pa.table({**texts, **columns}))


def classes(*values: Any) -> list[Any]:
    return [values[row % len(values)] for row in range(N_ROWS)]


def find(dataset: Dataset, **options: Any) -> Columns:
    return find_columns(dataset, where="data, train", **options)


def refusal(dataset: Dataset, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        find(dataset, **options)
    assert "data, train" in one_line(caught)
    return one_line(caught)


@pytest.mark.parametrize("text", ["text", "sentence", "review", "content", "Tweet", "REVIEW_TEXT"])
@pytest.mark.parametrize("label", ["label", "labels", "Sentiment", "stars", "target"])
def test_columns_are_found_by_their_usual_names(text: str, label: str) -> None:
    data = table("source", text, **{label: classes(0, 1)})
    assert find(data) == Columns((text,), (label,), None)


@pytest.mark.parametrize("pair", PAIR_NAMES)
def test_a_pair_is_found_in_the_order_in_which_models_read_it(pair: tuple[str, str]) -> None:
    assert find(table(*reversed(pair), label=classes(0, 1))).texts == pair


def test_two_columns_of_text_are_a_pair() -> None:
    assert find(table("title", "text", label=classes(0, 1))).texts == ("title", "text")


def test_names_may_mix_their_cases() -> None:
    data = table("Sentence1", "SENTENCE2", LABEL=classes(0, 1), Idx=list(range(N_ROWS)))
    assert find(data) == Columns(("Sentence1", "SENTENCE2"), ("LABEL",), "Idx")


def test_a_column_of_an_unusual_name_is_found_by_its_type() -> None:
    data = table("wording", flag=classes("a", "b"), number=list(range(N_ROWS)))
    assert find(data) == Columns(("wording",), ("flag",), None)


def test_the_features_class_label_goes_before_a_name() -> None:
    features = Features(
        {"text": Value("string"), "label": Value("int64"), "kind": ClassLabel(names=["a", "b"])}
    )
    data = Dataset.from_dict({"text": ["x"], "label": [0], "kind": [1]}, features=features)
    assert find(data).labels == ("kind",)


def test_named_columns_go_before_all_others() -> None:
    data = table("text", "wording", "why", label=classes(0, 1), kind=classes("a", "b"))
    assert find(data, texts=("why", "wording"), labels=["kind"]) == Columns(
        ("why", "wording"), ("kind",), None
    )


def test_a_column_of_repeated_texts_is_not_taken_for_the_label() -> None:
    assert find(table(review=classes("good", "bad")), label_needed=False).texts == ("review",)


def test_a_column_of_numbers_in_strings_is_no_text(tmp_path: Path) -> None:
    table = [{"length": n, **row} for n, row in enumerate(rows())]
    assert load(write_csv(tmp_path / "a.csv", table)).columns.texts == ("text",)


@pytest.mark.parametrize("option", ["texts", "labels"])
def test_a_misnamed_column_is_refused_with_the_nearest_and_the_list(option: str) -> None:
    data = table("text", label=classes(0, 1))
    misnamed = {"texts": {"texts": ("txt",)}, "labels": {"labels": ("lable",)}}[option]
    nearest = {"texts": "text", "labels": "label"}[option]
    message = refusal(data, **misnamed)
    assert f"did you mean '{nearest}'?" in message
    assert "there are text, label" in message


def test_no_label_is_refused_where_one_is_needed() -> None:
    message = refusal(table("text", "wording"))
    assert "which column holds the label?" in message
    assert "found text, wording" in message
    assert "--label-column" in message


def test_no_label_will_do_where_none_is_needed() -> None:
    assert find(table("text"), label_needed=False) == Columns(("text",), (), None)


def test_too_many_texts_are_refused_with_their_names() -> None:
    message = refusal(table("a", "b", "c", label=classes(0, 1)))
    assert "a, b, c could be" in message
    assert "--text-column" in message


def test_no_text_is_refused() -> None:
    message = refusal(table(label=classes(0, 1), number=list(range(N_ROWS))))
    assert "which column holds the texts?" in message
    assert "does the file lack a header row?" in message


def test_a_mixed_column_matters_only_where_it_is_used(tmp_path: Path) -> None:
    mixed = [{"meta": "a" if n else 5, **row} for n, row in enumerate(rows())]
    path = write_jsonl(tmp_path / "a.jsonl", mixed)
    assert load(path).columns.texts == ("text",)
    with pytest.raises(DataError) as caught:
        load(path, text_column=("meta",))
    assert "row 0 holds a number (5)" in one_line(caught)


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_mixed_column_of_a_usual_name_is_refused_and_none_taken_in_its_place(
    tmp_path: Path, column: str
) -> None:
    mixed = rows(200, labels=("a", "b"))
    mixed[3][column] = 5
    table = [{"source": f"page {n}", "kind": n % 2, **row} for n, row in enumerate(mixed)]
    with pytest.raises(DataError) as caught:
        load(write_jsonl(tmp_path / "a.jsonl", table))
    assert f"column '{column}': row 3 holds a number (5)" in one_line(caught)


def test_ids_of_mixed_kinds_are_no_ids(tmp_path: Path) -> None:
    table = [{"id": n or "none", **row} for n, row in enumerate(rows())]
    examples = load(write_jsonl(tmp_path / "a.jsonl", table))
    assert examples.columns.id is None
    assert list(examples.train["id"]) == list(examples.train["row"])


@pytest.mark.parametrize("text", ["1", "-1", "+1.5", ".5", "5.", "1e-3", " 7 ", "nan", "NaN"])
def test_what_reads_as_a_number_is_one(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["", "one", "1_000", "inf", "1,5", "٣", "²", "1-2", "0x10"])
def test_what_only_python_reads_as_a_number_is_none(text: str) -> None:
    assert not is_number(text)
