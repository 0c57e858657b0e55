"""A replica on each of two devices learns, scores and predicts as one device does.

Two logical CPU devices have to be there before TensorFlow wakes, so those runs are a child's.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_loaders import new_model, rows, split_of
from tiny import python, sentence

from tfft.data.encode import encode
from tfft.errors import ConfigError, TrainingError
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.tasks import TASKS

# Rows of train: in batches of 8 the last one has 3 rows, or a single one for two replicas.
TASKS_TRIED = {
    "single_label": {"n_train": 17, "options": {"class_weight": "0=2.5"}},
    "multi_label": {"n_train": 19, "options": {"class_weight": "balanced"}},
    "regression": {"n_train": 17, "options": {}},
    "recipe": {
        "n_train": 17,
        "options": {
            "accumulate": 2,
            "optimizer": "adamw",
            "learning_rate": 3e-4,
            "schedule": "linear",
            "warmup": 1,
            "clip_norm": 0.5,
            "ema": 0.5,
            "layer_decay": 0.9,
            "label_smoothing": 0.1,
            "freeze": "embeddings",
        },
    },
}
RUNS = """
import json, sys
from pathlib import Path
from tfft.backend import tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfft
from tfft.errors import ConfigError
folder, tried = Path(sys.argv[1]), json.loads(sys.argv[2])
for task, about in tried.items():
    for strategy in ("none", "mirrored"):
        tfft.fit(data=str(folder / f"{task}.d"), model=str(folder / "checkpoint"), epochs=1,
            batch_size=8, output=folder / f"{task}-{strategy}", strategy=strategy,
            **about["options"])
run, common = folder / "multi_label-none", {"data": str(folder / "multi_label.d")}
for strategy in ("none", "mirrored"):
    tfft.predict(run, output=folder / f"{strategy}.jsonl", split="validation", batch_size=8,
        strategy=strategy, **common)
scored = tfft.evaluate(run, strategy="mirrored", batch_size=8, **common)
figures = {"mirrored": dict(scored.figures)}
try:
    tfft.evaluate(run, strategy="mirrored", batch_size=1, **common)
except ConfigError as error:
    figures["refused"] = str(error)
try:
    tfft.fit(strategy="mirrored", batch_size=8, accumulate=8, model=str(folder / "checkpoint"),
        output=folder / "refused", **common)
except ConfigError as error:
    figures["refused parts"] = str(error)
print(json.dumps(figures))
"""


def label_of(task: str, number: int) -> Any:
    labels = {
        "single_label": int(number % 3 != 0),
        "multi_label": ["even"] * (number % 2 == 0) + ["third"] * (number % 3 == 0),
        "regression": number % 7 / 2,
        "recipe": int(number % 3 != 0),
    }
    return labels[task]


@pytest.fixture(scope="module")
def both(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with each task's run on one device and on two, and what evaluating them gave."""
    folder = tmp_path_factory.mktemp("replicas")
    checkpoint = Path(shutil.copytree(tiny, folder / "checkpoint"))
    config = json.loads((checkpoint / "config.json").read_text())
    # Each replica drops at random what it likes: without dropout they can be compared.
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (checkpoint / "config.json").write_text(json.dumps(config))
    for task, about in TASKS_TRIED.items():
        (folder / f"{task}.d").mkdir()
        for split, numbers in {
            "train": range(about["n_train"]),
            "validation": range(100, 109),
        }.items():
            lines = (
                json.dumps({"text": sentence(number)[0], "label": label_of(task, number)})
                for number in numbers
            )
            (folder / f"{task}.d" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    told = python(RUNS, str(folder), json.dumps(TASKS_TRIED), timeout_s=900)
    return folder, json.loads(told)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("task", TASKS_TRIED)
def test_two_replicas_have_the_losses_and_metrics_of_one_device(
    task: str, both: tuple[Path, Any]
) -> None:
    one, two = (read(both[0] / f"{task}-{name}", "history.json") for name in ("none", "mirrored"))
    for first, second in zip(one, two, strict=True):
        first.pop("seconds")
        second.pop("seconds")
        # 1e-5: float32 sums in another order.
        assert second == pytest.approx(first, abs=1e-5)
    assert read(both[0] / f"{task}-mirrored", "manifest.json")["n_replicas"] == 2


@pytest.mark.parametrize("task", TASKS_TRIED)
def test_two_replicas_learn_the_weights_of_one_device(task: str, both: tuple[Path, Any]) -> None:
    one, two = (
        load_file(both[0] / f"{task}-{name}" / "model" / "model.safetensors")
        for name in ("none", "mirrored")
    )
    before = load_file(both[0] / "checkpoint" / "model.safetensors")
    assert one.keys() == two.keys()
    for name, weights in one.items():
        # A key's bias adds the same to all of a row's scores: its gradient is 0 but for rounding,
        # which Adam blows up to a whole step, in any direction. 3 steps at most.
        rate = TASKS_TRIED[task]["options"].get("learning_rate", 3e-5)
        floor = 2 * 3 * rate if name.endswith("key.bias") else 1e-5
        np.testing.assert_allclose(two[name], weights, rtol=0, atol=floor, err_msg=name)
    moved = [np.abs(one[f"bert.{name}"] - weights).max() for name, weights in before.items()]
    assert max(moved) > 5e-5  # beyond the tolerance


def test_evaluation_through_two_replicas_gives_the_same(both: tuple[Path, Any]) -> None:
    folder, figures = both
    one = read(folder / "multi_label-none", "metrics.json")["validation"]
    # 1e-6: each row is computed alone, in another batch.
    assert figures["mirrored"] == pytest.approx(one, abs=1e-6)
    assert one["n_examples"] == 9


def test_prediction_through_two_replicas_gives_the_same_rows_in_order(
    both: tuple[Path, Any],
) -> None:
    one, two = (
        [json.loads(line) for line in (both[0] / f"{name}.jsonl").open()]
        for name in ("none", "mirrored")
    )
    assert len(one) == len(two) == 9
    for first, second in zip(one, two, strict=True):
        assert second.pop("prediction") == first.pop("prediction")
        assert second == pytest.approx(first, abs=1e-6)


def test_a_batch_smaller_than_the_replicas_is_refused(both: tuple[Path, Any]) -> None:
    refused = both[1]["refused"]
    assert "batch_size 1 is over all devices, and there are 2: give at least 2" in refused


def test_parts_that_do_not_come_out_even_on_every_device_are_refused(
    both: tuple[Path, dict[str, Any]],
) -> None:
    refused = both[1]["refused parts"]
    assert "batch_size 8 can't be fed in accumulate 8 equal parts on each of 2" in refused
    assert "a multiple of 16" in refused


def test_mirrored_without_gpus_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfft.backend import tf
    from tfft.distribute import open_devices

    cpu = tf.config.list_logical_devices("CPU")[:1]
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: cpu if kind == "CPU" else []
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(ConfigError) as caught:
        open_devices("mirrored", batch_size=16)
    assert len(str(caught.value).splitlines()) == 1
    assert "finds none (CUDA_VISIBLE_DEVICES is '-1')" in str(caught.value)
    assert "tfft doctor" in str(caught.value)
    assert caught.value.options == ("train.strategy",)


@pytest.mark.parametrize("asked", ["auto", "none"])
def test_one_device_needs_no_strategy(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfft.backend import tf
    from tfft.distribute import open_devices

    cpu = tf.config.list_logical_devices("CPU")[:1]
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: cpu if kind == "CPU" else []
    )
    devices = open_devices(asked, batch_size=1)
    assert (devices.strategy, devices.n_replicas) == (None, 1)


@pytest.mark.parametrize(("batch_size", "told"), [(8, "--batch-size 4"), (1, "a smaller model")])
def test_a_full_memory_names_what_to_try(tiny: Path, batch_size: int, told: str) -> None:
    from tfft import training
    from tfft.backend import tf
    from tfft.progress import Progress

    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))
    model = new_model(tiny)
    split = split_of("numpy", encode(rows(9), tokenizer, max_length=64), tokenizer, model)
    split = replace(split, plan=replace(split.plan, batch_size=batch_size))

    def full(labels: Any) -> Any:
        raise MemoryError("no room")  # a ResourceExhaustedError on TensorFlow's side

    def losses(labels: Any, logits: Any) -> Any:
        return tf.py_function(full, [labels], tf.float32)

    with pytest.raises(TrainingError) as caught:
        training.evaluate(model, split, losses=losses, progress=Progress())
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert f"out of memory with {batch_size} texts a batch" in message
    assert f"try {told}, or a lower --max-length" in message


def test_a_full_memory_in_training_names_accumulate_first(tiny: Path) -> None:
    from tfft.backend import tf
    from tfft.config import TrainConfig
    from tfft.training import _memory

    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))
    split = split_of("to_tf", encode(rows(9), tokenizer, max_length=64), tokenizer, None)
    for accumulate, told in ((1, "try --accumulate 2, --batch-size 4,"), (2, "try --batch-size 4")):
        full = tf.errors.ResourceExhaustedError(None, None, "no room")
        with (
            pytest.raises(TrainingError, match=told),
            _memory(split, training=TrainConfig(accumulate=accumulate)),
        ):
            raise full
