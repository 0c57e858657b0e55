"""A step in parts is the whole step, what is frozen has no gradient, averages are scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Told
from test_loaders import BATCH_SIZE, N_ROWS, TASK, new_model, rows, split_of

from tfft.config import TrainConfig
from tfft.data.encode import encode
from tfft.data.split import Split
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.progress import Progress

N_STEPS = -(-N_ROWS // BATCH_SIZE)


@pytest.fixture(scope="module")
def split(tiny: Path) -> Split:
    """37 rows in batches of 8: the last one has 5."""
    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASK))
    encoded = encode(rows(), tokenizer, max_length=64)
    return split_of("to_tf", encoded, tokenizer, None)


def compiled(tiny: Path, *, optimizer: Any = None, **options: Any) -> tuple[Any, TrainConfig]:
    """The same model each time, without dropout."""
    from tfft import modeling

    config = TrainConfig(**{"epochs": 1, "learning_rate": 1e-3, **options})
    model = new_model(tiny)
    modeling.compile_model(
        model, TASK, config, optimizer=optimizer, n_steps=N_STEPS * config.epochs
    )
    return model, config


def weights_of(model: Any) -> dict[str, np.ndarray]:
    return {each.name.partition("/")[2]: each.numpy() for each in model.weights}


def step_of(model: Any, split: Split, **options: Any) -> Any:
    from tfft import modeling
    from tfft.distribute import ONE_DEVICE
    from tfft.steps import make_train_step

    losses = modeling.example_losses(model, TASK)
    devices = options.pop("devices", ONE_DEVICE)
    return make_train_step(model, losses, split.element_spec, devices, **{"seed": 42, **options})


def fit(model: Any, config: TrainConfig, split: Split, **options: Any) -> Any:
    from tfft import modeling, training

    return training.fit(
        model,
        split,
        split,
        losses=modeling.example_losses(model, TASK),
        metrics=lambda logits, labels: {"accuracy": 0.5},
        metric_for_best="loss",
        config=config,
        **{"progress": Progress(), **options},
    )


def descend(tiny: Path, split: Split, accumulate: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """The weights after an epoch of plain gradient descent, and each step's loss."""
    from tfft.backend import keras

    model, _ = compiled(tiny, optimizer=keras.optimizers.SGD(0.1))
    step = step_of(model, split, accumulate=accumulate)
    losses = [float(step(*batch)[0]) for batch in split.epoch(0)]
    return weights_of(model), losses


@pytest.fixture(scope="module")
def whole(tiny: Path, split: Split) -> tuple[dict[str, np.ndarray], list[float]]:
    return descend(tiny, split, 1)


# Of the last batch's 5 rows: 3 and 2; 2, 2 and 1; one at a time.
@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_a_batch_in_parts_takes_the_step_of_the_whole_batch(
    tiny: Path, split: Split, whole: Any, accumulate: int
) -> None:
    weights, losses = descend(tiny, split, accumulate)
    # 1e-5: float32 sums in another order, through five steps of a model of weights of size 0.5.
    np.testing.assert_allclose(losses, whole[1], rtol=1e-5)
    for name, value in weights.items():
        np.testing.assert_allclose(value, whole[0][name], rtol=1e-4, atol=1e-5, err_msg=name)
    start = weights_of(new_model(tiny))
    assert max(np.abs(start[name] - weights[name]).max() for name in start) > 1e-2


@pytest.mark.parametrize("n_cores", [2, 8])
def test_a_batch_shared_among_cores_takes_the_same_step(
    tiny: Path, split: Split, whole: Any, n_cores: int
) -> None:
    from tfft.backend import keras
    from tfft.distribute import Devices

    model, _ = compiled(tiny, optimizer=keras.optimizers.SGD(0.1))
    step = step_of(model, split, devices=Devices(None, ("CPU:0",), n_cores))
    losses = [float(step(*batch)[0]) for batch in split.epoch(0)]
    # As above; of the last batch's 5 rows, eight cores have one each and three have none.
    np.testing.assert_allclose(losses, whole[1], rtol=1e-5)
    for name, value in weights_of(model).items():
        np.testing.assert_allclose(value, whole[0][name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_graphs_run_as_traced_in_a_fit_on_shared_cores_and_not_after_it() -> None:
    from tfft.backend import tf
    from tfft.distribute import ONE_DEVICE, Devices

    def is_off() -> bool:
        return tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)

    with ONE_DEVICE.started_soon():
        assert not is_off()
    with pytest.raises(KeyboardInterrupt), Devices(None, ("CPU:0",), 2).started_soon():
        assert is_off()
        raise KeyboardInterrupt
    assert not is_off()


def test_cores_join_the_logits_of_their_rows_in_order(tiny: Path, split: Split) -> None:
    from tfft import training
    from tfft.distribute import Devices

    model = new_model(tiny)
    alone = training.predict(model, split, progress=Progress())
    shared = training.predict(
        model, split, progress=Progress(), devices=Devices(None, ("CPU:0",), 3)
    )
    # A row's sums are the same ones, in blocks of another size.
    np.testing.assert_allclose(shared, alone, atol=1e-5)


def test_what_the_head_does_not_read_stays_as_it_is_in_parts_too(
    checkpoints: Path, split: Split
) -> None:
    model, _ = compiled(checkpoints / "mpnet", optimizer=None)
    before = weights_of(model)
    features, labels = next(iter(split.epoch(0)))
    features = {name: features[name] for name in ("input_ids", "attention_mask")}
    spec = {"input_ids": split.element_spec[0]["input_ids"]}
    spec["attention_mask"] = spec["input_ids"]
    from tfft import modeling
    from tfft.distribute import ONE_DEVICE
    from tfft.steps import make_train_step

    model.optimizer = modeling.make_optimizer(TrainConfig(optimizer="adamw", weight_decay=0.1))
    losses = modeling.example_losses(model, TASK)
    element_spec = (spec, split.element_spec[1])
    step = make_train_step(model, losses, element_spec, ONE_DEVICE, seed=42, accumulate=2)
    step(features, labels)
    moved = {name for name, value in weights_of(model).items() if (value != before[name]).any()}
    assert {name for name in before if "pooler" in name}.isdisjoint(moved)
    assert any("layer_._0" in name for name in moved)


def test_what_is_frozen_has_no_gradient_and_keeps_its_bits(tiny: Path, split: Split) -> None:
    model, config = compiled(tiny, freeze="layers:1")
    before = weights_of(model)
    graph = step_of(model, split).get_concrete_function().graph
    backwards = [each.name for each in graph.get_operations() if "gradient_tape" in each.name]
    assert any("layer_._1" in name for name in backwards)
    assert not any("layer_._0" in name or "/embeddings/" in name for name in backwards)
    fit(model, config, split)
    for name, value in weights_of(model).items():
        frozen = "layer_._0" in name or "bert/embeddings" in name
        assert (value == before[name]).all() == frozen, name


def test_averages_are_scored_and_saved_and_training_goes_on_without_them(
    tiny: Path, split: Split
) -> None:
    from tfft import modeling, training

    decay = 0.7
    plain, config = compiled(tiny, epochs=2)
    step = step_of(plain, split)
    average, at_epochs = weights_of(plain), []
    for epoch in range(2):
        for batch in split.epoch(epoch):
            step(*batch)
            now = weights_of(plain)
            average = {
                name: decay * value + (1 - decay) * now[name] for name, value in average.items()
            }
        at_epochs.append(average)

    model, config = compiled(tiny, epochs=2, ema=decay)
    saved: list[dict[str, np.ndarray]] = []
    trained = fit(
        model, config, split, after_epoch=lambda record, is_best: saved.append(weights_of(model))
    )
    for name, value in weights_of(model).items():
        if name.endswith("key/bias:0"):  # its gradient is 0 but for rounding
            continue
        # 1e-5: the same steps in two graphs.
        np.testing.assert_allclose(value, weights_of(plain)[name], atol=1e-5, err_msg=name)
        for ours, expected in zip(saved, at_epochs, strict=True):
            np.testing.assert_allclose(ours[name], expected[name], atol=1e-5, err_msg=name)
    assert np.abs(saved[-1]["classifier/kernel:0"] - now["classifier/kernel:0"]).max() > 1e-4
    for weight in model.weights:
        weight.assign(saved[-1][weight.name.partition("/")[2]])
    scores = training.evaluate(
        model, split, losses=modeling.example_losses(model, TASK), progress=Progress()
    )
    assert trained.history[-1].validation_loss == pytest.approx(scores.loss, rel=1e-6)


def test_history_has_the_rate_of_an_epoch_s_last_step(tiny: Path, split: Split) -> None:
    model, config = compiled(tiny, epochs=2, schedule="linear", warmup=0.25)
    trained = fit(model, config, split)
    n_steps, warmup = 2 * N_STEPS, 3  # a quarter of 10 steps, rounded up
    expected = [1e-3 * (n_steps - step) / (n_steps - warmup) for step in (N_STEPS - 1, n_steps - 1)]
    assert [each.learning_rate for each in trained.history] == pytest.approx(expected, rel=1e-6)


def test_a_constant_rate_can_be_set(tiny: Path) -> None:
    model, _ = compiled(tiny)
    model.optimizer.learning_rate = 0.5
    assert float(model.optimizer.learning_rate) == 0.5


@pytest.fixture(scope="module")
def short(tiny: Path) -> Split:
    """The same rows in buckets: two widths."""
    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASK))
    encoded = encode(rows(), tokenizer, max_length=64)
    return split_of("bucketed", encoded, tokenizer, None, max_shapes=2)


def test_xla_compiles_one_program_a_width_and_takes_the_same_steps(
    tiny: Path, short: Split
) -> None:
    from tfft.backend import keras
    from tfft.steps import Programs

    curves = {}
    programs = Programs(short.plan.rows_of_width)
    for name, chosen in {"graph": None, "xla": programs}.items():
        model, _ = compiled(tiny, optimizer=keras.optimizers.SGD(0.1))
        step = step_of(model, short, programs=chosen, accumulate=2)
        curves[name] = [
            [float(each) for each in step(*batch)]
            for epoch in (0, 1)
            for batch in short.epoch(epoch)
        ]
    # 1e-4: XLA fuses and reorders float32 sums, through ten steps.
    np.testing.assert_allclose(curves["xla"], curves["graph"], rtol=1e-4)
    widths = {
        features["input_ids"].shape[1] for epoch in (0, 1) for features, _ in short.epoch(epoch)
    }
    assert len(widths) == 2
    # The last batch of 5 rows, filled up to 8, needed none of its own.
    assert set(programs.seconds) == widths


def test_a_fit_with_xla_says_how_many_programs_it_took(tiny: Path, short: Split) -> None:
    model, config = compiled(tiny, xla=True)
    told = Told()
    trained = fit(model, config, short, progress=told)
    assert trained.n_steps == N_STEPS
    assert told.notes[-1].startswith("xla: 2 programs, one a length, made in ")
