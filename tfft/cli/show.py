"""How a run looks while it works: a live bar on a terminal, plain lines elsewhere.

    with console_progress() as progress:
        runs.fit(config, progress=progress)

What was chosen is shown when the work starts: where a run is refused, its error is the only line.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from tfft.progress import Progress, Received, Step, epoch_line, shown_by
from tfft.results import EpochRecord

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def console_progress() -> Iterator[Progress]:
    """A bar where standard error is a terminal, else lines."""
    if not sys.stderr.isatty():
        with shown_by(PlainProgress()) as progress:
            yield progress
        return
    from rich.console import Console

    live = LiveProgress(Console(stderr=True, highlight=False))
    try:
        with shown_by(live):
            yield live
    finally:
        live.close()


class PlainProgress(Progress):
    """Lines without a bar, for logs and pipes."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def stage(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        self._held.append(text)

    def waiting(self, text: str) -> None:
        self._say(text)

    @contextmanager
    def steps(self, what: str, n_examples: int) -> Iterator[Step]:
        self._release()
        yield lambda done, loss: None

    def epoch(self, record: EpochRecord, n_epochs: int) -> None:
        self._say(epoch_line(record, n_epochs))
        self._release()

    def _release(self) -> None:
        for text in self._held:
            self._say(text)
        self._held.clear()

    def _say(self, text: str) -> None:
        click.echo(text, err=True)


class LiveProgress(PlainProgress):
    """The same lines, above a bar with examples/s and the time left."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._status = console.status("starting")
        self._status.start()

    def stage(self, text: str) -> None:
        self._status.update(f"{text} ...")

    @contextmanager
    def download(self, what: str) -> Iterator[Received]:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import (
            Progress as Bar,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        bar = Bar(*columns, console=self._console, transient=True)
        shown = bar.add_task(f"fetching {what}", total=0)
        lock = threading.Lock()

        def received(came: int, expected: int) -> None:
            with lock:  # a data set of many files comes in many threads
                if not bar.live.is_started:  # from the cache nothing comes, and no bar
                    self._status.stop()
                    bar.start()
                bar.update(shown, advance=came, total=(bar.tasks[0].total or 0) + expected)

        try:
            yield received
        finally:
            if bar.live.is_started:
                bar.stop()
                self._status.start()

    @contextmanager
    def steps(self, what: str, n_examples: int) -> Iterator[Step]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import (
            Progress as Bar,
        )

        self.close()
        self._release()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        with Bar(*columns, console=self._console, transient=True) as bar:
            shown = bar.add_task(what, total=n_examples, rate="", loss="")

            def step(done: int, loss: float | None) -> None:
                speed = bar.tasks[0].speed
                bar.update(
                    shown,
                    advance=done,
                    rate=f"{speed:,.0f} examples/s" if speed else "",
                    loss="" if loss is None else f"loss {loss:.4f}",
                )

            yield step

    def close(self) -> None:
        self._status.stop()

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def figures_line(name: str, figures: Mapping[str, float]) -> str:
    """`validation  loss 0.4312  accuracy 0.8123  (1,043 examples)`."""
    told = "  ".join(
        f"{each} {value:.4f}" for each, value in figures.items() if each != "n_examples"
    )
    return f"{name}  {told}  ({figures['n_examples']:,} examples)"
