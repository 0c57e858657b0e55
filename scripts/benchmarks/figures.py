"""Medians, ratios and tables; pure.

rates = Figure.of([41.0, 40.2, 44.9])       # median 41.0, from 40.2 to 44.9
ratio = paired_ratio(ours, theirs)          # round by round: a slow minute hits both
table(("path", "examples/s"), [("tfft bucketed", f"{rates.median:,.1f}")])
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

NOTHING = "–"


@dataclass(frozen=True)
class Figure:
    """Several measurements of one thing."""

    median: float
    least: float
    most: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Figure | None:
        """None where nothing was measured."""
        measured = [each for each in values if each is not None]
        if not measured:
            return None
        return cls(statistics.median(measured), min(measured), max(measured), len(measured))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def paired_ratio(
    numerators: Sequence[float | None], denominators: Sequence[float | None]
) -> Figure | None:
    """The ratios of what was measured in the same round; rounds that lack one of them are left out.

    Two paths take turns within a round, so a machine that is slow for a while is slow for both.
    """
    pairs = zip(numerators, denominators, strict=False)
    return Figure.of([up / down for up, down in pairs if up is not None and down])


def seconds_to(
    quality: float, metrics: Sequence[float | None], seconds: Sequence[float]
) -> float | None:
    """When an epoch's metric first reached `quality`; None where it never did.

    Args:
        metrics: one an epoch.
        seconds: what each epoch took, the first with all that came before it.
    """
    passed = 0.0
    for metric, took in zip(metrics, seconds, strict=True):
        passed += took
        if metric is not None and metric >= quality:
            return passed
    return None


def show(figure: Figure | float | None, form: str = ",.1f") -> str:
    """The figure, or its median."""
    if figure is None:
        return NOTHING
    return format(figure.median if isinstance(figure, Figure) else figure, form)


def show_spread(figure: Figure | None, form: str = ",.1f") -> str:
    if figure is None or figure.n < 2:
        return NOTHING
    return f"{figure.least:{form}} to {figure.most:{form}}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, aligned for terminals too; the first column is text, the others are numbers."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = "|".join(["", "-" * (widths[0] + 2), *(f"{'-' * (w + 1)}:" for w in widths[1:]), ""])
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])
