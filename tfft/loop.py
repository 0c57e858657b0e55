"""The loop of a fit, the same over every framework: steps, evaluations, the best epoch, patience.

    trained = fit(engine, train, validation, metrics=figures, metric_for_best="accuracy",
                  config=config.train, progress=progress)
    trained.best.metrics

What a framework does of a batch is its `Engine`; where its batches come from, its `Batches`. The
loss is a mean over examples, never over batches, and every example counts once.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tfft.config import TrainConfig
from tfft.data.plan import BatchPlan
from tfft.errors import DataError, TrainingError, first_line, listed
from tfft.metrics import Metrics
from tfft.progress import Progress
from tfft.results import EpochRecord
from tfft.tasks import LOWER_IS_BETTER


class Batches(Protocol):
    """A split in batches: TensorFlow's `Split`, or those of `tfft/pytorch/batches.py`."""

    @property
    def plan(self) -> BatchPlan: ...
    @property
    def n_examples(self) -> int: ...
    @property
    def row_numbers(self) -> np.ndarray: ...
    @property
    def is_counted(self) -> bool: ...
    @property
    def epoch(self) -> Callable[[int], Any]: ...
    def source_rows(self, epoch: int, step: int) -> np.ndarray: ...


class Scorer(Protocol):
    """A model in one framework."""

    def score(self, features: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each row's loss, the logits float32 [batch, n_labels], and the labels."""

    def memory(self, split: Any, *, training: bool) -> AbstractContextManager[None]:
        """Says what to try where a step doesn't fit into memory."""


class Engine(Scorer, Protocol):
    """A model with its optimizer."""

    def train(self, features: Any, labels: Any) -> tuple[Any, Any]:
        """One step: the batch's mean loss, and how many rows it had."""

    def learning_rate(self) -> float:
        """Of the last step."""

    def averaged(self) -> AbstractContextManager[None]:
        """In here the model has the weights that are evaluated and saved."""

    def notes(self, name: str, n_steps: int) -> Sequence[str]:
        """What there is to say of the last steps."""


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


@dataclass
class History:
    """The epochs so far, and which of them is the best.

    Attributes:
        metric: a metric's name, or `loss`: the validation figure that ranks them.
        patience: so many epochs without a better one are enough; None never ends.
    """

    metric: str
    patience: int | None
    records: list[EpochRecord] = field(default_factory=list)
    best: EpochRecord | None = None

    def add(self, record: EpochRecord) -> bool:
        """Whether it is the best so far."""
        self.records.append(record)
        sign = -1.0 if self.metric in LOWER_IS_BETTER else 1.0
        is_best = self.best is None or (
            sign * record.figure(self.metric) > sign * self.best.figure(self.metric)
        )
        if is_best:
            self.best = record
        return is_best

    def why_over(self) -> str | None:
        """What ends the fit early, for the user to read; None goes on."""
        if self.patience is None or self.best is None:
            return None
        if self.records[-1].epoch - self.best.epoch < self.patience:
            return None
        return f"stopped early: {self.metric} has not improved for {self.patience} epochs"

    def trained(self, clock: Clock, n_examples: int) -> Trained:
        assert self.best is not None, "epochs is at least 1"  # noqa: S101
        return Trained(
            history=tuple(self.records),
            best_epoch=self.best.epoch,
            n_examples=min(n_examples, clock.n_rows),
            n_steps=clock.n_steps,
            examples_per_s=clock.examples_per_s,
            seconds=sum(record.seconds for record in self.records),
        )


class Clock:
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


def fit(
    engine: Engine,
    train: Batches,
    validation: Batches,
    *,
    metrics: Metrics,
    metric_for_best: str,
    config: TrainConfig,
    progress: Progress,
    after_epoch: Callable[[EpochRecord, bool], None] = lambda record, is_best: None,
) -> Trained:
    """Trains, evaluating after each epoch, or as `config` has it.

    Args:
        metric_for_best: a metric's name, or `loss`: the validation figure that ranks the epochs.
        after_epoch: called with each epoch's record and whether it is the best so far; whoever
            wants the weights of an epoch saves them here.

    Raises:
        TrainingError: the loss is no number, and names the rows of the batch; or the memory is
            full.
        DataError: a stream broke off or ended too soon, once what it taught is evaluated.
    """
    history = History(metric_for_best, config.patience)
    clock = Clock()
    stops = stops_of(config, train.plan)
    batches = _batches(train, stops[-1])
    for number, stop in enumerate(stops, start=1):
        started = time.perf_counter()
        name = f"epoch {number}/{len(stops)}"
        begun = clock.n_steps
        with engine.memory(train, training=True):
            loss, failure = _train_until(stop, engine, train, batches, name, clock, progress)
        if failure is not None and math.isnan(loss):
            raise failure  # what was learned before it is saved already
        for note in engine.notes(name, clock.n_steps - begun):
            progress.note(note)
        with engine.averaged():
            scores = score(engine, validation, f"{name}, validation", progress)
        record = EpochRecord(
            epoch=number,
            loss=loss,
            validation_loss=scores.loss,
            learning_rate=engine.learning_rate(),
            metrics=metrics(scores.logits, scores.labels),
            seconds=time.perf_counter() - started,
        )
        is_best = history.add(record)
        with engine.averaged():
            after_epoch(record, is_best)
        progress.epoch(record, len(stops))
        if failure is not None:
            raise failure
        if over := history.why_over():
            progress.note(over)
            break
    return history.trained(clock, train.n_examples)


def stops_of(config: TrainConfig, plan: BatchPlan) -> Sequence[int]:
    """After how many steps the model is evaluated: each time, the last being the end of the run."""
    n_steps = plan.total_steps(config)
    if config.evaluate_every is not None:
        ends: Iterable[int] = itertools.count(config.evaluate_every, config.evaluate_every)
    else:
        ends = itertools.accumulate(map(plan.steps, itertools.count()))
    return [*itertools.takewhile(lambda end: end < n_steps, ends), n_steps]


def _batches(split: Batches, n_steps: int) -> Iterator[tuple[int, int, Any]]:
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
    engine: Engine,
    split: Batches,
    batches: Iterator[tuple[int, int, Any]],
    name: str,
    clock: Clock,
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
                loss, n_in_batch = (float(each) for each in engine.train(*batch))
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


def _not_finite(loss: float, split: Batches, epoch: int, step: int) -> str:
    rows = np.sort(split.source_rows(epoch, step))
    return (
        f"the loss is {loss} at epoch {epoch + 1}, step {step + 1}, on the rows "
        f"{listed(rows, most=64)} (counted from 0); try a lower --learning-rate, or look at these "
        "rows"
    )


def score(scorer: Scorer, split: Batches, name: str, progress: Progress) -> Scores:
    """One pass over a labelled split: its loss and its logits.

    Raises:
        TrainingError: some of them are no numbers, or the memory is full.
    """
    losses, logits, labels = [], [], []
    with scorer.memory(split, training=False), progress.steps(name, split.n_examples) as show:
        for features, targets in split.epoch(0):
            by_row, outputs, known = scorer.score(features, targets)
            losses.append(by_row)
            logits.append(outputs)
            labels.append(known)
            show(len(outputs), None)
    return scores_of(
        np.concatenate(losses), whole(logits, split), np.concatenate(labels), split, name
    )


def scores_of(
    losses: np.ndarray, logits: np.ndarray, labels: np.ndarray, split: Batches, name: str
) -> Scores:
    """Raises:
    TrainingError: the loss or some logits are no numbers; names their rows.
    """
    loss = float(losses.mean(dtype=np.float64))
    if not (math.isfinite(loss) and np.isfinite(logits).all()):
        bad = split.row_numbers[~np.isfinite(logits).all(axis=-1)]
        raise TrainingError(
            f"the loss of {name} is {loss}; {len(bad)} rows have logits that are no numbers"
            f"{f' (rows {listed(bad)})' if len(bad) else ''}; try a lower --learning-rate"
        )
    return Scores(loss, logits, labels)


def whole(logits: Sequence[np.ndarray], split: Batches) -> np.ndarray:
    """Raises:
    TrainingError: not every row came out.
    """
    joined = np.concatenate(logits)
    if len(joined) != split.n_examples:
        raise TrainingError(f"{len(joined)} rows came out of {split.n_examples}")
    return joined


def out_of_memory(
    error: BaseException, split: Batches, *, training: TrainConfig | None
) -> TrainingError:
    """What to try where a step, of training or not, doesn't fit into memory."""
    size, name, batch = split.plan.batch_size, "--batch-size", "texts"
    if training is not None and training.batch_tokens is not None:
        size, name, batch = training.batch_tokens, "--batch-tokens", "tokens"
    less = f"{name} {size // 2}" if size > 1 else "a smaller model"
    if training is not None and training.accumulate == 1 and size > 1:
        less = f"--accumulate 2, {less}"
    return TrainingError(
        f"out of memory with {size} {batch} a batch ({first_line(error)[:120]}); try {less}, "
        "or a lower --max-length"
    )
