"""The PyTorch path: the same batches, the same recipe, the same folder; torch in children alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Told
from tiny import python

import tfft
from tfft.config import SCHEDULES, RunConfig, TrainConfig
from tfft.data.encode import encode
from tfft.data.examples import load_training
from tfft.errors import ConfigError
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.schedules import rate_factor
from tfft.tasks import TASKS

CLI = Callable[..., Any]
RECIPE = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3}
# Labels and logits that each task's loss is compared on: the last row of a class of its own.
LOGITS = [[0.3, -1.2, 2.0], [1.5, 0.1, -0.4], [-3.0, 4.0, 0.2], [0.0, 0.5, 8.0]]
LABELS: dict[str, Any] = {
    "single_label": [2, 0, 1, 1],
    "multi_label": [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]],
    "regression": [0.5, -2.0, 3.25, 0.0],
}
WEIGHTS = [0.5, 2.0, 1.25]
# What PyTorch is asked for in one process; the answers are compared here, in TensorFlow's.
CHILD = """
import json, sys, dataclasses
from pathlib import Path
import numpy as np
import tfft
from tfft import backend
from tfft.config import RunConfig, TrainConfig
from tfft.data.encode import encode
from tfft.data.examples import load_training
from tfft.errors import TfftError
from tfft.tasks import TASKS

asked = json.loads(sys.argv[1])
told = {}
output = Path(asked["output"])
common = {"data": asked["data"], "model": asked["model"], "framework": "pytorch"}
first = tfft.fit(**common, **asked["recipe"], output=output / "native")
again = tfft.fit(config=output / "native" / "run.toml", output=output / "again")
told["again"] = [
    [dataclasses.replace(each, seconds=0.0).to_json() for each in result.history]
    for result in (first, again)
]

from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.pytorch.backend import torch
from tfft.pytorch.batches import open_batches
from tfft.pytorch.modeling import example_losses, load_model
from tfft.pytorch.native import TorchEngine
from tfft.pytorch.optimizers import make_optimizer

task = TASKS["single_label"]
checkpoint = open_checkpoint(asked["model"], task)
tokenizer = load_tokenizer(checkpoint)
config = RunConfig.from_options({"data.source": asked["data"], "train.batch_size": 8})
encoded = encode(load_training(config.data, seed=42).train, tokenizer, max_length=64)
told["batches"] = {
    loader: [
        [features["input_ids"].tolist(), labels.tolist()]
        for features, labels in open_batches(
            config, encoded, tokenizer, loader=loader, shuffle=True
        ).epoch(1)
    ]
    for loader in ("numpy", "bucketed")
}

checkpoint.config.hidden_dropout_prob = checkpoint.config.attention_probs_dropout_prob = 0.0
def stepped(**changes):
    torch.manual_seed(1)
    model = load_model(checkpoint, task, label_names=("no", "yes")).model
    # Adam of a large epsilon moves by the gradient, not by its sign alone.
    recipe = TrainConfig(batch_size=15, learning_rate=0.1, epsilon=1.0, **changes)
    engine = TorchEngine(
        model, example_losses(task), example_losses(task), recipe, n_steps=3,
        device=torch.device("cpu"),
    )
    batches = open_batches(
        dataclasses.replace(config, train=recipe), encoded, tokenizer, loader="numpy", shuffle=True
    )
    for features, labels in batches.epoch(0):
        engine.train({name: each[:13] for name, each in features.items()}, labels[:13])
    return torch.cat([each.detach().reshape(-1) for each in model.parameters()])
whole = stepped()
for name, changes in {
    "accumulated": {"accumulate": 4}, "clipped": {"clip_norm": 0.01}, "warmed": {"warmup": 3.0}
}.items():
    told[name] = float((stepped(**changes) - whole).abs().max())

told["rates"] = []
model = load_model(checkpoint, task, label_names=("no", "yes")).model
for name in asked["schedules"]:
    recipe = TrainConfig(schedule=name, warmup=5.0, optimizer="adamw", weight_decay=0.1)
    optimizer, schedule = make_optimizer(model, recipe, 20)
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    told["rates"].append(rates)
exempt = {id(each) for each in optimizer.param_groups[1]["params"]}
told["exempt"] = [name for name, each in model.named_parameters() if id(each) in exempt]
told["decays"] = [group["weight_decay"] for group in optimizer.param_groups]

told["losses"] = {}
for name, labels in asked["labels"].items():
    logits = torch.tensor(asked["logits"])[:, : 1 if name == "regression" else 3]
    dtype = torch.int64 if name == "single_label" else torch.float32
    costs = [example_losses(TASKS[name])]
    if name != "regression":
        weights = np.array(asked["weights"], np.float32)
        costs.append(example_losses(TASKS[name], smoothing=0.2, weights=weights))
    told["losses"][name] = [
        cost(torch.tensor(labels, dtype=dtype), logits).tolist() for cost in costs
    ]

for name, rows in asked["tasks"].items():
    path = output / f"{name}.json"
    path.write_text(json.dumps(rows))
    result = tfft.fit(data=str(path), model=asked["model"], framework="pytorch", steps=3,
                      batch_size=8, output=output / name, precision="bfloat16", patience=1)
    told[name] = dict(result.validation)

by_trainer = {**common, "framework": "trainer", "batch_size": 8, "epochs": 2}
for every in (5, 6):
    result = tfft.fit(**{**by_trainer, **asked["recipe"]}, accumulate=2, evaluate_every=every,
                      output=output / f"every-{every}")
    told[f"every {every}"] = [each.to_json() for each in result.history]
still = tfft.fit(**by_trainer, evaluate_every=2, learning_rate=1e-30, patience=1,
                 output=output / "still")
told["still"] = still.train["n_steps"]

def refusal(function, **options):
    try:
        function(**options)
    except TfftError as error:
        return str(error)
told["nan"] = refusal(tfft.fit, **common, learning_rate=1e30, output=output / "nan")
told["other"] = refusal(tfft.evaluate, model=str(output / "native"), data=asked["data"])
told["own_loss"] = refusal(tfft.fit, **common, loss=lambda labels, logits: 0.0)

# What this machine may well have.
from tfft.pytorch import devices, framework, trainer
torch.cuda.is_available = lambda: False
told["no GPU"] = refusal(framework._device, name="gpu")
torch.cuda.is_bf16_supported = lambda including_emulation: False
torch.cuda.get_device_name = lambda device: "Card 7"
told["no bfloat16"] = refusal(
    devices.check_precision, device=torch.device("cuda"), precision="bfloat16"
)
trainer.find_spec = lambda name: None
told["no accelerate"] = refusal(trainer.fit, job=None)
told["tensorflow"] = "tensorflow" in sys.modules
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pytorch")


@pytest.fixture(scope="module")
def told(tiny: Path, reviews: Path, folder: Path) -> dict[str, Any]:
    texts = [f"the film was {'very ' * (n % 5)}good {n}" for n in range(30)]
    asked = {
        "data": str(reviews),
        "model": str(tiny),
        "output": str(folder),
        "recipe": RECIPE,
        "schedules": SCHEDULES,
        "labels": LABELS,
        "logits": LOGITS,
        "weights": WEIGHTS,
        "tasks": {
            "multi_label": [
                {"text": text, "labels": [["a"], ["a", "b"], []][n % 3]}
                for n, text in enumerate(texts)
            ],
            "regression": [{"text": text, "score": n % 7 + 0.5} for n, text in enumerate(texts)],
        },
    }
    answer: dict[str, Any] = json.loads(python(CHILD, json.dumps(asked), torch=True))
    return answer


@pytest.fixture(scope="module")
def by_trainer(run: Path, tiny: Path, reviews: Path, folder: Path) -> tuple[Any, Told]:
    """Asked for in this process, which has transformers with its TensorFlow classes."""
    progress = Told()
    result = tfft.fit(
        data=str(reviews),
        model=str(tiny),
        framework="trainer",
        output=folder / "trainer",
        accumulate=2,
        progress=progress,
        **RECIPE,
    )
    return result, progress


def keys_of(path: Path) -> Any:
    document = json.loads(path.read_text())
    first = document[0] if isinstance(document, list) else document
    return {key: sorted(value) if isinstance(value, dict) else None for key, value in first.items()}


@pytest.mark.parametrize("framework", ["native", "trainer"])
def test_a_run_leaves_the_files_and_keys_of_tensorflow_s(
    told: Any, by_trainer: Any, run: Path, folder: Path, framework: str
) -> None:
    ours = folder / framework
    assert {each.name for each in ours.iterdir()} == {each.name for each in run.iterdir()}
    assert {each.name for each in (ours / "model").iterdir()} == {
        each.name for each in (run / "model").iterdir()
    }
    for name in ("metrics.json", "history.json"):
        assert keys_of(ours / name) == keys_of(run / name)
    manifest = json.loads((ours / "manifest.json").read_text())
    assert manifest.keys() == json.loads((run / "manifest.json").read_text()).keys()
    assert manifest["packages"]["torch"]
    framework = "pytorch" if framework == "native" else framework
    assert manifest["framework"] == framework
    assert f'framework = "{framework}"' in (ours / "run.toml").read_text()


def test_run_toml_does_the_same_run_again(told: Any) -> None:
    first, again = told["again"]
    assert first == again


@pytest.mark.parametrize("framework", ["native", "trainer"])
def test_tensorflow_scores_a_run_s_model_as_pytorch_did(
    told: Any, by_trainer: Any, reviews: Path, folder: Path, framework: str
) -> None:
    metrics = json.loads((folder / framework / "metrics.json").read_text())["validation"]
    scored = tfft.evaluate(folder / framework, data=str(reviews)).figures
    # 1e-5: a mean of float32 losses near 0.7 whose logits differ by 1e-6 between the frameworks.
    assert scored["loss"] == pytest.approx(metrics["loss"], abs=1e-5)
    assert scored["accuracy"] == metrics["accuracy"]


def test_pytorch_gets_the_very_batches_of_tensorflow(told: Any, tiny: Path, reviews: Path) -> None:
    from tfft.data.loaders import open_split

    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))
    config = RunConfig.from_options({"data.source": str(reviews), "train.batch_size": 8})
    encoded = encode(load_training(config.data, seed=42).train, tokenizer, max_length=64)
    for loader, theirs in told["batches"].items():
        split = open_split(config, encoded, tokenizer, loader=loader, shuffle=True)
        ours = [
            [features["input_ids"].numpy().tolist(), labels.numpy().tolist()]
            for features, labels in split.epoch(1)
        ]
        assert theirs == ours
        assert len({len(ids[0]) for ids, _ in ours}) == (1 if loader == "numpy" else 5)


def test_a_batch_in_parts_is_the_batch(told: Any) -> None:
    # 1e-6: 13 rows in parts of 4 add up in another order; a part that counts twice gives 1e-3.
    assert told["accumulated"] < 1e-6
    assert min(told["clipped"], told["warmed"]) > 1e-4  # the recipe's numbers are heard


def test_the_rate_of_every_step_is_tensorflow_s(told: Any) -> None:
    from tfft.optimizers import Schedule

    for name, rates in zip(SCHEDULES, told["rates"], strict=True):
        config = TrainConfig(schedule=name, warmup=5.0)
        schedule = Schedule(name, config.learning_rate, warmup_steps=5, n_steps=20)
        ours = [float(schedule(step)) for step in range(20)]
        # 1e-7: TensorFlow's is rounded to float32, and so is nought at the end of a wave.
        np.testing.assert_allclose(rates, ours, rtol=1e-7, atol=1e-12)
        shared = [config.learning_rate * rate_factor(config, n, n_steps=20) for n in range(20)]
        assert shared == pytest.approx(rates)


def test_biases_and_layer_norms_do_not_decay(told: Any) -> None:
    assert told["decays"] == [0.1, 0.0]
    assert all("bias" in name or "LayerNorm" in name for name in told["exempt"])
    assert sum("LayerNorm.weight" in name for name in told["exempt"]) == 5


@pytest.mark.parametrize("name", LABELS)
def test_a_row_costs_what_it_costs_in_tensorflow(told: Any, name: str) -> None:
    from tfft import modeling
    from tfft.backend import tf

    task = TASKS[name]
    logits = tf.constant(LOGITS)[:, : 1 if name == "regression" else 3]
    labels = tf.constant(LABELS[name], tf.int64 if name == "single_label" else tf.float32)
    plain, *weighted = told["losses"][name]
    if name == "regression":
        np.testing.assert_allclose(plain, (labels - logits[:, 0]) ** 2, rtol=1e-6)
        return
    smoothed = modeling.weighted_losses(
        modeling.smoothed_losses(task, 0.2), task, np.array(WEIGHTS, np.float32)
    )
    # 1e-6: float32's rounding, in logarithms up to 8.
    np.testing.assert_allclose(weighted[0], smoothed(labels, logits), rtol=1e-6)
    unsmoothed = modeling.smoothed_losses(task, 0.0)
    np.testing.assert_allclose(plain, unsmoothed(labels, logits), rtol=1e-6, atol=1e-7)


def test_every_task_is_learned_in_mixed_precision_too(told: Any) -> None:
    assert {"f1", "loss"} <= told["multi_label"].keys()
    assert {"pearson", "loss"} <= told["regression"].keys()


def test_no_number_names_the_rows_and_another_framework_the_way_out(told: Any) -> None:
    assert "the loss is nan at epoch 1, step" in told["nan"]
    assert "on the rows" in told["nan"]
    assert "start a process of its own" in told["other"]
    assert told["own_loss"] == "loss= is for framework tensorflow, not pytorch"
    assert told["tensorflow"] is False


@pytest.mark.parametrize(
    ("lacking", "line"),
    [
        ("no GPU", "PyTorch finds no GPU; --device cpu needs none"),
        ("no bfloat16", "Card 7 has no bfloat16; try --precision float32"),
        (
            "no accelerate",
            'Trainer needs accelerate, which comes with pip install "tfft[torch]"',
        ),
    ],
)
def test_what_the_machine_lacks_is_told_in_one_line(told: Any, lacking: str, line: str) -> None:
    assert told[lacking] == line


def test_trainer_runs_in_a_process_of_its_own_where_tensorflow_has_this_one(
    by_trainer: Any, folder: Path
) -> None:
    result, progress = by_trainer
    assert "framework: trainer, in a process of its own" in progress.notes
    assert any(note.startswith("epoch 2/2  loss") for note in progress.notes)
    document = json.loads((folder / "trainer" / "metrics.json").read_text())
    assert result.to_json() == document
    assert result.output == folder / "trainer"
    assert result.train["n_steps"] == 12
    assert [each.learning_rate for each in result.history] == pytest.approx([3e-3, 3e-3])


def test_trainer_is_evaluated_every_so_many_steps_and_at_the_end(
    told: Any, by_trainer: tuple[Any, Told]
) -> None:
    assert [each["epoch"] for each in told["every 5"]] == [1, 2, 3]  # after steps 5, 10 and 12
    result, _ = by_trainer
    for record, of_pass in zip(told["every 6"], result.history, strict=True):
        # 6 steps are a pass; what may differ is the order of a sum.
        for name in ("loss", "validation_loss"):
            assert record[name] == pytest.approx(getattr(of_pass, name), abs=1e-6)


def test_trainer_s_patience_counts_evaluations(told: Any) -> None:
    assert told["still"] == 4  # nothing is learned: the second is no better


def test_a_child_s_error_is_the_caller_s(run: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(tfft.TfftError) as caught:
        tfft.fit(
            data=str(tmp_path / "nowhere"),
            model=str(tiny),
            framework="pytorch",
            output=tmp_path / "out",
        )
    assert "nowhere" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("framework", ["pytorch", "trainer"])
def test_without_torch_there_is_one_line(
    framework: str, tfft_cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfft.pytorch.backend.find_spec", lambda name: None)
    outcome = tfft_cli("fit", "--data", "builtin/acceptability", "--framework", framework)
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        'error: torch isn\'t installed; PyTorch comes with pip install "tfft[torch]"'
    ]


@pytest.mark.parametrize("framework", ["pytorch", "trainer"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data.loader", "prepare"),
        ("data.loader", "to_tf"),
        ("train.precision", "float16"),
        ("train.xla", True),
        ("train.layer_decay", 0.9),
        ("train.ema", 0.9),
        ("train.freeze", "embeddings"),
        ("train.loss", "hinge"),
        ("train.strategy", "mirrored"),
    ],
)
def test_what_pytorch_has_not_is_refused(framework: str, option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_options({"train.framework": framework, option: value})
    assert set(caught.value.options) == {option, "train.framework"}
    assert f"isn't there with framework {framework}" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data.loader", "numpy"),
        ("data.max_shapes", 3),
        ("data.buckets", "32,64"),
        ("train.batch_tokens", 4096),
    ],
)
def test_trainer_makes_its_own_batches(option: str, value: Any) -> None:
    RunConfig.from_options({"train.framework": "pytorch", option: value})
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_options({"train.framework": "trainer", option: value})
    assert set(caught.value.options) == {option, "train.framework"}


def test_a_refused_flag_is_a_usage_error_and_a_dry_run_names_the_framework(
    tfft_cli: CLI, tiny: Path, reviews: Path
) -> None:
    common = ("fit", "--data", reviews, "--model", tiny, "--framework", "pytorch")
    refused = tfft_cli(*common, "--streaming", "--steps", "3")
    assert refused.code == 2
    assert "streaming isn't there with framework pytorch" in refused.err
    assert "framework         pytorch" in tfft_cli(*common, "--dry-run").out
