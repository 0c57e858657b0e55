"""The plan before a run: what it counts is what the run then does, and TensorFlow sleeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import write_csv, write_jsonl
from tiny import python, sentence

import tfft

CLI = Callable[..., Any]
LOADERS = ("numpy", "to_tf", "prepare")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """20 rows of labels a (10), b (5), a and b (0) to learn, 8 rows of a (6), b (4) to score."""
    folder = tmp_path / "sets"
    folder.mkdir()
    labels = [["a"], ["b"], ["a"], []] * 5
    write_jsonl(
        folder / "train.jsonl",
        ({"text": sentence(n)[0], "labels": each} for n, each in enumerate(labels)),
    )
    labels = [["a"], ["a", "b"], ["a"], ["b"]] * 2
    write_jsonl(
        folder / "validation.jsonl",
        ({"text": sentence(n)[0], "labels": each} for n, each in enumerate(labels)),
    )
    return folder


def test_a_dry_run_wakes_no_tensorflow_and_leaves_nothing(
    reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    code = """
import os, sys
from tfft.cli import main
os.chdir(sys.argv[1])
for more in ([], ["--json"]):
    try:
        main(["fit", "--data", sys.argv[2], "--model", sys.argv[3], "--dry-run", *more])
    except SystemExit as stop:
        assert not stop.code, stop.code
assert "tensorflow" not in sys.modules and "torch" not in sys.modules
"""
    out = python(code, str(tmp_path), str(reviews), str(tiny))
    table, _, document = out.partition("\n{\n")
    assert "a constant guess" in table
    assert json.loads("{\n" + document)["task"] == "single_label"
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_classes_is_as_counted_by_hand(reviews: Path, tiny: Path) -> None:
    plan = tfft.plan(data=str(reviews), model=str(tiny), batch_size=8, epochs=2)
    assert plan.labels == {
        "0": {"train": 15, "validation": 7},
        "1": {"train": 30, "validation": 14},
    }
    assert plan.n_examples == {"train": 45, "validation": 21}
    # Always "1": 14 of 21 right; f1 = 2*14 / (2*14 + 7).
    assert plan.constant == pytest.approx(
        {"prediction": "1", "accuracy": 14 / 21, "f1": 28 / 35, "matthews_correlation": 0.0}
    )
    assert plan.n_steps == 2 * 6
    assert json.loads(json.dumps(plan.to_json())) == {
        **plan.to_json(),
        "text_columns": ["text"],
        "label_columns": ["label"],
        "notes": list(plan.notes),
    }


def test_the_plan_of_sets_is_as_counted_by_hand(sets: Path, tiny: Path) -> None:
    plan = tfft.plan(data=str(sets), model=str(tiny))
    assert plan.task == "multi_label"
    assert plan.labels == {
        "a": {"train": 10, "validation": 6},
        "b": {"train": 5, "validation": 4},
    }
    # Always a: 6 right, 2 wrong, 4 missed; of a alone 2*6 / (2*6 + 2), of b none.
    constant = dict(plan.constant)
    assert constant.pop("prediction") == ["a"]
    assert constant == pytest.approx({"f1": 12 / 18, "f1_macro": 12 / 14 / 2, "accuracy": 4 / 8})


def test_a_constant_guess_does_not_depend_on_the_threshold(sets: Path, tiny: Path) -> None:
    plan = tfft.plan(data=str(sets), model=str(tiny), threshold=0.99999)
    assert plan.constant["accuracy"] == 0.5


def test_the_constant_guess_of_numbers_is_their_mean(tiny: Path, tmp_path: Path) -> None:
    for name in ("train", "validation"):
        table = [{"text": sentence(n)[0], "score": n / 4} for n in range(9)]
        write_csv(tmp_path / f"{name}.csv", table)
    plan = tfft.plan(data=str(tmp_path), model=str(tiny))
    assert plan.task == "regression"
    assert plan.labels == {}
    assert plan.constant == {"prediction": 1.0, "pearson": 0.0, "spearman": 0.0}


def test_a_class_that_a_split_lacks_counts_0_there(tiny: Path, tmp_path: Path) -> None:
    table = [{"text": sentence(n)[0], "label": "abc"[n % 3]} for n in range(9)]
    write_csv(tmp_path / "train.csv", table)
    write_csv(tmp_path / "validation.csv", [row for row in table if row["label"] == "a"])
    plan = tfft.plan(data=str(tmp_path), model=str(tiny))
    assert plan.labels["c"] == {"train": 3, "validation": 0}
    assert plan.constant["f1_macro"] == pytest.approx(1 / 3)


def test_labels_that_are_whole_texts_are_shown_by_their_beginnings(
    tiny: Path, tmp_path: Path, tfft_cli: CLI
) -> None:
    labels = [f"{letter} first line\nand {'so on ' * 200}" for letter in "ab"]
    table = [{"text": sentence(n)[0], "label": labels[n % 2]} for n in range(20)]
    data = write_jsonl(tmp_path / "d.jsonl", table)
    outcome = tfft_cli("fit", "--data", data, "--model", tiny, "--dry-run")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) < 300
    columns, held_out = outcome.err.splitlines()
    assert "2 classes: a first line and so on" in columns
    assert len(columns) < 500
    assert held_out.startswith("validation: ")


@pytest.mark.parametrize("loader", LOADERS)
def test_the_plan_is_what_the_splits_then_are(loader: str, reviews: Path, tiny: Path) -> None:
    options = {"data": str(reviews), "loader": loader, "batch_size": 8, "max_length": 12}
    plan = tfft.plan(model=str(tiny), **options)
    model = tfft.build_model(str(tiny)) if loader == "prepare" else None
    train, validation = tfft.load_data(tokenizer=str(tiny), model=model, **options)
    assert plan.loader == train.loader == loader
    assert plan.n_steps == 3 * train.n_steps
    assert plan.padding_fraction == pytest.approx(train.padding_fraction, abs=1e-12)
    assert plan.n_examples == {"train": train.n_examples, "validation": validation.n_examples}
    longest = max(features["input_ids"].shape[1] for features, _ in train.epoch(0))
    assert longest == 12
    assert plan.lengths["1"] > 12


def test_the_texts_that_are_cut_are_those_the_fit_cuts(reviews: Path, tiny: Path) -> None:
    from tfft.config import DataConfig
    from tfft.data.encode import encode
    from tfft.data.examples import load_training
    from tfft.pretrained import load_tokenizer, open_checkpoint
    from tfft.tasks import TASKS

    plan = tfft.plan(data=str(reviews), model=str(tiny), max_length=8)
    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))
    splits = load_training(DataConfig(source=str(reviews)), seed=42).splits
    encoded = {name: encode(rows, tokenizer, max_length=8) for name, rows in splits.items()}
    assert plan.n_cut == {name: each.n_cut for name, each in encoded.items()}
    assert plan.n_cut["train"] > 0


def test_the_plan_agrees_with_the_run(run: Path, reviews: Path, tiny: Path) -> None:
    plan = tfft.plan(config=run / "run.toml")
    metrics = json.loads((run / "metrics.json").read_text())
    assert plan.n_steps == metrics["train"]["n_steps"]
    assert plan.padding_fraction == metrics["train"]["padding_fraction"]
    assert plan.n_examples["train"] == metrics["train"]["n_examples"]
    assert plan.n_examples["validation"] == metrics["validation"]["n_examples"]
    assert plan.metric_for_best == "accuracy"


def test_more_texts_a_step_need_more_memory(reviews: Path, tiny: Path) -> None:
    small, large = (
        tfft.plan(data=str(reviews), model=str(tiny), batch_size=size).memory_bytes
        for size in (4, 16)
    )
    assert 0 < small < large


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("empty", "the file is empty"),
        ("one class", "one class only"),
        ("no label", "which column holds the label?"),
        ("missing", "lack a text in 'text'"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_dry_run_of_broken_data_is_one_line_and_exit_1(
    mistake: str, told: str, more: tuple[str, ...], tfft_cli: CLI, tiny: Path, tmp_path: Path
) -> None:
    tables: dict[str, Any] = {
        "one class": [{"text": f"text {n}", "label": 1} for n in range(9)],
        "no label": [{"text": f"text {n}"} for n in range(9)],
        "missing": [{"text": "" if n == 4 else f"text {n}", "label": n % 2} for n in range(9)],
    }
    folder = tmp_path / "data"
    folder.mkdir()
    if mistake == "empty":
        (folder / "train.csv").touch()
    else:
        write_csv(folder / "train.csv", tables[mistake])
    done = tfft_cli("fit", "--data", folder, "--model", tiny, "--dry-run", *more)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    assert told in done.err


def test_a_plan_refuses_what_the_fit_refuses(reviews: Path, tiny: Path, tfft_cli: CLI) -> None:
    common = ("fit", "--data", reviews, "--model", tiny, "--dry-run")
    for more, code, told in (
        (("--class-weight", "maybe=2"), 1, "names 'maybe'"),
        (("--threshold", "0.4"), 1, "threshold is for task multi_label"),
        (("--metric-for-best", "f1_macro"), 1, "f1_macro is not reported with 2 labels"),
        (("--max-length", "100"), 1, "beyond the model's 64 positions"),
    ):
        done = tfft_cli(*common, *more)
        assert (done.code, done.out) == (code, "")
        assert told in done.err


def test_the_tables_name_every_label_and_split(sets: Path, tiny: Path, tfft_cli: CLI) -> None:
    done = tfft_cli("fit", "--data", sets, "--model", tiny, "--dry-run")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["id", "label", "train", "validation"] in lines
    assert ["0", "a", "10", "6"] in lines
    assert ["1", "b", "5", "4"] in lines
