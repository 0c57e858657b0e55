"""What dropout drops: as much as asked, never twice the same, and the same by the same seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_loaders import TASK, new_model
from tiny import CONFIGS

from tfft.pretrained import open_checkpoint

RATE, SIZE = 0.3, 40_000


def layers() -> dict[str, Callable[[], Any]]:
    from transformers.models.deberta_v2.modeling_tf_deberta_v2 import TFDebertaV2StableDropout

    from tfft.backend import keras

    return {
        "keras": lambda: keras.layers.Dropout(RATE),
        "deberta": lambda: TFDebertaV2StableDropout(RATE),
    }


def drawn(calls: list[Any], seed: int) -> list[np.ndarray]:
    """What the layers, called in this order, make of ones."""
    from tfft.backend import tf
    from tfft.drops import drawing_from

    model = SimpleNamespace(
        _flatten_layers=lambda: list({id(each): each for each in calls}.values())
    )
    with drawing_from(model, tf.constant([seed, 7], tf.int64)):
        return [each(tf.ones([SIZE]), training=True).numpy() for each in calls]


@pytest.mark.parametrize("kind", ["keras", "deberta"])
def test_it_drops_its_rate_and_scales_the_rest(kind: str) -> None:
    (values,) = drawn([layers()[kind]()], 1)
    assert set(np.unique(values)) == {0.0, np.float32(1 / (1 - RATE))}
    # 5 deviations of a draw of 40,000.
    assert np.mean(values == 0) == pytest.approx(RATE, abs=5 * (RATE * (1 - RATE) / SIZE) ** 0.5)


@pytest.mark.parametrize("kind", ["keras", "deberta"])
def test_each_layer_call_and_seed_drops_others_and_the_same_seed_the_same(kind: str) -> None:
    one, other = layers()[kind](), layers()[kind]()
    first = drawn([one, one, other], 1)
    for again, value in zip(drawn([one, one, other], 1), first, strict=True):
        np.testing.assert_array_equal(again, value)
    unlike = [*first, *drawn([one, one, other], 2)]
    for place, value in enumerate(unlike):
        for another in unlike[:place]:
            # Two draws that know nothing of each other agree on this part.
            expected = RATE**2 + (1 - RATE) ** 2
            assert np.mean(value == another) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("kind", ["keras", "deberta"])
def test_afterwards_a_layer_draws_as_it_did_before(kind: str) -> None:
    from tfft.backend import tf

    layer = layers()[kind]()
    before = dict(vars(layer))
    drawn([layer], 1)
    assert "xdropout" not in vars(layer)
    assert before.keys() <= vars(layer).keys()
    first, second = (layer(tf.ones([SIZE]), training=True).numpy() for _ in range(2))
    assert 0 < np.mean(first == second) < 1


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_seed_decides_all_that_every_architecture_drops(checkpoints: Path, kind: str) -> None:
    from tfft import modeling
    from tfft.backend import tf
    from tfft.drops import drawing_from, is_of_inputs

    checkpoint = open_checkpoint(str(checkpoints / kind), TASK)
    model = modeling.load_model(checkpoint, TASK, label_names=("0", "1"), pad_token_id=0).model
    ids = tf.constant([[5, 6, 7, 8]])

    def forward(seed: Any) -> Any:
        with drawing_from(model, seed):
            return model({"input_ids": ids, "attention_mask": ids}, training=True).logits

    spec = [tf.TensorSpec([2], tf.int64)]
    logits = tf.function(forward, input_signature=spec, autograph=False)
    assert is_of_inputs(logits.get_concrete_function().graph)
    one, again, other = (logits(tf.constant([seed, 0], tf.int64)).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-4


def draws(variable: Any) -> Any:
    from tfft.backend import tf

    return tf.random.uniform([2])


def moves(variable: Any) -> Any:
    return variable.assign_add(1.0)


@pytest.mark.parametrize("does", [draws, moves])
def test_a_graph_that_does_more_is_told_from_one_that_does_not(does: Callable[..., Any]) -> None:
    from tfft.backend import tf
    from tfft.drops import is_of_inputs

    variable = tf.Variable(1.0)
    more = tf.function(lambda: does(variable)).get_concrete_function()
    assert not is_of_inputs(more.graph)
    reads = tf.function(lambda: variable * 2.0).get_concrete_function()
    assert is_of_inputs(reads.graph)


class Steps:
    """Steps that learn nothing, of a model that drops half, and whose loss is a logit."""

    def __init__(self, tiny: Path, **options: Any) -> None:
        from tfft.backend import keras, tf
        from tfft.distribute import Devices
        from tfft.steps import make_train_step

        model = new_model(tiny, dropout=0.5)
        model.optimizer = keras.optimizers.SGD(0.0)
        model.optimizer.build(model.trainable_variables)
        ids = tf.TensorSpec([None, None], tf.int32)
        self.step = make_train_step(
            model,
            options.pop("losses", lambda labels, logits: logits[:, 0]),
            ({"input_ids": ids, "attention_mask": ids}, tf.TensorSpec([None], tf.int64)),
            Devices(None, ("CPU:0",), options.pop("n_cores", 1)),
            **{"seed": 1, **options},
        )
        self.count = model.optimizer.iterations

    def loss(self, n_rows: int, *, after: int = 0) -> float:
        """Of so many rows that are all the same, after so many steps."""
        from tfft.backend import tf

        self.count.assign(after)
        ids = tf.fill([n_rows, 6], 7)
        features = {"input_ids": ids, "attention_mask": tf.ones_like(ids)}
        return float(self.step(features, tf.zeros([n_rows], tf.int64))[0])


def test_what_is_dropped_follows_from_the_seed_and_the_step(tiny: Path) -> None:
    steps, same, other = Steps(tiny), Steps(tiny), Steps(tiny, seed=2)
    by_step = [steps.loss(1, after=number) for number in range(4)]
    assert len(set(by_step)) == 4
    # In another order, by another trace.
    assert [same.loss(1, after=number) for number in (3, 0)] == [by_step[3], by_step[0]]
    assert other.loss(1) not in by_step


@pytest.mark.parametrize("options", [{"n_cores": 2}, {"accumulate": 2}])
def test_the_parts_of_a_batch_drop_unlike_numbers(tiny: Path, options: dict[str, int]) -> None:
    steps = Steps(tiny, **options)
    # A single row is in one of the parts; were both dropped the same, so would be two rows' mean.
    assert steps.loss(2) != pytest.approx(steps.loss(1), rel=1e-4)
    assert steps.loss(2) == steps.loss(2)


def test_replicas_drop_unlike_numbers(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfft.distribute import Devices

    first = Steps(tiny).loss(1)
    monkeypatch.setattr(Devices, "replica", 1)
    assert Steps(tiny).loss(1) != pytest.approx(first, rel=1e-4)


def calls_of(steps: Steps) -> list[str]:
    """The functions that the step's graph calls."""
    operations = steps.step.get_concrete_function().graph.get_operations()
    return [each.get_attr("f").name for each in operations if each.type.endswith("PartitionedCall")]


def test_cores_share_one_trace_of_the_model_and_none_waits_for_another(tiny: Path) -> None:
    steps = Steps(tiny, n_cores=2)
    calls = calls_of(steps)
    assert len(calls) == 2
    assert len(set(calls)) == 1
    operations = steps.step.get_concrete_function().graph.get_operations()
    first, second = (each for each in operations if each.type.endswith("PartitionedCall"))
    assert first not in second.control_inputs


def test_a_loss_that_draws_by_itself_has_a_trace_for_each_core(tiny: Path) -> None:
    from tfft.backend import tf

    def noisy(labels: Any, logits: Any) -> Any:
        return logits[:, 0] + tf.random.uniform(tf.shape(labels))

    steps = Steps(tiny, n_cores=2, losses=noisy)
    assert calls_of(steps) == []
    assert steps.loss(2) != steps.loss(2)
