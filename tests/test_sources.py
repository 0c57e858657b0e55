"""Where data comes from: a path first, then what is embedded, then the hub."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from helpers import load, one_line, rows, write_csv, write_jsonl

from tfft.data import sources
from tfft.data.sources import open_source
from tfft.errors import DataError


def refusal(name: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        open_source(str(name))
    return one_line(caught)


def write_shards(folder: Path, n_shards: int, *, of: int) -> None:
    for number in range(n_shards):
        table = pa.Table.from_pylist(rows()[number * 10 : number * 10 + 10])
        pq.write_table(table, folder / f"train-{number:05d}-of-{of:05d}.parquet")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the hub is asked for; it answers with one split."""
    calls: list[tuple[Any, ...]] = []

    def load_data(_: str, *asked: str | None, hint: str) -> DatasetDict:
        calls.append(asked)
        return DatasetDict(train=Dataset.from_list(rows()))

    monkeypatch.setattr(sources, "load_data", load_data)
    return calls


def test_a_file_is_one_split(tmp_path: Path) -> None:
    source = open_source(str(write_csv(tmp_path / "a.csv", rows())))
    assert list(source.splits) == ["train"]
    assert source.single_file


def test_a_folder_has_a_split_a_file_train_first(tmp_path: Path) -> None:
    for split in ("test", "train", "validation"):
        write_csv(tmp_path / f"{split}.csv", rows())
    source = open_source(str(tmp_path))
    assert list(source.splits) == ["train", "validation", "test"]
    assert source.notes == ()


@pytest.mark.parametrize("name", ["dev", "val", "valid", "Dev", "Validation", "dev_matched"])
def test_other_names_of_validation_are_read_as_it_out_loud(tmp_path: Path, name: str) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_csv(tmp_path / f"{name}.csv", rows())
    source = open_source(str(tmp_path))
    assert list(source.splits) == ["train", "validation"]
    assert source.notes == (f"data: {name}.csv is read as validation",)
    assert source.name_of("dev") == "validation"


def test_splits_may_be_of_different_formats(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_jsonl(tmp_path / "test.jsonl", rows())
    assert list(open_source(str(tmp_path)).splits) == ["train", "test"]


def test_a_folder_of_one_file_is_read_as_train_out_loud(tmp_path: Path) -> None:
    write_csv(tmp_path / "reviews.csv", rows())
    source = open_source(str(tmp_path))
    assert list(source.splits) == ["train"]
    assert source.notes == ("data: reviews.csv is read as train",)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_folder_of_validation_or_test_alone_has_no_train(tmp_path: Path, split: str) -> None:
    write_csv(tmp_path / f"{split}.csv", rows())
    assert list(open_source(str(tmp_path)).splits) == [split]
    with pytest.raises(DataError, match=f"no split 'train'; there are {split}"):
        load(tmp_path)


def test_shards_are_one_split_in_their_order(tmp_path: Path) -> None:
    write_shards(tmp_path, 2, of=2)
    assert open_source(str(tmp_path)).splits["train"].to_list() == rows()


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, 1, of=2)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "expected 2 files for train, found 1" in one_line(caught)


def test_shards_whose_columns_differ_in_type_are_refused(tmp_path: Path) -> None:
    for number, text in enumerate(["a", 1]):
        table = pa.table({"text": [text], "label": [0]})
        pq.write_table(table, tmp_path / f"train-{number:05d}-of-00002.parquet")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "the files' columns differ" in one_line(caught)


@pytest.mark.parametrize("names", [("train.csv", "train.tsv"), ("dev.csv", "val.csv")])
def test_two_files_for_one_split_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        write_csv(tmp_path / name, rows())
    assert f"{names[0]}, {names[1]} are all" in refusal(tmp_path)


@pytest.mark.parametrize("names", [[], ["notes.txt"], [".train.csv"]])
def test_a_folder_without_split_files_is_refused_with_what_is_there(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text("text,label\na,1\n")
    message = refusal(tmp_path)
    assert "expected train|validation|test files" in message
    assert message.endswith(f"found {names[0] if names else 'nothing'}")


def test_what_lies_beside_the_splits_does_no_harm(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    (tmp_path / "config.json").write_text('{"a": [1]}')
    (tmp_path / "._train.csv").write_bytes(b"\x00\xff")
    (tmp_path / "cache.csv").mkdir()
    assert len(load(tmp_path).train) == 18


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_that_cannot_be_read_is_refused_where_it_is_needed(
    tmp_path: Path, split: str
) -> None:
    for each in ("train", "validation", "test"):
        write_csv(tmp_path / f"{each}.csv", rows())
    (tmp_path / f"{split}.csv").write_text("text,label\na,b,1\n")
    if split == "test":
        examples = load(tmp_path)
        assert len(examples.validation) == 20
        assert examples.notes[0].startswith("data: test is left out: ")
    else:
        with pytest.raises(DataError, match=rf"{split}.csv, line 2: 3 fields"):
            load(tmp_path)


def test_a_mixed_column_in_a_split_that_is_not_used_does_no_harm(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_jsonl(tmp_path / "test.jsonl", [{"text": "a"}, {"text": 5}])
    assert len(load(tmp_path).train) == 18


def test_a_mixed_column_in_validation_is_refused_with_its_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", rows())
    write_jsonl(tmp_path / "validation.jsonl", [*rows(2), {"text": 5, "label": 0}])
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "validation: column 'text': row 2 holds a number (5)" in one_line(caught)


def test_a_column_of_a_type_that_datasets_lacks_matters_only_where_it_is_used(
    tmp_path: Path,
) -> None:
    odd = pa.array([[("a", 1)]] * 20, pa.map_(pa.string(), pa.int64()))
    table = pa.Table.from_pylist(rows()).append_column("odd", odd)
    pq.write_table(table, tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").columns.texts == ("text",)
    with pytest.raises(DataError, match=r"column 'odd': its type, map<.*>, isn't supported"):
        load(tmp_path / "a.parquet", text_column=("odd",))


def test_a_local_copy_of_a_glue_task_is_known_as_it(tmp_path: Path) -> None:
    folder = tmp_path / "glue" / "cola"
    folder.mkdir(parents=True)
    write_csv(folder / "train.csv", rows())
    assert open_source(str(folder)).glue_task == "cola"


def test_what_datasets_saved_is_read_with_its_class_names(tmp_path: Path) -> None:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    table = {"sentence": [f"text {n}" for n in range(20)], "label": [0, 1] * 10}
    train = Dataset.from_dict(table, features=features)
    test = Dataset.from_dict({"sentence": ["a"], "label": [-1]}, features=features)
    DatasetDict(train=train, dev=train, test=test).save_to_disk(tmp_path / "saved")
    source = open_source(str(tmp_path / "saved"))
    assert set(source.splits) == {"train", "validation", "test"}
    assert source.notes == ("data: the split dev is read as validation",)
    assert load(tmp_path / "saved").label_names == ("bad", "good")


def test_one_saved_data_set_is_one_split(tmp_path: Path) -> None:
    Dataset.from_list(rows()).save_to_disk(tmp_path / "saved")
    source = open_source(str(tmp_path / "saved"))
    assert list(source.splits) == ["train"]
    assert source.single_file


def test_a_broken_saved_data_set_is_refused(tmp_path: Path) -> None:
    Dataset.from_list(rows()).save_to_disk(tmp_path / "saved")
    for file in (tmp_path / "saved").glob("*.arrow"):
        file.write_bytes(b"broken")
    assert "a saved data set that can't be read" in refusal(tmp_path / "saved")


def test_the_builtin_data_has_its_splits_and_colas_metric() -> None:
    source = open_source("builtin/acceptability")
    assert list(source.splits) == ["train", "validation"]
    assert source.glue_task == "cola"


def test_an_unknown_builtin_is_refused_with_the_nearest() -> None:
    assert "did you mean 'acceptability'?" in refusal("builtin/acceptibility")


@pytest.mark.parametrize("misspelt", ["reviws.csv", "reviews.tsv"])
def test_a_missing_file_is_refused_with_the_nearest(tmp_path: Path, misspelt: str) -> None:
    write_csv(tmp_path / "reviews.csv", rows())
    message = refusal(tmp_path / misspelt)
    assert f"no such file or folder (did you mean '{tmp_path / 'reviews.csv'}'?)" in message


@pytest.mark.parametrize("misspelt", ["review", "reveiws"])
def test_a_missing_folder_is_refused_with_the_nearest(tmp_path: Path, misspelt: str) -> None:
    (tmp_path / "reviews").mkdir()
    assert f"did you mean '{tmp_path / 'reviews'}'?" in refusal(tmp_path / misspelt)


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 300, "~nobody-of-this-name/x", "a/b/c/d"])
def test_a_name_that_can_be_nothing_is_refused(name: str) -> None:
    assert refusal(name)


@pytest.mark.parametrize(
    ("name", "call", "glue_task"),
    [
        ("glue/cola", ("nyu-mll/glue", "cola", None), "cola"),
        ("glue:cola", ("nyu-mll/glue", "cola", None), "cola"),
        ("glue/mrpc@abc123", ("nyu-mll/glue", "mrpc", "abc123"), "mrpc"),
        ("nyu-mll/glue:sst2", ("nyu-mll/glue", "sst2", None), "sst2"),
        ("nyu-mll/glue:ax", ("nyu-mll/glue", "ax", None), None),
        ("imdb", ("imdb", None, None), None),
        ("org/name:config@REV", ("org/name", "config", "REV"), None),
        ("org/name@refs/pr/1", ("org/name", None, "refs/pr/1"), None),
        ("org/na-me.v2:con-fig", ("org/na-me.v2", "con-fig", None), None),
    ],
)
def test_a_hub_id_is_asked_for_by_repository_config_and_revision(
    asked: list[tuple[Any, ...]], name: str, call: tuple[Any, ...], glue_task: str | None
) -> None:
    assert open_source(name).glue_task == glue_task
    assert asked == [call]


def test_a_folder_goes_before_a_hub_id_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Any, ...]]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imdb").mkdir()
    write_csv(tmp_path / "imdb" / "train.csv", rows())
    assert list(open_source("imdb").splits) == ["train"]
    assert asked == []


def test_validation_matched_of_the_hub_is_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Dataset.from_list(rows())
    mnli = DatasetDict(train=part, validation_matched=part, validation_mismatched=part)
    monkeypatch.setattr(sources, "load_data", lambda *_, **__: mnli)
    source = open_source("glue/mnli")
    assert set(source.splits) == {"train", "validation", "validation_mismatched"}
    assert source.notes == ("data: the split validation_matched is read as validation",)


@pytest.mark.parametrize("name", ["glue/colla", "glue", "glue:colla"])
def test_an_unknown_glue_task_is_refused_before_the_hub_is_asked(
    asked: list[tuple[Any, ...]], name: str
) -> None:
    message = refusal(name)
    assert "cola, sst2" in message
    assert ("did you mean 'cola'?" in message) == ("coll" in name)
    assert asked == []


@pytest.mark.parametrize("data", ["file", "builtin/acceptability"])
def test_reading_data_wakes_no_framework(tmp_path: Path, data: str) -> None:
    name = str(write_csv(tmp_path / "a.csv", rows())) if data == "file" else data
    script = (
        "import sys\n"
        "from tfft.config import DataConfig\n"
        "from tfft.data.examples import load_training\n"
        "load_training(DataConfig(source=sys.argv[1]), seed=1)\n"
        "heavy = {'tensorflow', 'tf_keras', 'torch', 'transformers', 'jax'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", script, name], check=True, env={**os.environ})


def test_a_missing_file_is_refused_before_datasets_is_imported() -> None:
    script = (
        "import sys\n"
        "from tfft.data.sources import open_source\n"
        "try:\n"
        "    open_source('/nowhere/a.csv')\n"
        "except Exception as error:\n"
        "    sys.exit('datasets was imported' if 'datasets' in sys.modules else 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
