"""Layers in less than float32: who can, who is refused, and what stays float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Outcome
from helpers import Told, one_line
from safetensors.numpy import load_file
from test_loaders import TASK, rows, split_of
from tiny import CONFIGS

from tfft.config import TrainConfig
from tfft.data.encode import encode
from tfft.errors import ModelError, TrainingError
from tfft.pretrained import load_tokenizer, open_checkpoint

LESS = ("bfloat16", "float16")


def made(folder: Path, precision: str) -> Any:
    """The same model in each precision, compiled, without dropout."""
    from tfft import modeling
    from tfft.backend import keras
    from tfft.precision import policy

    checkpoint = open_checkpoint(str(folder), TASK)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        setattr(checkpoint.config, name, 0.0)
    keras.utils.set_random_seed(3)
    with policy(precision):
        model = modeling.load_model(checkpoint, TASK, label_names=("0", "1"), pad_token_id=0).model
        modeling.compile_model(model, TASK, TrainConfig(learning_rate=1e-3))
    return model


@pytest.mark.parametrize("precision", LESS)
def test_the_policy_holds_inside_alone(precision: str) -> None:
    from tfft.backend import keras
    from tfft.precision import policy

    with policy(precision):
        assert keras.layers.Dense(1).compute_dtype == precision
        with policy("float32"):
            assert keras.layers.Dense(1).compute_dtype == "float32"
    assert keras.mixed_precision.global_policy().name == "float32"
    with pytest.raises(ValueError, match="stop"), policy(precision):
        raise ValueError("stop")
    assert keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.parametrize("precision", LESS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_architecture_can(checkpoints: Path, kind: str, precision: str) -> None:
    from tfft.precision import check_model

    model = made(checkpoints / kind, precision)
    check_model(model, precision)
    assert {each.dtype.name for each in model.weights} == {"float32"}


class Broken:
    """A model that fails as asked."""

    def __init__(self, logits: Callable[[Any], Any]) -> None:
        from types import SimpleNamespace

        from tfft.backend import tf

        self.config, self.dummy_inputs = SimpleNamespace(model_type="brrt"), None
        self.trainable_variables = [tf.Variable(1.0)]
        self.logits, self.kind = logits, SimpleNamespace

    def __call__(self, inputs: Any, *, training: bool) -> Any:
        return self.kind(logits=self.logits(self.trainable_variables[0]))


@pytest.mark.parametrize("name", ["fails", "is no number"])
def test_an_architecture_that_cannot_is_refused_by_name(name: str) -> None:
    from tfft.backend import tf
    from tfft.precision import check_model

    logits = {
        "fails": lambda weight: tf.cast(weight, tf.float16) + weight,
        "is no number": lambda weight: weight * 1e30 * 1e30,
    }[name]
    with pytest.raises(ModelError, match=r"brrt .*float16.*; try float32") as caught:
        check_model(Broken(logits), "float16")
    assert one_line(caught)


def gpus(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int]) -> list[str]:
    from types import SimpleNamespace

    from tfft.backend import tf

    found = [SimpleNamespace(name=f"gpu {each}", at=each) for each in capabilities]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": gpu.at, "device_name": f"Card {gpu.at[0]}"},
    )
    return [f"/device:GPU:{number}" for number in range(len(found))]


@pytest.mark.parametrize(
    ("precision", "capability", "told"),
    [
        ("float16", (6, 1), "compute capability 7.0, and Card 6 has 6.1; try float32"),
        ("bfloat16", (7, 5), "capability 8.0, and Card 7 has 7.5; try float16 or float32"),
        ("bfloat16", (6, 1), "capability 8.0, and Card 6 has 6.1; try float32"),
        ("float16", (7, 0), None),
        ("bfloat16", (8, 0), None),
        ("float32", (3, 0), None),
    ],
)
def test_a_gpu_that_lacks_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, precision: str, capability: tuple[int, int], told: str | None
) -> None:
    from tfft.precision import check_devices

    names = gpus(monkeypatch, (9, 0), capability)
    if told is None:
        assert check_devices(precision, names) is None
        return
    with pytest.raises(TrainingError) as caught:
        check_devices(precision, names)
    assert told in one_line(caught)


@pytest.mark.parametrize(("flags", "slow"), [("sse avx512_bf16", False), ("sse avx2", True)])
def test_bfloat16_on_a_cpu_without_units_for_it_is_said_to_be_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, slow: bool
) -> None:
    from tfft import precision

    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags} ht\n")
    monkeypatch.setattr(precision, "_CPU_INFO", info)
    note = precision.check_devices("bfloat16", ["/device:CPU:0"])
    assert (note is not None) == slow
    assert note is None or "twice" in note


def test_float16_on_a_cpu_is_refused_in_one_line(
    tfft_cli: Callable[..., Outcome], reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    from tfft.backend import tf

    if tf.config.list_logical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    outcome = tfft_cli(
        "fit", "--data", reviews, "--model", tiny, "--precision", "float16",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == ("error: float16 needs a GPU; try bfloat16 or float32")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def split(tiny: Path) -> Any:
    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASK))
    return split_of("to_tf", encode(rows(), tokenizer, max_length=64), tokenizer, None)


def fit(model: Any, split: Any, *, losses: Any = None, **options: Any) -> tuple[Any, list[str]]:
    from tfft import modeling, training

    progress = Told()
    trained = training.fit(
        model,
        split,
        split,
        losses=losses or modeling.example_losses(model, TASK),
        metrics=lambda logits, labels: {"dtype is float32": float(logits.dtype == np.float32)},
        metric_for_best="loss",
        config=TrainConfig(epochs=1, **options),
        progress=progress,
    )
    return trained, progress.notes


@pytest.fixture(scope="module")
def in_float32(tiny: Path, split: Any) -> Any:
    return fit(made(tiny, "float32"), split)[0]


@pytest.mark.parametrize("precision", LESS)
def test_a_run_in_less_learns_what_float32_does(
    tiny: Path, split: Any, in_float32: Any, precision: str
) -> None:
    model = made(tiny, precision)
    if precision == "float16":
        # Keras starts at 2^15, where this model's gradients overflow: a step would be skipped.
        model.optimizer._loss_scale.current_loss_scale.assign(256.0)
    trained, notes = fit(model, split, precision=precision, accumulate=2)
    assert notes == []
    assert trained.best.metrics["dtype is float32"] == 1.0
    # 3 %: bfloat16 has 8 bits, and the weights here are of size 0.5.
    assert trained.best.loss == pytest.approx(in_float32.best.loss, rel=0.03)
    expected = pytest.approx(in_float32.best.validation_loss, rel=0.03)
    assert trained.best.validation_loss == expected
    assert trained.best.loss != in_float32.best.loss
    assert {each.dtype.name for each in model.weights} == {"float32"}


def test_float16_steps_that_overflow_are_skipped_and_told(tiny: Path, split: Any) -> None:
    model = made(tiny, "float16")
    # Halved at each of the 5 steps, it still overflows.
    model.optimizer._loss_scale.current_loss_scale.assign(1e30)
    before = [each.numpy() for each in model.weights]
    trained, notes = fit(model, split, precision="float16")
    assert np.isfinite(trained.best.loss)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    assert notes == [
        "epoch 1/1: 5 of 5 steps overflowed in float16 and were skipped, to go on with a smaller "
        "loss scale"
    ]


def test_a_loss_that_is_no_number_stops_float16_too(tiny: Path, split: Any) -> None:
    with pytest.raises(TrainingError, match="the loss is nan at epoch 1, step 1"):
        fit(
            made(tiny, "float16"),
            split,
            precision="float16",
            losses=lambda labels, logits: logits[:, 0] * float("nan"),
        )


def test_a_run_in_bfloat16_saves_float32_and_leaves_no_policy(
    tfft_cli: Callable[..., Outcome], reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    from tfft.backend import keras

    outcome = tfft_cli(
        "fit", "--data", reviews, "--model", tiny, "--precision", "bfloat16", "--epochs", 1,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    saved = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert {str(each.dtype) for each in saved.values()} == {"float32"}
    assert keras.mixed_precision.global_policy().name == "float32"
    outcome = tfft_cli("evaluate", tmp_path / "out", "--data", reviews)
    assert outcome.code == 0, outcome.err
