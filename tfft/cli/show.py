"""How a run looks while it works: a live bar on a terminal, plain lines elsewhere.

    with console_progress() as progress:
        runs.fit(config, progress=progress)

What was chosen is shown when the work starts: where a run is refused, its error is the only line.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfft.errors import in_line, listed
from tfft.progress import (
    RUNNING,
    Progress,
    Received,
    SearchView,
    Step,
    epoch_line,
    trial_line,
    value_text,
    values_text,
)
from tfft.results import EpochRecord, ParityResult, PlanResult, Trial, TuneResult

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

# A table of thousands of labels helps nobody.
MOST_LABELS_SHOWN = 50
# What a terminal has room for above the bar.
MOST_TRIALS_SHOWN = 12
# Where nobody looks at a screen, a tensor's name stays in one line.
WIDE = 200


@contextmanager
def console_progress() -> Iterator[Progress]:
    """A bar where standard error is a terminal, else lines."""
    if not sys.stderr.isatty():
        plain = PlainProgress()
        yield plain
        plain.release()
        return
    from rich.console import Console

    live = LiveProgress(Console(stderr=True, highlight=False))
    try:
        yield live
    finally:
        live.close()
    live.release()


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
        self.release()
        yield lambda done, loss: None

    def epoch(self, record: EpochRecord, n_epochs: int) -> None:
        self._say(epoch_line(record, n_epochs))
        self.release()

    def trial(self, changed: Trial, so_far: Sequence[Trial], search: SearchView) -> None:
        if changed.status != RUNNING:
            self._say(trial_line(changed, so_far, search))
        self.release()

    def release(self) -> None:
        """Says what was held back."""
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
        self._trials: Table | None = None
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
        self.release()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        trials = self._trials

        class BarBelowTrials(Bar):
            def get_renderables(self) -> Iterator[RenderableType]:
                if trials is not None:
                    yield trials
                yield from super().get_renderables()

        with BarBelowTrials(*columns, console=self._console, transient=True) as bar:
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

    def trial(self, changed: Trial, so_far: Sequence[Trial], search: SearchView) -> None:
        """A table, redrawn above the bar; where others train, it is all there is."""
        self.release()
        self._trials = trial_table(so_far, search, most=MOST_TRIALS_SHOWN)
        self._status.update(self._trials)

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


def show_plan(plan: PlanResult) -> None:
    """The plan on standard output, as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    for name, told in _plan_facts(plan):
        facts.add_row(Text(name, style="bold"), Text(told))
    console.print(facts)
    if plan.labels:
        console.print()
        console.print(_label_table(plan))


def _plan_facts(plan: PlanResult) -> Iterator[tuple[str, str]]:
    streamed = " (a stream: what is told of train is told of its first rows)" * plan.streaming
    yield "data", f"{plan.data}: {_counted(plan.n_examples)}{streamed}"
    yield "task", f"{plan.task}, best epoch by {plan.metric_for_best}"
    yield (
        "columns",
        (f"text {' + '.join(plan.text_columns)}, label {listed(plan.label_columns, most=20)}"),
    )
    yield "model", plan.model
    yield "framework", plan.framework
    quantiles = {"0.5": "half", "0.9": "90 %", "0.99": "99 %", "1": "all"}
    told = (f"{quantiles[each]} have at most {length}" for each, length in plan.lengths.items())
    yield "tokens a text", listed(told)
    yield "cut", f"texts longer than {plan.max_length} tokens: {_counted(plan.n_cut)}"
    yield "loader", f"{plan.loader}: {plan.loader_why}"
    yield "padding", f"{plan.padding_fraction:.1%} of the training tokens"
    epochs = f"{plan.epochs} epochs, " if plan.epochs is not None else ""
    yield "steps", f"{plan.n_steps:,}: {epochs}{plan.batch_size} texts a step"
    yield "memory", f"about {plan.memory_bytes / 2**30:.1f} GiB beside the framework's own"
    yield "a constant guess", _constant_line(plan)


def _constant_line(plan: PlanResult) -> str:
    figures = dict(plan.constant)
    guess = figures.pop("prediction")
    if isinstance(guess, float):
        guess = f"{guess:.4g}"
    else:
        guess = listed(guess if isinstance(guess, list) else [guess])
    told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
    return f"{guess}, always, gets {told}"


def _label_table(plan: PlanResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for name in ("id", "label", *plan.n_examples):
        table.add_column(name, justify="left" if name == "label" else "right")
    for place, (label, counts) in enumerate(plan.labels.items()):
        if place == MOST_LABELS_SHOWN:
            table.add_row("", f"and {len(plan.labels) - place} more")
            break
        cells = (f"{counts.get(name, 0):,}" for name in plan.n_examples)
        table.add_row(str(place), Text(in_line(label)), *cells)
    return table


def show_parity(result: ParityResult) -> None:
    """The certificate on standard output, as a table; of the tutorials' recipes a second one."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=WIDE)
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for name in ("compared", "difference", "tolerance", "", "where"):
        table.add_column(
            name,
            justify="right" if name.endswith("ce") else "left",
            overflow="fold",
            no_wrap=name != "where",
        )
    for stage in result.stages:
        limit = "" if stage.tolerance is None else f"{stage.tolerance:.0e}"
        word = "differs" if not stage.passed else "" if stage.tolerance is None else "agrees"
        table.add_row(stage.name, f"{stage.difference:.1e}", limit, word, Text(stage.where))
    console.print(table)
    for name, figures in result.validation.items():
        told = "  ".join(f"{each} {value:.4f}" for each, value in figures.items())
        console.print(Text(f"{name}, validation: {told}"))
    if result.exact_zeros:
        shown = listed(result.exact_zeros, most=2)
        console.print(
            Text(f"nought in exact arithmetic, and held to that: the gradient of {shown}")
        )
    if result.effects:
        console.print(_effect_table(result))
    if result.passed:
        console.print(Text(result.verdict))


def trial_table(trials: Sequence[Trial], search: SearchView, *, most: int | None = None) -> Table:
    """Every trial, or the last of them and the best one."""
    from rich.table import Table
    from rich.text import Text

    best = search.best(trials)
    options = list(dict.fromkeys(name for each in trials for name in each.values))
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for name in ("trial", *options, search.objective, "epochs", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    first = 0 if most is None else len(trials) - most
    for place, each in enumerate(trials):
        if place < first and each is not best:
            continue
        word = "best" if each is best else "" if each.score is not None else each.status
        score = "" if each.score is None else f"{each.score:.4f}"
        told = (each.message or "").partition(";")[0]
        table.add_row(
            str(each.trial),
            *(value_text(each.values.get(name)) for name in options),
            score,
            str(each.epochs or ""),
            f"{each.seconds:.0f}" if each.seconds else "",
            Text(f"{word}: {told}" if told else word),
            style="bold" if each is best else None,
        )
    return table


def show_tune(result: TuneResult) -> None:
    """The trials on standard output, as a table, and what the winner came to."""
    from rich.console import Console
    from rich.text import Text

    from tfft.folders import shown

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=WIDE)
    if result.best is not None:
        console.print(trial_table(result.trials, SearchView(result.objective, None)))
    if (sure := result.confirmation) is not None:
        than = "larger" if sure.is_larger else "not larger"
        console.print(
            f"trial {sure.trials[0]} leads trial {sure.trials[1]} by {sure.lead:+.4f} over "
            f"{len(sure.seeds)} seeds: {than} than the spread of {sure.spread:.4f}"
        )
    if result.best is None and result.range is not None:
        console.print(f"suggested: learning_rate {value_text(result.range.suggestion)}")
        console.print(Text(f"config in {shown(result.output / 'best.toml')}"))
    elif result.validation:
        console.print(figures_line("validation", result.validation))
        console.print(Text(f"best: {values_text(result.best.values if result.best else {})}"))
        console.print(Text(f"saved in {shown(result.output / 'best')}"))
    if result.output != Path():
        console.print(Text(f"page in {shown(result.output / 'report.html')}"))


def _effect_table(result: ParityResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column(f"changed ({result.steps} steps, in PyTorch)")
    table.add_column("")
    for name in ("loss", "validation loss", "effect"):
        table.add_column(name, justify="right")
    for each in result.effects:
        figures = (f"{each.loss:.4f}", f"{each.validation_loss:.4f}", f"{each.effect:+.4f}")
        table.add_row(each.name, Text(each.change), *figures)
    return table


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
