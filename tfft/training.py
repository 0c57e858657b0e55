"""Fits, evaluates and predicts over Splits; builds nothing and prints nothing.

    trained = fit(model, train, validation, losses=losses, devices=devices, ...)
    scores = evaluate(model, validation, losses=losses, devices=devices)
    scores.loss, scores.logits          # one pass gives both

The loss is a mean over examples, never over batches, and every example counts once.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.config import TrainConfig
from tfft.data.split import Split
from tfft.distribute import ONE_DEVICE, Devices
from tfft.errors import DataError, TrainingError, first_line, listed
from tfft.metrics import Metrics
from tfft.modeling import ExampleLosses
from tfft.optimizers import averaged_weights, n_skipped
from tfft.precision import policy
from tfft.progress import Progress
from tfft.results import EpochRecord
from tfft.steps import Programs, any_shape, as_graph, make_train_step
from tfft.tasks import LOWER_IS_BETTER


@dataclass(frozen=True)
class Scores:
    """One pass over a split.

    Attributes:
        loss: mean over its examples.
        logits: float32 [n_examples, n_labels], in the split's order.
        labels: int64 [n_examples], or as the task has them.
    """

    loss: float
    logits: np.ndarray
    labels: np.ndarray

    def figures(self, metrics: Metrics) -> dict[str, float]:
        """`loss`, the metrics and `n_examples`."""
        measured = metrics(self.logits, self.labels)
        return {"loss": self.loss, **measured, "n_examples": len(self.labels)}


@dataclass(frozen=True)
class Trained:
    """A finished fit.

    Attributes:
        best_epoch: from 1.
        n_examples: rows that an epoch really saw.
        examples_per_s: after the first step, without evaluation; None of a single step.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    n_examples: int
    n_steps: int
    examples_per_s: float | None
    seconds: float

    @property
    def best(self) -> EpochRecord:
        return self.history[self.best_epoch - 1]


def fit(
    model: Any,
    train: Split,
    validation: Split,
    *,
    losses: ExampleLosses,
    training_losses: ExampleLosses | None = None,
    metrics: Metrics,
    metric_for_best: str,
    config: TrainConfig,
    devices: Devices = ONE_DEVICE,
    progress: Progress,
    after_epoch: Callable[[EpochRecord, bool], None] = lambda record, is_best: None,
) -> Trained:
    """Trains the compiled `model`, evaluating after each epoch, or as `config` has it.

    Args:
        losses: what a row costs, in evaluation.
        training_losses: what it costs in training, where that differs: by weights of classes.
        metric_for_best: a metric's name, or `loss`: the validation figure that ranks the epochs.
        after_epoch: called with each epoch's record and whether it is the best so far; whoever
            wants the weights of an epoch saves them here.

    Raises:
        TrainingError: the loss is no number, and names the rows of the batch; or the memory is
            full.
        DataError: a stream broke off or ended too soon, once what it taught is evaluated.
    """
    with devices.scope():
        model.optimizer.build(model.trainable_variables)
    programs = Programs(train.plan.rows_of_width) if config.xla else None
    with policy(config.precision):
        train_step = make_train_step(
            model,
            training_losses or losses,
            train.element_spec,
            devices,
            accumulate=config.accumulate,
            programs=programs,
        )
    score: Callable[..., Any] | None = None
    history: list[EpochRecord] = []
    best: EpochRecord | None = None
    clock = _Clock()
    stops = _stops(config, train)
    batches = _batches(train, stops[-1])
    for number, stop in enumerate(stops, start=1):
        started = time.perf_counter()
        name = f"epoch {number}/{len(stops)}"
        begun, skipped_before = clock.n_steps, n_skipped(model.optimizer)
        with _memory(train, training=config):
            loss, failure = _train_until(stop, train_step, train, batches, name, clock, progress)
        if failure is not None and math.isnan(loss):
            raise failure  # what was learned before it is saved already
        if skipped := n_skipped(model.optimizer) - skipped_before:
            progress.note(
                f"{name}: {skipped} of {clock.n_steps - begun} steps overflowed in "
                f"{config.precision} and were skipped, to go on with a smaller loss scale"
            )
        if score is None:  # only now: tracing it takes as long as many a step
            with policy(config.precision):
                score = _make_scorer(model, losses, validation, devices)
        with averaged_weights(model):
            scores = _score(score, validation, f"{name}, validation", progress)
        record = EpochRecord(
            epoch=number,
            loss=loss,
            validation_loss=scores.loss,
            learning_rate=float(model.optimizer.learning_rate.numpy()),
            metrics=metrics(scores.logits, scores.labels),
            seconds=time.perf_counter() - started,
        )
        history.append(record)
        is_best = best is None or _is_better(record, best, metric_for_best)
        best = record if is_best or best is None else best
        with averaged_weights(model):
            after_epoch(record, is_best)
        progress.epoch(record, len(stops))
        if failure is not None:
            raise failure
        if config.patience is not None and record.epoch - best.epoch >= config.patience:
            progress.note(
                f"stopped early: {metric_for_best} has not improved for {config.patience} epochs"
            )
            break
    if programs is not None:
        seconds = programs.seconds
        progress.note(
            f"xla: {len(seconds)} programs, one a length, made in {sum(seconds.values()):.1f} s "
            "(the first step of each)"
        )
    assert best is not None, "epochs is at least 1"  # noqa: S101
    return Trained(
        history=tuple(history),
        best_epoch=best.epoch,
        n_examples=min(train.n_examples, clock.n_rows),
        n_steps=clock.n_steps,
        examples_per_s=clock.examples_per_s,
        seconds=sum(record.seconds for record in history),
    )


def evaluate(
    model: Any,
    split: Split,
    *,
    losses: ExampleLosses,
    devices: Devices = ONE_DEVICE,
    progress: Progress,
    name: str = "evaluation",
) -> Scores:
    """One pass over a labelled split: its loss and its logits."""
    return _score(_make_scorer(model, losses, split, devices), split, name, progress)


def predict(
    model: Any, split: Split, *, progress: Progress, devices: Devices = ONE_DEVICE
) -> np.ndarray:
    """Logits float32 [n_examples, n_labels], in the split's order; labels, if any, are not read."""
    spec = split.element_spec[0] if isinstance(split.element_spec, tuple) else split.element_spec

    def forward(features: Any) -> Any:
        return tf.cast(model(features, training=False).logits, tf.float32)

    forward = as_graph(devices.joined(forward), [any_shape(spec)])

    logits = []
    with _memory(split), progress.steps("prediction", split.n_examples) as step:
        for batch in split.epoch(0):
            features = batch[0] if isinstance(batch, tuple) else batch
            logits.append(forward(features).numpy())
            step(len(logits[-1]), None)
    return _whole(logits, split)


def _is_better(record: EpochRecord, best: EpochRecord, metric: str) -> bool:
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    return sign * record.figure(metric) > sign * best.figure(metric)


def _make_scorer(
    model: Any, losses: ExampleLosses, split: Split, devices: Devices
) -> Callable[..., Any]:
    def score(features: Any, labels: Any) -> Any:
        """Each row's loss, and the logits."""
        logits = tf.cast(model(features, training=False).logits, tf.float32)
        return tf.cast(losses(labels, logits), tf.float32), logits

    return as_graph(devices.joined(score), any_shape(split.element_spec))


@contextmanager
def _memory(split: Split, *, training: TrainConfig | None = None) -> Iterator[None]:
    """Says what to try where a step, of training or not, doesn't fit into memory.

    Raises:
        TrainingError: it doesn't.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        size, name, batch = split.plan.batch_size, "--batch-size", "texts"
        if training is not None and training.batch_tokens is not None:
            size, name, batch = training.batch_tokens, "--batch-tokens", "tokens"
        less = f"{name} {size // 2}" if size > 1 else "a smaller model"
        if training is not None and training.accumulate == 1 and size > 1:
            less = f"--accumulate 2, {less}"
        raise TrainingError(
            f"out of memory with {size} {batch} a batch ({first_line(error)[:120]}); try {less}, "
            "or a lower --max-length"
        ) from error


class _Clock:
    """Counts examples and seconds of training steps, the first (which traces) apart."""

    def __init__(self) -> None:
        self.n_steps = self.n_rows = 0
        self._n_examples = 0
        self._seconds = 0.0

    def step(self, n_examples: int, seconds: float) -> None:
        if self.n_steps:
            self._n_examples += n_examples
            self._seconds += seconds
        self.n_steps += 1
        self.n_rows += n_examples

    @property
    def examples_per_s(self) -> float | None:
        return self._n_examples / self._seconds if self._seconds else None


def _stops(config: TrainConfig, split: Split) -> Sequence[int]:
    """After how many steps the model is evaluated: each time, the last being the end of the run."""
    n_steps = split.plan.total_steps(config)
    if config.evaluate_every is not None:
        ends: Iterable[int] = itertools.count(config.evaluate_every, config.evaluate_every)
    else:
        ends = itertools.accumulate(map(split.plan.steps, itertools.count()))
    return [*itertools.takewhile(lambda end: end < n_steps, ends), n_steps]


def _batches(split: Split, n_steps: int) -> Iterator[tuple[int, int, Any]]:
    """(epoch, step, batch) of as many passes as it takes, the last one cut short.

    Raises:
        TrainingError: a whole pass hasn't all rows.
    """
    n_left = n_steps
    for epoch in itertools.count():
        n_seen = 0
        steps_a_pass = split.plan.steps(epoch)
        in_pass = min(n_left, steps_a_pass)
        for step, batch in zip(range(in_pass), split.epoch(epoch), strict=False):
            n_seen += len(batch[1])
            yield epoch, step, batch
        is_whole = in_pass == steps_a_pass and split.is_counted
        if is_whole and n_seen != split.n_examples:
            raise TrainingError(f"epoch {epoch + 1} saw {n_seen} rows, expected {split.n_examples}")
        n_left -= in_pass
        if n_left == 0:
            return


def _train_until(
    stop: int,
    train_step: Callable[..., Any],
    split: Split,
    batches: Iterator[tuple[int, int, Any]],
    name: str,
    clock: _Clock,
    progress: Progress,
) -> tuple[float, DataError | None]:
    """Steps up to the one numbered `stop`.

    Returns:
        The mean loss over their rows, NaN of no row, and what ended a stream before.
    """
    total, n_seen = 0.0, 0
    failure = None
    n_rows = split.plan.n_rows(stop) - split.plan.n_rows(clock.n_steps)
    with progress.steps(name, n_rows) as show:
        started = time.perf_counter()
        try:
            for epoch, step, batch in itertools.islice(batches, stop - clock.n_steps):
                loss, n_in_batch = (float(each) for each in train_step(*batch))
                if not math.isfinite(loss):
                    raise TrainingError(_not_finite(loss, split, epoch, step))
                total, n_seen = total + loss * n_in_batch, n_seen + int(n_in_batch)
                now = time.perf_counter()
                clock.step(int(n_in_batch), now - started)
                started = now
                show(int(n_in_batch), loss)
        except DataError as error:  # of a stream: what came until then was learned all the same
            failure = error
    return total / n_seen if n_seen else math.nan, failure


def _not_finite(loss: float, split: Split, epoch: int, step: int) -> str:
    rows = np.sort(split.source_rows(epoch, step))
    return (
        f"the loss is {loss} at epoch {epoch + 1}, step {step + 1}, on the rows "
        f"{listed(rows, most=64)} (counted from 0); try a lower --learning-rate, or look at these "
        "rows"
    )


def _score(score: Callable[..., Any], split: Split, name: str, progress: Progress) -> Scores:
    losses, logits, labels = [], [], []
    with _memory(split), progress.steps(name, split.n_examples) as show:
        for features, targets in split.epoch(0):
            by_row, outputs = score(features, targets)
            losses.append(by_row.numpy())
            logits.append(outputs.numpy())
            labels.append(targets.numpy())
            show(len(logits[-1]), None)
    whole = _whole(logits, split)
    loss = float(np.concatenate(losses).mean(dtype=np.float64))
    if not (math.isfinite(loss) and np.isfinite(whole).all()):
        bad = split.row_numbers[~np.isfinite(whole).all(axis=-1)]
        raise TrainingError(
            f"the loss of {name} is {loss}; {len(bad)} rows have logits that are no numbers"
            f"{f' (rows {listed(bad)})' if len(bad) else ''}; try a lower --learning-rate"
        )
    return Scores(loss, whole, np.concatenate(labels))


def _whole(logits: list[np.ndarray], split: Split) -> np.ndarray:
    whole = np.concatenate(logits)
    if len(whole) != split.n_examples:
        raise TrainingError(f"{len(whole)} rows came out of {split.n_examples}")
    return whole
