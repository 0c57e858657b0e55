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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tfft.results import EpochRecord

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

    def epoch(self, record: EpochRecord, n_epochs: int) -> None:
        log.info("%s", epoch_line(record, n_epochs))


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


def epoch_line(record: EpochRecord, n_epochs: int) -> str:
    """`epoch 1/3  loss 0.5821  validation_loss 0.5521  accuracy 0.7123  (81 s)`."""
    figures = {"loss": record.loss, "validation_loss": record.validation_loss, **record.metrics}
    told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
    return f"epoch {record.epoch}/{n_epochs}  {told}  ({record.seconds:.0f} s)"
