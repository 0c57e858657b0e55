"""Where the time of one training step goes, as `cases/step.py` takes it apart.

document = profile(settings, loader="bucketed", n_batches=20, work=Path("work"), tell=print)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.compare import Settings, Tell, environ_of
from benchmarks.figures import Figure, show, show_spread, table
from benchmarks.machine import about
from benchmarks.processes import Child


def profile(
    settings: Settings, *, loader: str, n_batches: int, work: Path, tell: Tell
) -> dict[str, Any]:
    """Every part's median milliseconds over `n_batches`, one a round.

    Raises:
        ChildError: it can't be measured.
    """
    document: dict[str, Any] = {"machine": about(), "settings": asdict(settings), "data": {}}
    for rows, folder in settings.rows(work):
        job = {
            "data": rows.folder,
            "model": settings.model,
            "n_labels": rows.n_labels,
            "batch_size": settings.batch_size,
            "max_length": settings.max_length,
            "loader": loader,
            "n_batches": n_batches,
        }
        environ = environ_of("tensorflow", {"tensorflow": settings.threads}, folder / "cache")
        children = [
            Child.start(
                "step",
                {**job, "in_a_fit": in_a_fit},
                log=folder / f"step-{number}.log",
                environ=environ,
            )
            for number, in_a_fit in enumerate((False, True))
        ]
        with children[0], children[1]:
            for child in children:
                child.hear()  # warmed up
            rounds = [_medians(children) for _ in range(settings.rounds)]
        tell(f"{rows.name}: {settings.rounds} rounds of {n_batches} batches")
        document["data"][rows.name] = rounds
    return document


def _medians(children: Sequence[Child]) -> dict[str, float]:
    """One round: each child's turn."""
    medians: dict[str, float] = {}
    for child in children:
        medians |= child.ask(go="on")["medians"]
    return medians


def parts_of(rounds: list[Mapping[str, float]]) -> dict[str, Figure | None]:
    """What was measured, and what follows from it: figures over the rounds, in milliseconds.

    `rest` is what a whole step takes beyond its gradients and its update: negative where TensorFlow
    overlaps them.
    """
    figures = {name: Figure.of([each[name] for each in rounds]) for name in rounds[0]}
    figures["backward alone"] = Figure.of(
        [each["forward and backward"] - each["forward"] for each in rounds]
    )
    for optimizer in ("Keras' Adam", "tfft's Adam"):
        figures[f"rest, {optimizer}"] = Figure.of(
            [
                each[f"whole step, {optimizer}"]
                - each["forward and backward"]
                - each[f"optimizer, {optimizer}"]
                for each in rounds
            ]
        )
    return figures


def markdown(document: Mapping[str, Any]) -> str:
    parts = ["# One training step"]
    for name, rounds in document["data"].items():
        whole = Figure.of([each["whole step, in a fit"] for each in rounds])
        assert whole is not None
        rows = [
            (
                part,
                show(each, ",.2f"),
                show_spread(each, ",.2f"),
                f"{each.median / whole.median:.0%}",
            )
            for part, each in parts_of(rounds).items()
            if each is not None
        ]
        header = ("part", "ms (median)", "least to most", "of a step of tfft's")
        parts += [f"## {name}", table(header, rows)]
    return "\n\n".join(parts) + "\n"
