"""Each task from end to end on a tiny model: learned, scored, predicted, and loaded elsewhere."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import one_line, write_csv, write_jsonl
from safetensors.numpy import load_file, save_file
from tiny import python, sentence

import tfft
from tfft.errors import ModelError, TfftError

CLI = Callable[..., Any]
SAME_RUN = 1e-6  # one seed on one machine: all that may differ is the order of a sum
NAMES = ("even", "third")


def table(task: str, numbers: range) -> list[dict[str, Any]]:
    def label(n: int) -> Any:
        if task == "regression":
            return n % 7 / 2
        return [NAMES[0]] * (n % 2 == 0) + [NAMES[1]] * (n % 3 == 0)

    return [{"id": f"n{n}", "text": sentence(n)[0], "label": label(n)} for n in numbers]


def write_data(folder: Path, task: str) -> Path:
    """21 rows to learn, 9 to score, 5 to predict."""
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", table(task, range(21)))
    write_jsonl(folder / "validation.jsonl", table(task, range(100, 109)))
    unlabelled = [{"id": row["id"], "text": row["text"]} for row in table(task, range(200, 205))]
    write_jsonl(folder / "test.jsonl", unlabelled)
    return folder


OPTIONS: dict[str, dict[str, Any]] = {
    "multi_label": {"threshold": 0.4, "class_weight": {"even": 2, "third": 0.5}},
    "regression": {},
}
METRICS = {"multi_label": {"f1", "f1_macro", "accuracy"}, "regression": {"pearson", "spearman"}}
TASKS_TRIED = tuple(OPTIONS)


@pytest.fixture(scope="module")
def undropped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint without dropout, which falls elsewhere where texts are padded otherwise."""
    folder = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("checkpoints") / "undropped"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def fitted(
    undropped: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """Each task's data and its run."""
    folder = tmp_path_factory.mktemp("tasks")
    made = {}
    for task, options in OPTIONS.items():
        data, run = write_data(folder / f"{task}.d", task), folder / task
        tfft.fit(
            data=str(data),
            model=str(undropped),
            output=run,
            epochs=1,
            batch_size=8,
            learning_rate=3e-3,
            loader="numpy",
            **options,
        )
        made[task] = data, run
    return made


def metrics_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "metrics.json").read_text()))


@pytest.mark.parametrize("task", TASKS_TRIED)
def test_a_run_reports_its_task_and_the_task_s_metrics(task: str, fitted: Any) -> None:
    _, run = fitted[task]
    metrics = metrics_of(run)
    assert metrics["task"] == task
    assert metrics["validation"].keys() == {"loss", "n_examples"} | METRICS[task]
    resolved = tomllib.loads((run / "run.toml").read_text())
    assert resolved["data"]["task"] == task
    assert resolved["train"]["metric_for_best"] == {"multi_label": "f1"}.get(task, "pearson")
    assert resolved["model"].get("threshold") == OPTIONS[task].get("threshold")


@pytest.mark.parametrize("task", TASKS_TRIED)
def test_the_saved_config_says_which_task_it_is(task: str, fitted: Any) -> None:
    config = json.loads((fitted[task][1] / "model" / "config.json").read_text())
    problems = {"multi_label": "multi_label_classification", "regression": "regression"}
    names = {"multi_label": {"0": "even", "1": "third"}, "regression": {"0": "label"}}
    assert config["problem_type"] == problems[task]
    assert config["id2label"] == names[task]


@pytest.mark.parametrize(
    ("task", "loader"),
    [("multi_label", "prepare"), ("multi_label", "to_tf"), ("regression", "prepare")],
)
def test_the_same_run_through_another_loader_gives_the_same(
    task: str, loader: str, fitted: Any, tmp_path: Path
) -> None:
    """`run.toml` again, and padded in another way."""
    _, run = fitted[task]
    again = tfft.fit(config=run / "run.toml", output=tmp_path / "again", loader=loader)
    assert again.to_json()["train"]["n_steps"] == metrics_of(run)["train"]["n_steps"]
    # 1e-4: other padding sums attention in another order, and Adam at 3e-3 enlarges it.
    assert dict(again.validation) == pytest.approx(metrics_of(run)["validation"], abs=1e-4)


def test_run_toml_gives_the_same_figures_again(fitted: Any, tmp_path: Path) -> None:
    _, run = fitted["regression"]
    again = tfft.fit(config=run / "run.toml", output=tmp_path / "again")
    assert dict(again.validation) == pytest.approx(metrics_of(run)["validation"], abs=SAME_RUN)


@pytest.mark.parametrize("task", TASKS_TRIED)
def test_evaluate_gives_the_run_s_own_figures(task: str, fitted: Any, tfft_cli: CLI) -> None:
    data, run = fitted[task]
    done = tfft_cli("evaluate", run, "--data", data, "--json")
    assert done.code == 0
    figures = json.loads(done.out)["validation"]
    assert figures == pytest.approx(metrics_of(run)["validation"], abs=SAME_RUN)


def predict(tfft_cli: CLI, run: Path, data: Path, output: Path, *more: Any) -> list[Any]:
    done = tfft_cli("predict", run, "--data", data, "--output", output, *more)
    assert done.code == 0, done.err
    return [json.loads(line) for line in output.open()]


def test_labels_are_given_from_the_run_s_threshold_on_unless_told_otherwise(
    fitted: Any, tfft_cli: CLI, tmp_path: Path
) -> None:
    data, run = fitted["multi_label"]
    for more, threshold in (((), 0.4), (("--threshold", "0.9"), 0.9)):
        rows = predict(tfft_cli, run, data, tmp_path / f"{threshold}.jsonl", *more)
        assert [row["id"] for row in rows] == [f"n{n}" for n in range(200, 205)]
        for row in rows:
            chances = {name: row[f"probability_{name}"] for name in NAMES}
            given = [name for name, chance in chances.items() if chance >= threshold]
            assert row["prediction"] == given
            assert row["score"] == max(chances.values())


def test_a_number_is_predicted_and_pytorch_predicts_the_same(
    fitted: Any, tfft_cli: CLI, tmp_path: Path
) -> None:
    data, run = fitted["regression"]
    rows = predict(tfft_cli, run, data, tmp_path / "predictions.jsonl")
    assert [row.keys() for row in rows] == [{"id", "prediction", "score"}] * 5
    # 1e-5: float32 sums in another order.
    theirs = [logits[0] for logits in in_pytorch(run, data)]
    assert [row["prediction"] for row in rows] == pytest.approx(theirs, abs=1e-5)


def in_pytorch(run: Path, data: Path) -> list[list[float]]:
    code = """
import json, sys
from transformers import AutoTokenizer, AutoModelForSequenceClassification as Auto
folder, data = sys.argv[1:]
model, info = Auto.from_pretrained(folder, output_loading_info=True)
assert not any(info[key] for key in ("missing_keys", "unexpected_keys")), info
texts = [json.loads(line)["text"] for line in open(data)]
tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
print(json.dumps(model.eval()(**tokens).logits.tolist()))
"""
    out = python(code, str(run / "model"), str(data / "test.jsonl"), torch=True)
    return list(json.loads(out))


def test_a_threshold_is_refused_where_there_is_none(fitted: Any, tfft_cli: CLI) -> None:
    data, run = fitted["regression"]
    done = tfft_cli("evaluate", run, "--data", data, "--threshold", "0.3")
    assert done.code == 2
    assert "threshold is for task multi_label, not regression" in done.err


def test_labels_that_were_not_learned_are_refused(
    fitted: Any, tfft_cli: CLI, tmp_path: Path
) -> None:
    _, run = fitted["multi_label"]
    rows = [{"text": "good", "label": ["even"]}, {"text": "bad", "label": ["odd"]}]
    done = tfft_cli("evaluate", run, "--data", write_jsonl(tmp_path / "new.jsonl", rows))
    assert done.code == 1
    assert "label 'odd' (first in row 1) isn't one that was learned" in done.err


def test_weights_of_classes_reach_the_training_alone(
    run: Path, tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    notes: list[str] = []

    class Heard(tfft.progress.Progress):  # type: ignore[name-defined]
        def note(self, text: str) -> None:
            notes.append(text)

    weighted = tfft.fit(
        config=run / "run.toml",
        output=tmp_path / "weighted",
        epochs=1,
        learning_rate=1e-30,
        class_weight={"0": 2, "1": 2},
        progress=Heard(),
    )
    assert "class weights: 0 2, 1 2" in notes
    resolved = tomllib.loads((tmp_path / "weighted" / "run.toml").read_text())
    assert resolved["train"]["class_weight"] == "0=2,1=2"
    # A rate of nothing: train and validation rows look alike, but for the weight and dropout.
    train, validation = weighted.train["loss"], weighted.validation["loss"]
    assert train is not None
    assert train / validation == pytest.approx(2.0, rel=0.3)


@pytest.fixture(scope="module")
def mnli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, and MNLI's two validation splits."""
    folder = tmp_path_factory.mktemp("data") / "mnli"
    folder.mkdir()
    sizes = {"train": 18, "validation_matched": 9, "validation_mismatched": 7}
    for split, n_rows in sizes.items():
        pairs = [
            {"premise": f"{split} {sentence(n)[0]}", "hypothesis": "it was good", "label": n % 3}
            for n in range(n_rows)
        ]
        write_csv(folder / f"{split}.csv", pairs)
    return folder


def test_both_validation_splits_of_mnli_are_scored_and_saved(
    mnli: Path, tiny: Path, tmp_path: Path, tfft_cli: CLI
) -> None:
    run = tmp_path / "run"
    options = ("--epochs", 1, "--batch-size", 8, "--json", "--output", run)
    done = tfft_cli("fit", "--data", mnli, "--model", tiny, *options)
    assert done.code == 0, done.err
    metrics = metrics_of(run)
    assert json.loads(done.out) == metrics
    assert metrics["validation"]["n_examples"] == 9
    assert metrics["validation_mismatched"]["n_examples"] == 7
    assert metrics["validation_mismatched"].keys() == metrics["validation"].keys()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"]["n_validation_mismatched"] == 7

    done = tfft_cli("evaluate", run, "--data", mnli, "--json")
    scored = json.loads(done.out)
    for name in ("validation", "validation_mismatched"):
        assert scored[name] == pytest.approx(metrics[name], abs=SAME_RUN)

    alone = tfft.evaluate(run, data=str(mnli), split="validation_mismatched")
    assert dict(alone.more) == {}
    assert alone.split == "validation_mismatched"
    assert alone.figures["n_examples"] == 7


@pytest.fixture
def reversed_run(run: Path, tmp_path: Path) -> Path:
    """The reviews' model as somebody else saved it: Good and Bad, the good first."""
    folder = tmp_path / "reversed"
    shutil.copytree(run / "model", folder)
    weights = load_file(folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = np.ascontiguousarray(weights[name][::-1])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "Good", "1": "Bad"}
    config["label2id"] = {"Good": 0, "Bad": 1}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def named_reviews(reviews: Path, folder: Path, *names: str) -> Path:
    """The reviews' rows, their labels 0 and 1 called by name."""
    folder.mkdir()
    lines = [json.loads(line) for line in (reviews / "validation.jsonl").open()]
    rows = [{**row, "label": names[row["label"]]} for row in lines]
    write_jsonl(folder / "train.jsonl", rows)
    write_jsonl(folder / "validation.jsonl", rows)
    return folder


@pytest.mark.parametrize("names", [("Bad", "Good"), ("bad", "good")])
def test_evaluate_matches_labels_by_name_with_a_head_in_another_order(
    names: tuple[str, str],
    reversed_run: Path,
    run: Path,
    reviews: Path,
    tmp_path: Path,
    tfft_cli: CLI,
) -> None:
    data = named_reviews(reviews, tmp_path / "named", *names)
    done = tfft_cli("evaluate", reversed_run, "--data", data, "--json")
    assert done.code == 0, done.err
    figures, ours = json.loads(done.out)["validation"], metrics_of(run)["validation"]
    assert figures["accuracy"] == ours["accuracy"]
    assert figures["loss"] == pytest.approx(ours["loss"], abs=1e-5)
    if names[0] == "bad":
        assert "labels: matched by name, whatever the case" in done.err


def test_a_fit_follows_the_order_of_a_trained_head(
    reversed_run: Path, run: Path, reviews: Path, tmp_path: Path, tfft_cli: CLI
) -> None:
    data = named_reviews(reviews, tmp_path / "named", "bad", "good")
    output = tmp_path / "fit"
    options = ("--output", output, "--epochs", 1, "--learning-rate", 1e-30, "--json")
    done = tfft_cli("fit", "--data", data, "--model", reversed_run, *options)
    assert done.code == 0, done.err
    assert "labels: in the order of the checkpoint's head (Good, Bad)" in done.err
    figures, ours = json.loads(done.out)["validation"], metrics_of(run)["validation"]
    assert figures["loss"] == pytest.approx(ours["loss"], abs=1e-5)
    config = json.loads((output / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "good", "1": "bad"}


def test_names_that_no_order_explains_are_refused(
    reversed_run: Path, reviews: Path, tmp_path: Path
) -> None:
    data = named_reviews(reviews, tmp_path / "named", "bad", "superb")
    with pytest.raises(TfftError) as caught:
        tfft.evaluate(reversed_run, data=str(data))
    assert "label 'superb', 'bad' (first in row 0) isn't one" in one_line(caught)


def test_a_head_of_another_number_of_labels_is_refused_in_a_fit(
    reversed_run: Path, mnli: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"another number of labels.*--reset-head"):
        tfft.fit(data=str(mnli), model=str(reversed_run), output=tmp_path / "run", epochs=1)
