"""What the trials of a search share: rows read and tokenised once, a bench set up once.

workshop = open_workshop(config, asked, progress)
workshop.try_out({"learning_rate": 3e-5}, ...)      # on nine tenths of train, scored on one
workshop.fit_winner(config, folder)                 # on all of train, scored on validation
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfft import folders
from tfft.config import RunConfig, TuneConfig
from tfft.data.choice import plan_batches
from tfft.data.examples import hold_out
from tfft.errors import ConfigError, listed
from tfft.job import Job, Work
from tfft.progress import Progress, Step
from tfft.ready import Prepared, choose_batches, figures_of, prepare, tokenise
from tfft.results import FitResult, RangeResult
from tfft.tuning.rising import has_diverged, n_range_steps, read_curve, rising_rates
from tfft.tuning.spaces import config_with
from tfft.tuning.telling import EPOCHS, telling

if TYPE_CHECKING:
    from tfft.bench import Bench
    from tfft.data.encode import Encoded


@dataclass
class Workshop:
    """A search's data and its bench.

    Attributes:
        whole: what the winner learns from, and is scored on.
        parts: the same with a tenth of train in the place of the validation split.
        whole_tokens, part_tokens: their splits in tokens.
        loader: one for all trials.
    """

    config: RunConfig
    whole: Prepared
    parts: Prepared
    whole_tokens: Mapping[str, Encoded]
    part_tokens: Mapping[str, Encoded]
    loader: str
    bench: Bench
    progress: Progress

    @property
    def objective(self) -> str:
        return self.whole.metric

    @property
    def n_held_out(self) -> int:
        return len(self.parts.examples.validation)

    def try_out(
        self, values: Mapping[str, Any], codes: Mapping[str, Any], *, name: str
    ) -> dict[str, float]:
        """One trial.

        Args:
            values: by option.
            codes: what the oracle has beside them: of hyperband how long the trial is.
            name: for the bar.

        Returns:
            What the oracle is told.

        Raises:
            TfftError: the trial failed.
        """
        started = time.perf_counter()
        more = {"epochs": int(codes[EPOCHS])} if EPOCHS in codes else {}
        trained = self._trained(config_with(self.config, {**values, **more}), name)
        best = trained.best
        return telling(
            {"loss": best.validation_loss, **best.metrics},
            {
                "epochs": len(trained.history),
                "best_epoch": trained.best_epoch,
                "seconds": time.perf_counter() - started,
            },
        )

    def score(self, values: Mapping[str, Any], *, seed: int, name: str) -> float:
        """The objective of another fit with these values, by another seed."""
        config = config_with(self.config, values)
        seeded = replace(config, train=replace(config.train, seed=seed))
        return self._trained(seeded, name).best.figure(self.objective)

    def test_range(self, low: float, high: float) -> RangeResult:
        """One short run with the rate rising, on the rows that trials learn from.

        Raises:
            TrainingError: it suggests nothing.
        """
        from tfft import keras_fit
        from tfft.tuning.engine import Rising

        steps_a_pass = self._plan(self.config).n_steps
        rates = rising_rates(low, high, n_steps=n_range_steps(steps_a_pass))
        options: dict[str, Any] = {"train.steps": len(rates), "train.evaluate_every": len(rates)}
        # The rate is the test's alone.
        options |= {"train.schedule": "constant", "train.warmup": 0.0, "train.learning_rate": low}
        given = {**self.config.as_options(), **options}
        del given["train.epochs"]
        if self.config.train.batch_tokens is not None:
            del given["train.batch_size"]
        work = self._work(RunConfig.from_options(given), "range test")
        losses = Rising.losses_of(
            lambda around: keras_fit.try_out(work, self.bench, around=around),
            rates,
            is_over=has_diverged,
        )
        return read_curve(rates, np.asarray(losses))

    def fit_winner(self, config: RunConfig, folder: Path) -> FitResult:
        """Trains on all of train, and scores the result once."""
        from tfft import keras_fit

        with folders.RunFolder.claim(folder, overwrite=True) as claimed:
            claimed.need(3 * self.whole.checkpoint.n_bytes)
            job = Job(
                config,
                self.whole,
                self.whole_tokens,
                self.loader,
                self._plan(config, whole=True).total_steps(config.train),
                self.progress,
                claimed,
            )
            return keras_fit.fit(job, bench=self.bench)

    def n_steps(self, config: RunConfig) -> int:
        """Of the winner's fit."""
        return self._plan(config, whole=True).total_steps(config.train)

    def _trained(self, config: RunConfig, name: str) -> Any:
        from tfft import keras_fit

        return keras_fit.try_out(self._work(config, name), self.bench)

    def _work(self, config: RunConfig, name: str) -> Work:
        n_steps = self._plan(config).total_steps(config.train)
        progress = _Quiet(self.progress, name)
        return Work(config, self.parts, self.part_tokens, self.loader, n_steps, progress)

    def _plan(self, config: RunConfig, *, whole: bool = False) -> Any:
        tokens = self.whole_tokens if whole else self.part_tokens
        return plan_batches(config, tokens["train"].lengths, loader=self.loader, shuffle=True)


def open_workshop(config: RunConfig, asked: TuneConfig, progress: Progress) -> Workshop:
    """Reads, checks and tokenises all that the trials need.

    Raises:
        TfftError: as a fit's own; or the task doesn't report the objective.
    """
    whole = prepare(config, progress)
    objective = asked.objective or whole.metric
    if objective not in (reported := figures_of(whole.examples)):
        labels = f" and {len(whole.examples.label_names)} labels"
        raise ConfigError(
            f"objective {objective} is not reported with task {whole.task.name}"
            f"{labels if whole.task.name == 'single_label' else ''}; there are {listed(reported)}"
        )
    whole = replace(whole, metric=objective)
    train, held_out = hold_out(whole.examples.train, seed=config.train.seed)
    progress.note(
        f"objective: {objective} on {len(held_out):,} rows of train that no trial learns from, a "
        f"tenth (seed {config.train.seed}); the validation split is for the winner"
    )
    examples = replace(whole.examples, train=train, validation=held_out, more_validation={})
    parts = replace(whole, examples=examples)
    whole_tokens = tokenise(whole, progress)
    part_tokens = tokenise(parts, Progress())
    loader, _ = choose_batches(config, whole, whole_tokens, progress)
    progress.stage("loading the model")
    from tfft.bench import Bench

    # The winner learns from all of train: with its tokens, the step of the trials is its own too.
    bench = Bench(again=True, tokens=whole_tokens["train"].tokens)
    return Workshop(config, whole, parts, whole_tokens, part_tokens, loader, bench, progress)


class _Quiet(Progress):
    """A trial's own progress: its bar alone."""

    def __init__(self, outer: Progress, name: str) -> None:
        self._outer, self._name = outer, name

    def stage(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def waiting(self, text: str) -> None:
        self._outer.waiting(text)

    @contextmanager
    def steps(self, what: str, n_examples: int) -> Iterator[Step]:
        with self._outer.steps(f"{self._name}, {what}", n_examples) as step:
            yield step

    def epoch(self, record: Any, n_epochs: int) -> None:
        pass
