"""What a long run tells while it works; who shows it, and how, is somebody else's matter.

    progress.stage("loading the model")
    progress.note("columns: text sentence, label label")
    with progress.steps("epoch 1/3", n_examples=8551) as step:
        step(16, loss=0.61)
    progress.epoch(record, n_epochs=3)

    with shown_by(progress):            # in here `current()` is it, for those whom nobody hands one
        load_data(...)

`Progress` itself goes to the logger `tfft`, silent unless asked for: the Python API's default. The
command line brings its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tfft.results import EpochRecord, Trial
from tfft.tasks import LOWER_IS_BETTER

log = logging.getLogger("tfft")

# Called after each step with the examples done and, in training, their mean loss.
Step = Callable[[int, float | None], None]
# Called with the bytes that came, and with those that are expected on top of the ones known of.
Received = Callable[[int, int], None]


class Progress:
    def stage(self, text: str) -> None:
        """What it is busy with from now on."""
        log.debug("%s", text)

    def note(self, text: str) -> None:
        """Something that was chosen for the user, who may want to know."""
        log.info("%s", text)

    def waiting(self, text: str) -> None:
        """Why nothing happens for a while: told at once."""
        log.warning("%s", text)

    @contextmanager
    def download(self, what: str) -> Iterator[Received]:
        """Around all that may be fetched for `what`; often nothing is."""
        yield lambda came, expected: None

    @contextmanager
    def steps(self, what: str, n_examples: int) -> Iterator[Step]:
        """Around a loop over batches."""
        log.debug("%s: %d examples", what, n_examples)
        yield lambda done, loss: None

    def trial(self, changed: Trial, so_far: Sequence[Trial], search: SearchView) -> None:
        """One has begun (its status is `running`) or ended; `so_far` has it among all others."""
        if changed.status != RUNNING:
            log.info("%s", trial_line(changed, so_far, search))

    def epoch(self, record: EpochRecord, n_epochs: int) -> None:
        log.info("%s", epoch_line(record, n_epochs))


# Of a trial that hasn't ended.
RUNNING = "running"


@dataclass(frozen=True)
class SearchView:
    """What is to be known of a search to show its trials.

    Attributes:
        n_trials: at most; None where nobody knows.
    """

    objective: str
    n_trials: int | None

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The earliest of those with the best score."""
        scored = [each for each in trials if each.score is not None]
        sign = 1.0 if self.objective in LOWER_IS_BETTER else -1.0
        return min(scored, key=lambda each: sign * (each.score or 0.0), default=None)


_current: ContextVar[Progress | None] = ContextVar("progress", default=None)


def current() -> Progress:
    return _current.get() or Progress()


@contextmanager
def shown_by(progress: Progress) -> Iterator[Progress]:
    token = _current.set(progress)
    try:
        yield progress
    finally:
        _current.reset(token)


def trial_line(trial: Trial, so_far: Sequence[Trial], search: SearchView) -> str:
    """`trial 3/8  learning_rate 3.162e-05  accuracy 0.8123  (41 s)  best 0.8310`."""
    of = "" if search.n_trials is None else f"/{search.n_trials}"
    told = [f"trial {trial.trial}{of}", values_text(trial.values)]
    if trial.score is None:
        told.append(f"{trial.status}: {trial.message}" if trial.message else trial.status)
    else:
        told.append(f"{search.objective} {trial.score:.4f}")
    told.append(f"({trial.seconds:.0f} s)")
    if (best := search.best(so_far)) is not None:
        told.append(f"best {best.score:.4f}")
    return "  ".join(told)


def values_text(values: Mapping[str, Any]) -> str:
    """`learning_rate 3.162e-05, batch_size 16`."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in values.items())


def value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def epoch_line(record: EpochRecord, n_epochs: int) -> str:
    """`epoch 1/3  loss 0.5821  validation_loss 0.5521  accuracy 0.7123  (81 s)`."""
    figures = {"loss": record.loss, "validation_loss": record.validation_loss, **record.metrics}
    told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
    return f"epoch {record.epoch}/{n_epochs}  {told}  ({record.seconds:.0f} s)"
