"""The verbs from end to end, on a tiny model: what they leave, and that it says the same again."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import pytest
from tiny import python, sentence

import tfft
from tfft.config import LOADERS

SAME_RUN = 1e-6  # one seed on one machine: all that may differ is the order of a sum


def figures(path: Path) -> dict[str, float]:
    return json.loads((path / "metrics.json").read_text())["validation"]


def test_a_run_leaves_the_contracted_files(run: Path) -> None:
    assert {each.name for each in run.iterdir()} == {
        "model",
        "metrics.json",
        "history.json",
        "run.toml",
        "manifest.json",
    }
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        each.name for each in (run / "model").iterdir()
    }


def test_metrics_and_history_have_the_contracted_keys(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics) == ["task", "data", "model", "validation", "train", "best_epoch"]
    assert {"loss", "accuracy", "n_examples"} <= metrics["validation"].keys()
    assert metrics["train"].keys() == {
        "loss",
        "n_examples",
        "n_steps",
        "examples_per_s",
        "padding_fraction",
        "seconds",
    }
    assert metrics["train"]["n_examples"] == 45
    assert metrics["train"]["n_steps"] == 2 * 6  # 45 rows in batches of 8: the ragged one counts
    assert metrics["validation"]["n_examples"] == 21
    history = json.loads((run / "history.json").read_text())
    assert [each["epoch"] for each in history] == [1, 2]
    assert {"loss", "validation_loss", "learning_rate", "accuracy", "seconds"} <= history[0].keys()
    best = history[metrics["best_epoch"] - 1]
    assert best["validation_loss"] == metrics["validation"]["loss"]


def test_the_manifest_tells_what_a_figure_depends_on(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["packages"]["transformers"].startswith("4.")
    assert manifest["data"]["n_train"] == 45
    assert manifest["label_names"] == ["0", "1"]
    assert len(manifest["checkpoint"]["sha256"]) == 64
    assert manifest["seed"] == 42


def test_run_toml_gives_the_same_figures_again(run: Path, tmp_path: Path) -> None:
    again = tfft.fit(config=run / "run.toml", output=tmp_path / "again")
    assert dict(again.validation) == pytest.approx(figures(run), abs=SAME_RUN)


def test_run_toml_holds_what_was_found_and_no_output(run: Path) -> None:
    resolved = tomllib.loads((run / "run.toml").read_text())
    assert resolved["data"]["text_column"] == ["text"]
    assert resolved["data"]["loader"] in ("numpy", "bucketed")
    assert resolved["data"]["max_length"] == 64
    assert "output" not in json.dumps(resolved)


def test_another_seed_gives_other_figures(run: Path, tmp_path: Path) -> None:
    other = tfft.fit(config=run / "run.toml", output=tmp_path / "other", seed=7)
    assert other.validation["loss"] != pytest.approx(figures(run)["loss"], abs=1e-4)


def test_evaluate_gives_the_run_s_own_figures(run: Path, reviews: Path) -> None:
    again = tfft.evaluate(run, data=str(reviews))
    assert dict(again.figures) == pytest.approx(figures(run), abs=SAME_RUN)


@pytest.mark.parametrize("loader", LOADERS)
def test_evaluate_gives_the_same_through_every_loader(
    run: Path, reviews: Path, loader: str
) -> None:
    again = tfft.evaluate(run, data=str(reviews), loader=loader, batch_size=5)
    assert dict(again.figures) == pytest.approx(figures(run), abs=1e-5)


def test_an_unlabelled_split_is_predicted_in_input_order(
    run: Path, reviews: Path, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.csv"
    result = tfft.predict(run, data=str(reviews), output=output)
    rows = list(csv.DictReader(output.open()))
    assert result.split == "test"
    assert [row["id"] for row in rows] == [str(number + 7) for number in range(200, 209)]
    assert list(rows[0]) == ["id", "prediction", "score", "probability_0", "probability_1"]
    for row in rows:
        chosen = max(("0", "1"), key=lambda name: float(row[f"probability_{name}"]))
        assert row["prediction"] == chosen
        assert float(row["score"]) == float(row[f"probability_{chosen}"])
        assert float(row["probability_0"]) + float(row["probability_1"]) == pytest.approx(1.0)


def test_an_unlabelled_split_is_never_scored(run: Path, reviews: Path) -> None:
    with pytest.raises(tfft.DataError, match=r"no row has a label.*tfft predict"):
        tfft.evaluate(run, data=str(reviews), split="test")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_predictions_are_written_as_their_ending_says(
    run: Path, tmp_path: Path, ending: str
) -> None:
    import pandas as pd

    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "".join(f"{sentence(each)[0]}\n" for each in range(3)))
    output = tmp_path / f"predictions.{ending}"
    tfft.predict(run, data=str(texts), output=output)
    frame = {
        "csv": pd.read_csv,
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "json": pd.read_json,
        "parquet": pd.read_parquet,
    }[ending](output)
    assert list(frame["id"]) == [0, 1, 2]
    assert list(frame.columns)[:3] == ["id", "prediction", "score"]


def test_a_file_of_predictions_is_not_replaced_unasked(
    run: Path, reviews: Path, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.csv"
    output.write_text("mine")
    with pytest.raises(tfft.ConfigError, match="exists"):
        tfft.predict(run, data=str(reviews), output=output)
    assert output.read_text() == "mine"
    tfft.predict(run, data=str(reviews), output=output, overwrite=True)
    assert output.read_text() != "mine"


def test_both_frameworks_load_the_model_and_predict_the_same(
    run: Path, reviews: Path, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.jsonl"
    tfft.predict(run, data=str(reviews), split="validation", output=output)
    ours = [json.loads(line)["probability_1"] for line in output.open()]
    code = """
import json, sys
from transformers import AutoTokenizer, {auto} as Auto
folder, data = sys.argv[1:]
model, info = Auto.from_pretrained(folder, output_loading_info=True)
assert not any(info[key] for key in ("missing_keys", "unexpected_keys")), info
texts = [json.loads(line)["text"] for line in open(data)]
tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="{tensors}")
logits = model(**tokens).logits
print(json.dumps({softmax}[:, 1].tolist()))
"""
    torch = code.format(
        auto="AutoModelForSequenceClassification", tensors="pt", softmax="logits.softmax(-1)"
    )
    tensorflow = "import os; os.environ['TF_USE_LEGACY_KERAS'] = '1'\n" + code.format(
        auto="TFAutoModelForSequenceClassification",
        tensors="tf",
        softmax="__import__('tensorflow').nn.softmax(logits).numpy()",
    )
    arguments = (str(run / "model"), str(reviews / "validation.jsonl"))
    # 1e-5: float32 sums in another order.
    assert json.loads(python(torch, *arguments, torch=True)) == pytest.approx(ours, abs=1e-5)
    assert json.loads(python(tensorflow, *arguments)) == pytest.approx(ours, abs=1e-5)


def test_a_single_file_holds_out_a_tenth_and_evaluate_finds_it_again(
    reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    data = str(reviews / "train.csv")
    result = tfft.fit(data=data, model=str(tiny), output=tmp_path / "run", epochs=1)
    assert result.validation["n_examples"] in (4, 5)
    assert result.train["n_examples"] + result.validation["n_examples"] == 45
    again = tfft.evaluate(tmp_path / "run", data=data)
    assert dict(again.figures) == pytest.approx(dict(result.validation), abs=SAME_RUN)


def test_a_file_the_model_never_saw_is_evaluated_whole(
    run: Path, reviews: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "other.jsonl"
    copy.write_text((reviews / "validation.jsonl").read_text())
    assert tfft.evaluate(run, data=str(copy)).figures["n_examples"] == 21


def test_pairs_are_learned(tiny: Path, tmp_path: Path) -> None:
    rows = [
        {"sentence1": sentence(n)[0], "sentence2": "it was good", "label": n % 2} for n in range(24)
    ]
    data = tmp_path / "pairs.json"
    data.write_text(json.dumps(rows))
    result = tfft.fit(data=str(data), model=str(tiny), output=tmp_path / "run", epochs=1)
    assert {"accuracy", "f1"} <= result.validation.keys()


def test_a_user_s_own_loss_is_the_one_that_is_learned(
    reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    from tfft.backend import keras, tf

    class Constant(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return 7.0 + 0.0 * tf.reduce_sum(y_pred, axis=-1)

    result = tfft.fit(
        data=str(reviews), model=str(tiny), output=tmp_path / "run", epochs=1, loss=Constant()
    )
    assert result.validation["loss"] == pytest.approx(7.0)
    assert "Constant, from Python" in (tmp_path / "run" / "run.toml").read_text()


def test_a_loss_of_one_s_own_is_not_smoothed(reviews: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(tfft.ConfigError, match="label_smoothing goes with the task's own loss"):
        tfft.fit(
            data=str(reviews),
            model=str(tiny),
            output=tmp_path / "run",
            loss=lambda labels, logits: logits[:, 0],
            label_smoothing=0.1,
        )


def test_smoothing_is_of_the_training_loss_alone(
    run: Path, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    smoothed = tfft.fit(
        config=run / "run.toml", output=tmp_path / "run", epochs=1, label_smoothing=0.9
    )
    # Nearly even labels: what is learned is to say nothing.
    plain = json.loads((run / "history.json").read_text())[0]
    # The same rows, head and dropout: without smoothing it would be the same loss.
    assert smoothed.history[0].loss != pytest.approx(plain["loss"], rel=1e-4)
    again = tfft.evaluate(tmp_path / "run", data=str(reviews))
    assert dict(again.figures) == pytest.approx(dict(smoothed.validation), abs=SAME_RUN)


@pytest.mark.parametrize(
    "options",
    [{"ema": 0.9}, {"accumulate": 2}, {"precision": "bfloat16"}, {"schedule": "linear"}],
    ids=str,
)
def test_keras_own_fit_is_given_nothing_that_it_would_ignore(
    tiny: Path, options: dict[str, object]
) -> None:
    with pytest.raises(tfft.ConfigError, match=f"{next(iter(options))} is for tfft.fit"):
        tfft.build_model(str(tiny), **options)


def test_an_optimizer_of_one_s_own_takes_no_numbers_of_ours(tiny: Path) -> None:
    from tfft.backend import keras

    with pytest.raises(tfft.ConfigError, match="clip_norm goes with tfft's optimizers"):
        tfft.build_model(str(tiny), optimizer=keras.optimizers.SGD(), clip_norm=1.0)


def test_a_user_s_own_collate_fn_makes_the_batches(
    reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    import numpy as np

    widths = set()

    def collate(rows):
        batch = {name: np.zeros((len(rows), 50), np.int64) for name in rows[0] if name != "labels"}
        for place, row in enumerate(rows):
            for name in batch:
                batch[name][place, : len(row[name])] = row[name]
        widths.add(batch["input_ids"].shape[1])
        return batch | {"labels": np.asarray([row["labels"] for row in rows])}

    result = tfft.fit(
        data=str(reviews), model=str(tiny), output=tmp_path / "run", epochs=1, collate_fn=collate
    )
    assert widths == {50}
    assert result.train["padding_fraction"] > 0.5


def test_overwrite_replaces_a_run_and_nothing_else(
    run: Path, reviews: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(tfft.ConfigError, match="isn't a folder that tfft wrote"):
        tfft.fit(config=run / "run.toml", output=precious, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_unknown_options_are_refused_with_the_nearest() -> None:
    with pytest.raises(tfft.ConfigError, match="did you mean 'epochs'"):
        tfft.fit(data="x", epoch=3)
