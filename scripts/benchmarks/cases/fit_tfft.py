"""`tfft fit`, as `runs.fit` does it, by one of its loaders.

It stops after the first step and after each epoch, where its progress is told; saving isn't
counted, as no other path saves.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.cases.counting import body_size, tokens_of
from benchmarks.cases.gpu import tensorflow_peak
from benchmarks.cases.imports import import_tf_classes
from benchmarks.worker import Job, Turn
from tfft import runs
from tfft.config import RunConfig
from tfft.progress import Progress, Step
from tfft.results import EpochRecord


def run(job: Job, turn: Turn) -> None:
    import_tf_classes(job["model"])
    from tfft import training

    config = RunConfig.from_options(
        {
            "data.source": job["data"],
            "data.loader": job["loader"],
            "data.max_length": job["max_length"],
            "model.source": job["model"],
            "train.batch_size": job["batch_size"],
            "train.epochs": job["epochs"],
            "train.learning_rate": job["learning_rate"],
            "train.seed": job["seed"],
        }
    )
    told = _Told(turn)
    training.make_engine = told.started(training.make_engine)
    training.fit = told.around(training.fit)
    with tempfile.TemporaryDirectory() as folder:
        turn.start()
        runs.fit(config, output=Path(folder) / "run", progress=told)


class _Told(Progress):
    """Tells the parent instead of a user."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._stages: list[tuple[str, float]] = []
        self._fit_started = 0.0
        self._stepped = False
        self._input = _Waits()
        self._about: dict[str, Any] = {}

    def started(self, make_engine: Callable[..., Any]) -> Callable[..., Any]:
        """`training.make_engine`, which traces the step: Keras does so within `model.fit`."""

        def watched(*arguments: Any, **options: Any) -> Any:
            self._fit_started = self._turn.seconds
            return make_engine(*arguments, **options)

        return watched

    def around(self, fit: Callable[..., Any]) -> Callable[..., Any]:
        """`training.fit`, looked at: what it is given, and how long it waits for it."""

        def watched(model: Any, train: Any, validation: Any, **options: Any) -> Any:
            turn, after_epoch = self._turn, options.pop("after_epoch", lambda *_: None)
            with turn.not_counted():
                shapes = {each.name: each.shape for each in model.trainable_variables}
                self._about = {
                    "body_size": body_size(shapes),
                    "train_tokens": tokens_of(train.epoch(0)),
                    "validation_tokens": tokens_of(validation.epoch(0)),
                }

            def save(*arguments: Any) -> None:
                with turn.not_counted():
                    after_epoch(*arguments)

            epoch = train.epoch
            train = replace(train, epoch=lambda number: self._input.of(epoch(number)))
            return fit(model, train, validation, after_epoch=save, **options)

        return watched

    def stage(self, text: str) -> None:
        self._stages.append((text, self._turn.seconds))

    @contextmanager
    def steps(self, what: str, n_examples: int) -> Iterator[Step]:
        def step(done: int, loss: float | None) -> None:
            if not self._stepped:
                self._stepped = True
                fit_seconds = self._turn.seconds - self._fit_started
                self._turn.tell(fit_seconds=fit_seconds, stages=self._stages, **self._about)

        yield step

    def epoch(self, record: EpochRecord, n_epochs: int) -> None:
        self._turn.tell(metrics=dict(record.metrics), waits=self._input.part(), **tensorflow_peak())


class _Waits:
    """The part of the training steps' time in which a batch was waited for."""

    def __init__(self) -> None:
        self.waited = self.passed = 0.0

    def of(self, batches: Any) -> Iterator[Any]:
        started = time.perf_counter()
        iterator = iter(batches)
        asked = started
        for batch in iterator:
            self.waited += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()
            self.passed = asked - started  # here: nobody asks for one more after the last

    def part(self) -> float:
        part = self.waited / self.passed
        self.waited = self.passed = 0.0
        return part
