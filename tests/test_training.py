"""The loop itself: what is counted, what is kept, when it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loaders import BATCH_SIZE, N_ROWS, TASK, new_model, rows, split_of
from tiny import write_reviews

from tfft.config import TrainConfig
from tfft.data.encode import encode
from tfft.data.split import Split
from tfft.errors import TrainingError
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.progress import Progress
from tfft.tasks import TASKS


@pytest.fixture(scope="module")
def splits(tiny: Path) -> tuple[Any, Split, Split]:
    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASK))
    encoded = encode(rows(), tokenizer, max_length=64)
    model = new_model(tiny)
    train = split_of("numpy", encoded, tokenizer, model)
    return model, train, split_of("numpy", encoded, tokenizer, model, shuffle=False)


def given(values: list[float]) -> Callable[[Any, Any], Mapping[str, float]]:
    """Metrics that give these values for `accuracy`, epoch by epoch."""
    left: Iterator[float] = iter(values)
    return lambda logits, labels: {"accuracy": next(left)}


def fit(splits: tuple[Any, Split, Split], **changes: Any) -> Any:
    from tfft import modeling, training

    model, train, validation = splits
    options: dict[str, Any] = {
        "losses": modeling.example_losses(model, TASKS["single_label"]),
        "metrics": given([0.5] * 9),
        "metric_for_best": "accuracy",
        "config": TrainConfig(epochs=1),
        "progress": Progress(),
    }
    return training.fit(model, train, validation, **(options | changes))


def test_evaluation_weighs_each_example_the_same(splits: tuple[Any, Split, Split]) -> None:
    from tfft import training
    from tfft.backend import tf

    model, _, validation = splits

    def by_label(labels: Any, logits: Any) -> Any:
        return tf.cast(labels, tf.float32)

    scores = training.evaluate(model, validation, losses=by_label, progress=Progress())
    # The ragged last batch would weigh more in a mean of batch means.
    batch_means = [float(np.mean(labels)) for _, labels in validation.epoch(0)]
    assert scores.loss == pytest.approx(np.mean(scores.labels))
    assert scores.loss != pytest.approx(np.mean(batch_means))
    assert scores.logits.shape == (N_ROWS, 2)


def test_the_loss_of_an_epoch_weighs_each_example_the_same(
    splits: tuple[Any, Split, Split],
) -> None:
    from tfft.backend import tf

    def by_label(labels: Any, logits: Any) -> Any:
        return tf.cast(labels, tf.float32) + 0.0 * tf.reduce_sum(logits, axis=-1)

    trained = fit(splits, losses=by_label)
    assert trained.best.loss == pytest.approx(24 / 37)
    assert trained.n_examples == N_ROWS
    assert trained.n_steps == -(-N_ROWS // BATCH_SIZE)


def test_the_best_epoch_is_kept_and_patience_ends_the_run(
    splits: tuple[Any, Split, Split],
) -> None:
    saved = []
    trained = fit(
        splits,
        metrics=given([0.5, 0.7, 0.6, 0.65, 0.9]),
        config=TrainConfig(epochs=5, patience=2),
        after_epoch=lambda record, is_best: saved.append((record.epoch, is_best)),
    )
    assert trained.best_epoch == 2
    assert saved == [(1, True), (2, True), (3, False), (4, False)]


def test_of_equal_epochs_the_first_is_best(splits: tuple[Any, Split, Split]) -> None:
    assert fit(splits, config=TrainConfig(epochs=2)).best_epoch == 1


def test_of_losses_the_lowest_is_best(splits: tuple[Any, Split, Split]) -> None:
    trained = fit(splits, metric_for_best="loss", config=TrainConfig(epochs=3))
    losses = [each.validation_loss for each in trained.history]
    assert trained.best_epoch == int(np.argmin(losses)) + 1


def by_steps(splits: tuple[Any, Split, Split], **config: Any) -> tuple[Any, list[int]]:
    """The fit, and how many rows each step had."""
    from tfft.backend import tf

    seen: list[int] = []

    def counted(labels: Any, logits: Any) -> Any:
        tf.py_function(lambda n_rows: seen.append(int(n_rows)), [tf.shape(labels)[0]], [])
        return tf.reduce_sum(logits, axis=-1) * 0.0

    trained = fit(splits, training_losses=counted, config=TrainConfig(**config))
    return trained, seen


def test_steps_take_as_many_passes_as_they_need_and_cut_the_last_one_short(
    splits: tuple[Any, Split, Split],
) -> None:
    trained, seen = by_steps(splits, steps=12)  # five a pass
    assert seen == [8, 8, 8, 8, 5] * 2 + [8, 8]
    assert [record.epoch for record in trained.history] == [1, 2, 3]
    assert (trained.n_steps, trained.n_examples) == (12, N_ROWS)


def test_fewer_steps_than_a_pass_has_are_one_evaluation(
    splits: tuple[Any, Split, Split],
) -> None:
    trained, seen = by_steps(splits, steps=2)
    assert seen == [8, 8]
    assert (len(trained.history), trained.n_examples) == (1, 16)


@pytest.mark.parametrize(
    ("config", "n_evaluations", "n_steps"),
    [
        ({"steps": 12, "evaluate_every": 5}, 3, 12),
        ({"steps": 12, "evaluate_every": 4}, 3, 12),
        ({"steps": 12, "evaluate_every": 99}, 1, 12),
        ({"epochs": 2, "evaluate_every": 3}, 4, 10),
    ],
)
def test_it_is_evaluated_every_so_many_steps_and_at_the_end(
    splits: tuple[Any, Split, Split], config: dict[str, int], n_evaluations: int, n_steps: int
) -> None:
    trained, seen = by_steps(splits, **config)
    assert len(trained.history) == n_evaluations
    assert trained.n_steps == len(seen) == n_steps


def test_steps_of_whole_passes_learn_what_epochs_do(tiny: Path, tmp_path: Path) -> None:
    import tfft

    data = write_reviews(tmp_path / "reviews")
    one, other = (
        tfft.fit(data=str(data), model=str(tiny), output=tmp_path / str(n), batch_size=8, **length)
        for n, length in enumerate(({"epochs": 2}, {"steps": 12}))
    )
    # One seed on one machine: all that may differ is the order of a sum.
    assert dict(other.validation) == pytest.approx(dict(one.validation), abs=1e-6)
    assert len(other.history) == len(one.history)
    assert other.train["n_examples"] == one.train["n_examples"] == 45


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_and_names_the_rows(
    splits: tuple[Any, Split, Split], bad: float
) -> None:
    from tfft.backend import tf

    third = {"step": tf.Variable(0, dtype=tf.int32)}

    def fails_in_the_third_step(labels: Any, logits: Any) -> Any:
        step = third["step"].assign_add(1)
        fine = tf.reduce_sum(logits, axis=-1)
        return tf.where(step == 3, tf.fill(tf.shape(fine), bad), fine * 0.0)

    with pytest.raises(TrainingError, match="epoch 1, step 3") as caught:
        fit(splits, losses=fails_in_the_third_step)
    _, train, _ = splits
    for row in train.plan.rows(0, 2):
        assert f" {row}," in str(caught.value) or f" {row} " in str(caught.value)


def test_a_loss_that_branches_on_a_tensor_is_learned_all_the_same(
    splits: tuple[Any, Split, Split],
) -> None:
    """Python's `if` on a tensor needs AutoGraph, which is off unless it is needed."""
    from tfft.backend import tf

    def branching(labels: Any, logits: Any) -> Any:
        scale = tf.constant(1.0)
        if tf.shape(labels)[0] < BATCH_SIZE:
            scale = tf.constant(3.0)
        return scale + 0.0 * tf.reduce_sum(logits, axis=-1)

    # 32 rows in whole batches, 5 in the ragged one.
    assert fit(splits, losses=branching).best.loss == pytest.approx((32 + 5 * 3) / N_ROWS)


def test_a_loader_that_loses_rows_is_noticed(splits: tuple[Any, Split, Split]) -> None:
    import dataclasses

    model, train, validation = splits
    short = dataclasses.replace(train, epoch=lambda number: islice(train.epoch(number), 2))
    with pytest.raises(TrainingError, match=f"saw 16 rows, expected {N_ROWS}"):
        fit((model, short, validation))


def test_dropout_is_on_in_training_and_off_in_evaluation(tiny: Path) -> None:
    from tfft import modeling, training

    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASK))
    encoded = encode(rows(), tokenizer, max_length=64)
    model = new_model(tiny, dropout=0.5)
    split = split_of("numpy", encoded, tokenizer, model, shuffle=False)
    losses = modeling.example_losses(model, TASKS["single_label"])
    first, second = (
        training.evaluate(model, split, losses=losses, progress=Progress()) for _ in range(2)
    )
    np.testing.assert_array_equal(first.logits, second.logits)
    features, _ = next(iter(split.epoch(0)))
    dropped = model(features, training=True).logits.numpy()
    assert np.abs(dropped - first.logits[:BATCH_SIZE]).max() > 1e-3
