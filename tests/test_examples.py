"""A source's splits as rows to learn from: standard columns, nothing missing, a fair hold-out."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from helpers import load, one_line, rows, write_csv, write_jsonl

from tfft.config import DataConfig
from tfft.data.examples import HELD_OUT, Learned, SplitRows, hold_out, load_split
from tfft.data.sources import open_source
from tfft.errors import DataError


def labelled(labels: list[int]) -> Dataset:
    return Dataset.from_dict({"label": labels, "row": list(range(len(labels)))})


def refusal(source: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(source, **options)
    return one_line(caught)


def split_of(source: Path, split: str | None, *, label_needed: bool, **options: Any) -> SplitRows:
    names = options.pop("label_names", ("0", "1"))
    known = Learned(
        options.pop("task", "single_label"),
        names,
        options.pop("preferred", DataConfig()),
        options.pop("held_out_seed", None),
    )
    config = DataConfig(source=str(source), **options)
    return load_split(
        open_source(str(source)), config, split, learned=known, label_needed=label_needed
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Labels in train and validation, -1 in test, as GLUE has them."""
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "validation.csv", rows(6))
    write_csv(tmp_path / "test.csv", rows(5, labels=(-1,)))
    return tmp_path


def test_columns_have_their_standard_names_whatever_they_were_called(tmp_path: Path) -> None:
    table = [
        {"idx": f"x{n}", "hypothesis": f"b {n}", "premise": f"a {n}", "gold_label": n % 2}
        for n in range(20)
    ]
    write_csv(tmp_path / "train.csv", table)
    write_csv(tmp_path / "validation.csv", table[:2])
    examples = load(tmp_path)
    assert examples.validation.to_list() == [
        {"text": "a 0", "text_pair": "b 0", "label": 0, "id": "x0", "row": 0},
        {"text": "a 1", "text_pair": "b 1", "label": 1, "id": "x1", "row": 1},
    ]


def test_columns_called_as_ours_in_another_order_are_not_mixed_up(tmp_path: Path) -> None:
    table = [{"text": f"a {n}", "text_pair": f"b {n}", "label": n % 2} for n in range(20)]
    examples = load(write_csv(tmp_path / "a.csv", table), text_column=("text_pair", "text"), seed=1)
    first = examples.train[0]
    assert (first["text"][0], first["text_pair"][0]) == ("b", "a")


def test_what_was_chosen_is_said(folder: Path) -> None:
    assert load(folder).notes == ("columns: text text, label label (2 classes: 0, 1)",)


def test_every_format_gives_the_same_rows_and_fingerprint(tmp_path: Path) -> None:
    paths = [
        write_csv(tmp_path / "a.csv", rows()),
        write_csv(tmp_path / "a.tsv", rows(), sep="\t"),
        write_jsonl(tmp_path / "a.jsonl", rows()),
        tmp_path / "a.parquet",
    ]
    pq.write_table(pa.Table.from_pylist(rows()), paths[-1])
    loaded = [load(path) for path in paths]
    assert len({str(each.train.to_list()) for each in loaded}) == 1
    assert len({each.fingerprint for each in loaded}) == 1


def test_another_text_has_another_fingerprint(tmp_path: Path) -> None:
    first = load(write_csv(tmp_path / "a.csv", rows()))
    second = load(write_csv(tmp_path / "b.csv", [{"text": "other", "label": 0}, *rows()[1:]]))
    assert first.fingerprint != second.fingerprint


def test_categories_of_texts_become_texts(tmp_path: Path) -> None:
    texts = pa.array([f"text {n}" for n in range(20)]).dictionary_encode()
    pq.write_table(pa.table({"text": texts, "label": [0, 1] * 10}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet", text_column=("text",)).train.features["text"] == Value(
        "string"
    )


def test_limit_train_is_what_the_tutorial_takes(folder: Path) -> None:
    expected = load(folder).train.shuffle(seed=7).select(range(5)).to_list()
    assert load(folder, seed=7, limit_train=5).train.to_list() == expected


def test_a_limit_above_the_rows_changes_nothing(folder: Path) -> None:
    limited = load(folder, limit_train=1000, limit_validation=1000)
    assert limited.train.to_list() == load(folder).train.to_list()
    assert limited.validation.to_list() == load(folder).validation.to_list()


# --- rows that lack something ---


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "", "label": 0}, "1 of 21 rows lack a text in 'text' (rows 20,"),
        ({"text": "a", "label": ""}, "1 of 21 rows lack a label in 'label' (rows 20,"),
        ({"text": "a", "label": " "}, "1 of 21 rows lack a label in 'label' (rows 20,"),
    ],
)
def test_a_missing_text_or_label_is_refused_with_its_count_and_rows(
    tmp_path: Path, row: dict[str, Any], told: str
) -> None:
    message = refusal(write_csv(tmp_path / "a.csv", [*rows(), row]))
    assert told in message
    assert "--drop-missing" in message


def test_the_first_rows_of_many_are_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [*rows(), *[{"text": "", "label": 0}] * 8])
    assert "8 of 28 rows lack a text in 'text' (rows 20, 21, 22, 23, 24 and 3 more" in refusal(path)


def test_drop_missing_goes_on_without_them_out_loud(tmp_path: Path) -> None:
    table = [{"text": "", "label": 0}, *rows(), {"text": "a", "label": ""}]
    write_csv(tmp_path / "train.csv", table)
    write_csv(tmp_path / "validation.csv", rows(4))
    examples = load(tmp_path, drop_missing=True)
    assert list(examples.train["row"]) == list(range(1, 21))
    assert any(
        "left out" in note and "(rows 0," in note and "(rows 21," in note for note in examples.notes
    )


def test_drop_missing_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "validation.csv", [{"text": "", "label": 1}])
    assert "no row is left" in refusal(tmp_path, drop_missing=True)


def test_drop_missing_that_leaves_one_class_is_refused(tmp_path: Path) -> None:
    table = [*rows(labels=(0,)), {"text": "", "label": 1}]
    assert "one class" in refusal(write_csv(tmp_path / "a.csv", table), drop_missing=True)


def test_blank_texts_that_are_no_empty_cells_are_kept_out_loud(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"text": "", "label": 1}, *rows()])
    write_csv(tmp_path / "validation.csv", [{"text": "  ", "label": 1}, *rows()])
    examples = load(tmp_path)
    assert len(examples.train) == len(examples.validation) == 21
    assert [note for note in examples.notes if note.startswith("blank: ")] == [
        f"blank: {tmp_path}, {split}: 1 of 21 texts in 'text' (rows 0, counted from 0)"
        for split in ("train", "validation")
    ]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array([None, *range(19)]), "holds int64, not texts (row 1: 0)"),
        (pa.array([["a"]] * 20), "holds list<item: string>, not texts (row 0: ['a'])"),
        (pa.array([b"a"] * 20), "holds binary, not texts (row 0: b'a')"),
        (
            pa.array([{"en": "a"}] * 20),
            "holds struct<en: string>, not texts (row 0: {'en': 'a'})",
        ),
    ],
)
def test_texts_that_are_no_strings_are_refused_with_a_row(
    tmp_path: Path, column: pa.Array, told: str
) -> None:
    table = pa.table({"text": column, "label": [0, 1] * 10})
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "a.parquet")
    assert told.replace("item", "element") in refusal(tmp_path / "a.parquet").replace(
        "item", "element"
    )


def test_one_class_is_refused(tmp_path: Path) -> None:
    assert "one class only (1)" in refusal(write_csv(tmp_path / "a.csv", rows(labels=(1,))))


def test_one_class_of_two_that_the_features_name_is_refused(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    data = Dataset.from_list(rows(labels=(1,)), features=features)
    data.save_to_disk(tmp_path / "saved")
    assert "all rows have one class" in refusal(tmp_path / "saved")


def test_validation_without_the_label_column_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "validation.csv", [{"text": "a", "lable": 1}])
    message = refusal(tmp_path)
    assert "validation: no column 'label' (did you mean 'lable'?)" in message


def test_validation_without_labels_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "validation.csv", rows(3, labels=(-1,)))
    assert "no row has a label in 'label'" in refusal(tmp_path)


@pytest.mark.parametrize("option", ["train_split", "validation_split"])
def test_an_unknown_split_is_refused_with_those_there_are(folder: Path, option: str) -> None:
    message = refusal(folder, **{option: "tets"})
    assert "no split 'tets' (did you mean 'test'?); there are train, validation, test" in message


def test_a_split_may_be_asked_for_by_the_name_its_file_had(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "dev.csv", rows(4))
    assert len(load(tmp_path, validation_split="dev").validation) == 4


def test_learning_and_scoring_one_split_under_two_names_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "dev.csv", rows())
    assert "name two that differ" in refusal(tmp_path, train_split="dev")


def test_what_a_run_was_scored_on_is_scored_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / "exam.csv", rows(6))
    learned = DataConfig(validation_split="exam")
    split = split_of(tmp_path, "validation", label_needed=True, preferred=learned, held_out_seed=7)
    assert split.name == "exam"
    assert len(split.rows) == 6


def test_the_held_out_rows_are_of_the_split_that_was_learned(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows(40))
    write_csv(tmp_path / "learn.csv", rows(60))
    held = load(tmp_path, train_split="learn", seed=7).validation
    learned = DataConfig(train_split="learn")
    again = split_of(tmp_path, "validation", label_needed=True, preferred=learned, held_out_seed=7)
    assert again.rows["row"][:] == held["row"][:]
    assert len(held) == 6


def test_texts_found_must_be_as_many_as_were_learned(tmp_path: Path) -> None:
    table = [{"title": f"title {n}", **row} for n, row in enumerate(rows())]
    path = write_csv(tmp_path / "new.csv", table)
    learned = DataConfig(text_column=("review",))
    with pytest.raises(DataError, match=r"1 text a row \(review\), and 2 are found.*--text-column"):
        split_of(path, None, label_needed=False, preferred=learned)
    named = split_of(path, None, label_needed=False, preferred=learned, text_column=("title",))
    assert named.columns.texts == ("title",)


def test_a_class_that_looks_like_several_labels_is_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows(40, labels=("sports|politics", "sports")))
    told = "if it is several labels, say --task multi_label"
    assert any(told in note for note in load(tmp_path).notes)
    assert not any(told in note for note in load(tmp_path, task="single_label").notes)


# --- the hold-out ---

LABELS = {
    "two even": [0, 1] * 100,
    "uneven": [0] * 190 + [1] * 10,
    "rare": [0] * 99 + [1],
    "many small": [n % 77 for n in range(308)],
    "small and large": [0] * 1000 + [1 + n % 30 for n in range(90)],
    "tiny": [0, 0, 1],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("seed", range(5))
def test_the_hold_out_is_a_tenth_of_each_class_and_loses_no_row(
    labels: list[int], seed: int
) -> None:
    rest, held = (part["row"][:] for part in hold_out(labelled(labels), seed=seed))
    assert sorted([*rest, *held]) == list(range(len(labels)))
    assert rest == sorted(rest)
    assert held == sorted(held)
    assert len(held) == max(1, round(len(labels) * HELD_OUT))
    n_held = Counter(labels[row] for row in held)
    for label, size in Counter(labels).items():
        assert abs(n_held[label] - size * HELD_OUT) < 1
    assert {labels[row] for row in rest} == set(labels)


def test_what_is_held_out_does_not_depend_on_the_labels_order() -> None:
    labels = [n % 3 for n in range(100)]
    one, other = (
        hold_out(labelled(each), seed=3)[1]["row"][:]
        for each in (labels, [2 - label for label in labels])
    )
    assert one == other


def test_the_hold_out_depends_on_the_seed_alone() -> None:
    data = labelled(LABELS["two even"])
    held = [tuple(hold_out(data, seed=seed)[1]["row"][:]) for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_too_few_rows_to_hold_some_out_are_refused() -> None:
    with pytest.raises(DataError, match="too few to hold some out; give a validation file"):
        hold_out(labelled([0, 1]), seed=1)


def test_data_without_validation_holds_a_tenth_out_out_loud(tmp_path: Path) -> None:
    examples = load(write_csv(tmp_path / "a.csv", rows(40)), seed=7)
    assert (len(examples.train), len(examples.validation)) == (36, 4)
    assert Counter(examples.validation["label"]) == {0: 2, 1: 2}
    assert "4 rows of train are held out, a tenth of each class (seed 7)" in examples.notes[-1]
    assert not set(examples.train["row"]) & set(examples.validation["row"])


# --- one split, for evaluation or prediction ---


def test_a_test_split_of_minus_ones_is_predicted_and_never_scored(folder: Path) -> None:
    predicted = split_of(folder, None, label_needed=False)
    assert predicted.name == "test"
    assert "label" not in predicted.rows.column_names
    assert len(predicted.rows) == 5
    with pytest.raises(DataError) as caught:
        split_of(folder, "test", label_needed=True)
    assert "such a split can be predicted (tfft predict), not learned or scored" in one_line(caught)


def test_unlabelled_rows_of_class_labels_are_minus_ones_too(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["0", "1"])})
    test = Dataset.from_list(rows(3, labels=(-1,)), features=features)
    DatasetDict(test=test).save_to_disk(tmp_path / "saved")
    assert len(split_of(tmp_path / "saved", None, label_needed=False).rows) == 3
    with pytest.raises(DataError, match="no row has a label"):
        split_of(tmp_path / "saved", "test", label_needed=True)


def test_new_texts_need_no_label_column(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "new.csv", [{"id": f"x{n}", "text": f"a {n}"} for n in range(3)])
    assert split_of(path, None, label_needed=False).rows.to_list() == [
        {"text": f"a {n}", "id": f"x{n}", "row": n} for n in range(3)
    ]


def test_a_validation_that_is_a_single_file_is_all_of_it(tmp_path: Path) -> None:
    split = split_of(write_csv(tmp_path / "a.csv", rows()), "validation", label_needed=True)
    assert (split.name, len(split.rows)) == ("validation", 20)
    assert "one file, so all of its rows are taken" in split.notes[-1]


@pytest.mark.parametrize("label_needed", [True, False])
def test_the_rows_that_a_fit_held_out_are_found_again(tmp_path: Path, label_needed: bool) -> None:
    write_csv(tmp_path / "train.csv", rows(40))
    split = split_of(tmp_path, "validation", label_needed=label_needed, held_out_seed=7)
    assert split.rows["row"][:] == load(tmp_path, seed=7).validation["row"][:]
    assert ("label" in split.rows.column_names) == label_needed


def test_the_rows_held_out_cannot_be_found_again_without_their_labels(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [{"text": f"a {n}", "grade_x": n % 2} for n in range(40)])
    with pytest.raises(DataError, match="which column holds the label"):
        split_of(tmp_path, "validation", label_needed=False, held_out_seed=7)


def test_a_split_that_is_not_there_is_refused(folder: Path) -> None:
    (folder / "validation.csv").unlink()
    with pytest.raises(DataError, match="no split 'validation'; there are train, test"):
        split_of(folder, "validation", label_needed=True)


def test_the_texts_that_a_run_learned_from_are_preferred(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [{"why": f"b {n}", **row} for n, row in enumerate(rows())])
    for preferred, chosen in (("why", "why"), ("gone", "text")):
        learned = DataConfig(text_column=(preferred,))
        split = split_of(path, None, label_needed=False, preferred=learned)
        assert split.columns.texts == (chosen,)


def test_labels_of_another_split_get_the_ids_they_were_learned_with(tmp_path: Path) -> None:
    write_csv(tmp_path / "test.csv", rows(4, labels=(1,)))
    ids = np.asarray(split_of(tmp_path, "test", label_needed=True).rows["label"])
    assert ids.tolist() == [1, 1, 1, 1]
