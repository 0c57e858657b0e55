"""Fits, evaluates and predicts over Splits in TensorFlow; builds nothing and prints nothing.

trained = fit(model, train, validation, losses=losses, devices=devices, ...)
scores = evaluate(model, validation, losses=losses, devices=devices)
scores.loss, scores.logits          # one pass gives both
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from tfft import loop
from tfft.backend import tf
from tfft.config import TrainConfig
from tfft.data.split import Split
from tfft.distribute import ONE_DEVICE, Devices
from tfft.loop import Scores, Trained
from tfft.metrics import Metrics
from tfft.modeling import ExampleLosses
from tfft.optimizers import averaged_weights, n_skipped
from tfft.precision import policy
from tfft.progress import Progress
from tfft.results import EpochRecord
from tfft.steps import Programs, any_shape, as_graph, make_train_step


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
    engine: loop.Engine | None = None,
) -> Trained:
    """Trains the compiled `model`, evaluating after each epoch, or as `config` has it.

    Args:
        losses: what a row costs, in evaluation.
        training_losses: what it costs in training, where that differs: by weights of classes.
        metric_for_best, after_epoch: as in `loop.fit`, which says what is raised too.
        engine: by `make_engine` of the same model; None makes it.
    """
    engine = engine or make_engine(
        model,
        train,
        validation,
        losses=losses,
        training_losses=training_losses,
        config=config,
        devices=devices,
    )
    with devices.started_soon():
        trained = loop.fit(
            engine,
            train,
            validation,
            metrics=metrics,
            metric_for_best=metric_for_best,
            config=config,
            progress=progress,
            after_epoch=after_epoch,
        )
    if isinstance(engine, KerasEngine) and engine.programs is not None:
        seconds = engine.programs.seconds
        progress.note(
            f"xla: {len(seconds)} programs, one a length, made in {sum(seconds.values()):.1f} s "
            "(the first step of each)"
        )
    return trained


def make_engine(
    model: Any,
    train: Split,
    validation: Split,
    *,
    losses: ExampleLosses,
    training_losses: ExampleLosses | None = None,
    config: TrainConfig,
    devices: Devices = ONE_DEVICE,
) -> KerasEngine:
    """The compiled model with its step traced, for one fit or several; arguments as of `fit`."""
    programs = Programs(train.plan.rows_of_width) if config.xla else None
    with devices.scope():
        model.optimizer.build(model.trainable_variables)
    with policy(config.precision):
        train_step = make_train_step(
            model,
            training_losses or losses,
            train.element_spec,
            devices,
            seed=config.seed,
            accumulate=config.accumulate,
            programs=programs,
        )
    return KerasEngine(model, losses, validation, devices, config, train_step, programs)


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
    return loop.score(_KerasScorer(model, losses, split, devices), split, name, progress)


class _KerasScorer:
    """Scores a model over a split, by a graph that is traced when it is first needed."""

    def __init__(
        self,
        model: Any,
        losses: ExampleLosses,
        split: Split,
        devices: Devices,
        config: TrainConfig | None = None,
    ) -> None:
        self.model, self.config = model, config or TrainConfig()
        self._losses, self._split, self._devices = losses, split, devices

    @cached_property
    def _score(self) -> Callable[..., Any]:
        def score(features: Any, labels: Any) -> Any:
            """Each row's loss, and the logits."""
            logits = tf.cast(self.model(features, training=False).logits, tf.float32)
            return tf.cast(self._losses(labels, logits), tf.float32), logits

        with policy(self.config.precision):
            return as_graph(self._devices.joined(score), any_shape(self._split.element_spec))

    def score(self, features: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        by_row, logits = self._score(features, labels)
        return by_row.numpy(), logits.numpy(), labels.numpy()

    def memory(self, split: Any, *, training: bool) -> AbstractContextManager[None]:
        return _memory(split, training=self.config if training else None)


class KerasEngine(_KerasScorer):
    """What `loop.fit` drives: the model, its optimizer and their graphs."""

    def __init__(
        self,
        model: Any,
        losses: ExampleLosses,
        split: Split,
        devices: Devices,
        config: TrainConfig,
        train_step: Callable[..., Any],
        programs: Programs | None,
    ) -> None:
        super().__init__(model, losses, split, devices, config)
        self.train, self.programs = train_step, programs
        self._n_skipped = n_skipped(model.optimizer)

    def use(self, config: TrainConfig) -> None:
        """Begins a fit by `config`, which differs from the one before in what isn't traced."""
        self.config, self._n_skipped = config, n_skipped(self.model.optimizer)

    def learning_rate(self) -> float:
        return float(self.model.optimizer.learning_rate.numpy())

    def averaged(self) -> AbstractContextManager[None]:
        return averaged_weights(self.model)

    def notes(self, name: str, n_steps: int) -> Sequence[str]:
        """How many steps float16 skipped."""
        before, self._n_skipped = self._n_skipped, n_skipped(self.model.optimizer)
        if not (skipped := self._n_skipped - before):
            return ()
        return (
            f"{name}: {skipped} of {n_steps} steps overflowed in {self.config.precision} and were "
            "skipped, to go on with a smaller loss scale",
        )


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
    return loop.whole(logits, split)


@contextmanager
def _memory(split: Split, *, training: TrainConfig | None = None) -> Iterator[None]:
    """Says what to try where a step, of training or not, doesn't fit into memory.

    Raises:
        TrainingError: it doesn't.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise loop.out_of_memory(error, split, training=training) from error
