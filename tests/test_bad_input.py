"""Each mistake: one line on standard error, exit code 1 (2 of usage), and nothing left behind."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome
from tiny import python

CLI = Callable[..., Outcome]


def csv_file(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


GOOD = [f"text {number},{number % 2}" for number in range(20)]
# What is written as the data -> what the line must say.
DATA_MISTAKES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "no such file": (lambda at: at / "nope.csv", ("nope.csv", "no such file")),
    "an empty file": (lambda at: csv_file(at / "d.csv"), ("d.csv",)),
    "a header alone": (lambda at: csv_file(at / "d.csv", "text,label"), ("no rows",)),
    "a malformed row": (
        lambda at: csv_file(at / "d.csv", "text,label", *GOOD, "a,b,c"),
        ("line 22", "3 fields"),
    ),
    "a malformed line": (
        lambda at: csv_file(at / "d.jsonl", '{"text": "a", "label": 1}', "{oops"),
        ("line 2", "not JSON"),
    ),
    "a text that is none": (
        lambda at: csv_file(
            at / "d.jsonl", *('{"text": "a", "label": 1}', '{"text": 5, "label": 0}') * 1
        ),
        ("text", "row 1"),
    ),
    "one class only": (
        lambda at: csv_file(at / "d.csv", "text,label", "a,1", "b,1", "c,1"),
        ("one class",),
    ),
    "missing labels": (
        lambda at: csv_file(at / "d.csv", "text,label", *GOOD, "a,", "b,"),
        ("2 of 22", "20, 21", "--drop-missing"),
    ),
    "missing texts": (
        lambda at: csv_file(at / "d.csv", "text,label", ",1", *GOOD),
        ("1 of 21", "rows 0", "--drop-missing"),
    ),
}


@pytest.mark.parametrize("mistake", DATA_MISTAKES)
def test_data_mistakes(mistake: str, tfft_cli: CLI, tiny: Path, tmp_path: Path) -> None:
    make, told = DATA_MISTAKES[mistake]
    refused(tfft_cli, tmp_path, "--data", make(tmp_path), "--model", tiny, told=told)


def refused(
    tfft_cli: CLI, at: Path, *arguments: object, told: tuple[str, ...], code: int = 1
) -> None:
    """`tfft fit` says it in one line, and leaves no output folder."""
    output = at / "out"
    existed = output.exists()
    outcome = tfft_cli("fit", *arguments, "--output", output)
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: ")
    for part in told:
        assert part in lines[0], lines[0]
    assert output.exists() == existed
    assert not output.with_name("out.partial").exists()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return csv_file(tmp_path / "good.csv", "text,label", *GOOD)


def test_a_misnamed_column(tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path) -> None:
    arguments = ("--data", good, "--model", tiny, "--label-column", "labl")
    refused(tfft_cli, tmp_path, *arguments, told=("'labl'", "did you mean 'label'", "text, label"))


def test_a_warm_up_longer_than_the_run(
    tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path
) -> None:
    # 18 of the 20 rows are trained on, in batches of 16: 2 steps an epoch.
    arguments = ("--data", good, "--model", tiny, "--warmup", 7, "--epochs", 3)
    told = ("warmup takes 7 steps", "the run has 6", "--warmup 0.1")
    refused(tfft_cli, tmp_path, *arguments, told=told)
    outcome = tfft_cli("fit", *arguments, "--dry-run")
    assert outcome.code == 1
    assert all(each in outcome.err for each in told)


def test_more_layers_to_freeze_than_there_are(
    tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    outcome = tfft_cli(
        "fit", "--data", good, "--model", tiny, "--freeze", "layers:3", "--output", output
    )
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "error: freeze layers:3: this bert has 2 layers"
    assert not output.exists()
    assert not output.with_name("out.partial").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--batch-size", 10, "--accumulate", 4), ("batch_size 10", "accumulate 4")),
        (("--freeze", "layers:none"), ("freeze must be", "'layers:none'")),
        (("--label-smoothing", 0.1, "--loss", "hinge"), ("label_smoothing", "--loss")),
        (("--warmup", 1.5), ("warmup must be a whole number of steps",)),
    ],
)
def test_a_recipe_that_contradicts_itself_is_a_usage_error(
    tfft_cli: CLI, tmp_path: Path, options: tuple[object, ...], told: tuple[str, ...]
) -> None:
    outcome = tfft_cli("fit", "--data", tmp_path / "nope.csv", *options)
    assert outcome.code == 2
    line = outcome.err.strip().splitlines()[-1]
    assert all(each in line for each in told)


def test_a_label_that_train_lacks(tfft_cli: CLI, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    csv_file(folder / "train.csv", "text,label", *GOOD)
    csv_file(folder / "validation.csv", "text,label", "a,1", "b,2")
    arguments = ("--data", folder, "--model", tiny)
    refused(tfft_cli, tmp_path, *arguments, told=("validation", "'2'", "row 1", "0, 1"))


def test_drop_missing_goes_on_without_them(tfft_cli: CLI, tiny: Path, tmp_path: Path) -> None:
    data = csv_file(tmp_path / "d.csv", "text,label", *GOOD, "a,", ",1")
    outcome = tfft_cli(
        "fit", "--data", data, "--model", tiny, "--output", tmp_path / "out",
        "--drop-missing", "--epochs", 1, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["train"]["n_examples"] == 18
    assert "left out" in outcome.err


def test_a_head_of_another_size(tfft_cli: CLI, run: Path, tmp_path: Path) -> None:
    three = [f"text {number},{number % 3}" for number in range(30)]
    data = csv_file(tmp_path / "three.csv", "text,label", *three)
    arguments = ("--data", data, "--model", run)
    refused(tfft_cli, tmp_path, *arguments, told=("number of labels", "--reset-head"))


def break_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def make_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lose_tokenizer(folder: Path) -> None:
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


CHECKPOINT_MISTAKES: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "not a text model": (
        lambda folder: break_config(folder, model_type="vit"),
        ("vit", "TFAutoModelForSequenceClassification"),
    ),
    "a model_type nobody knows": (
        lambda folder: break_config(folder, model_type="brrt"),
        ("config.json",),
    ),
    "a corrupt safetensors file": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"garbage" * 40),
        ("corrupt safetensors",),
    ),
    "a pickle": (make_pickle, ("pickle", "pytorch_model.bin", "safe_serialization")),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), ("no weights",)),
    "no tokenizer": (lose_tokenizer, ("tokenizer",)),
    "no config": (lambda folder: (folder / "config.json").unlink(), ("config.json",)),
}


@pytest.mark.parametrize("mistake", CHECKPOINT_MISTAKES)
def test_checkpoint_mistakes(
    mistake: str, tfft_cli: CLI, good: Path, own_tiny: Path, tmp_path: Path
) -> None:
    spoil, told = CHECKPOINT_MISTAKES[mistake]
    spoil(own_tiny)
    refused(tfft_cli, tmp_path, "--data", good, "--model", own_tiny, told=told)


def test_a_checkpoint_folder_that_is_not_there(tfft_cli: CLI, good: Path, tmp_path: Path) -> None:
    arguments = ("--data", good, "--model", tmp_path / "nope")
    refused(tfft_cli, tmp_path, *arguments, told=("nope", "no such folder"))


def test_more_tokens_than_positions(tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path) -> None:
    arguments = ("--data", good, "--model", tiny, "--max-length", 65)
    refused(tfft_cli, tmp_path, *arguments, told=("65", "64 positions"))


def test_an_output_that_exists(tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    arguments = ("--data", good, "--model", tiny)
    refused(tfft_cli, tmp_path, *arguments, told=("exists", "--overwrite"))
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_an_output_that_cannot_be_made(
    tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    outcome = tfft_cli(
        "fit", "--data", good, "--model", tiny, "--output", tmp_path / "file" / "out"
    )
    assert outcome.code == 1
    assert len(outcome.err.strip().splitlines()) == 1
    assert "can't be made" in outcome.err


def test_a_disk_without_room_is_refused_before_training(
    tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("tfft.folders.shutil.disk_usage", lambda path: Usage)
    arguments = ("--data", good, "--model", tiny)
    refused(tfft_cli, tmp_path, *arguments, told=("MiB free",))


@pytest.mark.parametrize("most_bytes", [100, 5_000, 30_000], ids=["config", "tokenizer", "weights"])
def test_a_disk_that_fills_up_on_the_way(
    most_bytes: int, tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path
) -> None:
    """The kernel itself refuses what goes beyond so many bytes a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    output = tmp_path / "out"
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        outcome = tfft_cli(
            "fit", "--data", good, "--model", tiny, "--epochs", 1, "--output", output
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.code == 1
    assert outcome.err.strip().splitlines()[-1].startswith("error: File too large")
    assert not output.exists()
    assert not (tmp_path / "out.partial").exists()


TOML_MISTAKES = {
    "an unknown key": ("[train]\nepohcs = 1\n", ("epohcs", "did you mean 'epochs'")),
    "an unknown section": ("[trian]\nepochs = 1\n", ("trian", "did you mean 'train'")),
    "a wrong type": ("[train]\nepochs = 'three'\n", ("epochs", "whole number", "'three'")),
    "out of range": ("[train]\nepochs = 0\n", ("epochs", "at least 1")),
    "a contradiction": ("[train]\nweight_decay = 0.1\n", ("weight_decay", "adamw")),
    "no TOML": ("epochs: 3\n", ("not TOML",)),
}


@pytest.mark.parametrize("mistake", TOML_MISTAKES)
def test_toml_mistakes_are_no_usage_errors(
    mistake: str, tfft_cli: CLI, good: Path, tmp_path: Path
) -> None:
    text, told = TOML_MISTAKES[mistake]
    (tmp_path / "run.toml").write_text(text)
    arguments = ("--data", good, "--config", tmp_path / "run.toml")
    refused(tfft_cli, tmp_path, *arguments, told=("run.toml", *told))


USAGE_ERRORS = [
    ["fit", "--data", "x", "--epochs", "0"],
    ["fit", "--data", "x", "--epochs", "three"],
    ["fit", "--data", "x", "--batch-size", "-1"],
    ["fit", "--data", "x", "--learning-rate", "0"],
    ["fit", "--data", "x", "--learning-rate", "nan"],
    ["fit", "--data", "x", "--loader", "quick"],
    ["fit", "--data", "x", "--optimizer", "sgd"],
    ["fit", "--data", "x", "--weight-decay", "0.1"],
    ["fit", "--data", "x", "--beta-1", "1.0"],
    ["fit", "--data", "x", "--set", "train.epohcs=1"],
    ["fit", "--data", "x", "--set", "train.epochs=many"],
    ["fit", "--data", "x", "--set", "epochs"],
    ["fit", "--data", "x", "--text-column", "a", "--label-column", "a"],
    ["fit", "--data", "x", *["--text-column", "a"] * 2],
    ["fit", "--data", "x", *["--text-column", "a", "--text-column", "b", "--text-column", "c"]],
    ["fit", "--data", "x", "--validation-split", "train"],
    ["fit", "--data", "x", "--metric-for-best", "beauty"],
    ["fit", "--data", "x", "--patience", "0"],
    ["fit", "--data", "x", "--max-length", "1"],
    ["fit", "--data", "x", "--limit-train", "0"],
    ["fit", "--data", "x", "--seed", "-1"],
    ["fit", "--data", "x", "--no-such-flag"],
    ["fit"],
    ["evaluate"],
    ["evaluate", "dir"],
    ["predict", "dir", "--data", "x"],
    ["predict", "dir", "--data", "x", "--output", "predictions.pdf"],
    ["nonsense"],
]


def test_usage_errors_exit_with_2_before_tensorflow_wakes() -> None:
    """One process for them all: each must leave TensorFlow asleep."""
    code = """
import contextlib, io, json, sys
from tfft.cli import main
for arguments in json.loads(sys.argv[1]):
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([arguments, code, "tensorflow" in sys.modules, error.getvalue()]))
"""
    for line in python(code, json.dumps(USAGE_ERRORS)).splitlines():
        arguments, code, woke, error = json.loads(line)
        assert code == 2, (arguments, code, error)
        assert not woke, arguments
        assert "Error: " in error
        assert "Traceback" not in error


def test_missing_files_wake_no_tensorflow(tmp_path: Path) -> None:
    code = """
import sys
from tfft.cli import main
try:
    main(["fit", "--data", sys.argv[1], "--output", sys.argv[2]])
except SystemExit as stop:
    print(stop.code, "tensorflow" in sys.modules, "datasets" in sys.modules)
"""
    out = python(code, str(tmp_path / "nope.csv"), str(tmp_path / "out"))
    assert out.split() == ["1", "False", "False"]


def test_a_rate_that_explodes_is_stopped_and_names_rows(
    tfft_cli: CLI, good: Path, tiny: Path, tmp_path: Path
) -> None:
    outcome = tfft_cli(
        "fit", "--data", good, "--model", tiny, "--output", tmp_path / "out",
        "--learning-rate", "1e38", "--batch-size", 4,
    )  # fmt: skip
    assert outcome.code == 1
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("error: the loss is ")
    assert "rows" in last
    assert not (tmp_path / "out.partial").exists()


def test_debug_shows_the_traceback(tfft_cli: CLI, tmp_path: Path) -> None:
    from tfft.errors import DataError

    with pytest.raises(DataError):
        tfft_cli("fit", "--data", tmp_path / "nope.csv", "--output", tmp_path / "out", "--debug")


def test_evaluating_a_checkpoint_without_a_head_is_refused(
    tfft_cli: CLI, good: Path, tiny: Path
) -> None:
    outcome = tfft_cli("evaluate", tiny, "--data", good)
    assert outcome.code == 1
    assert "no trained head" in outcome.err


def test_labels_that_a_model_has_not_learned_are_refused(
    tfft_cli: CLI, run: Path, tmp_path: Path
) -> None:
    data = csv_file(tmp_path / "d.csv", "text,label", "a,good", "b,bad")
    outcome = tfft_cli("evaluate", run, "--data", data)
    assert outcome.code == 1
    assert "'good'" in outcome.err
    assert "0, 1" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
