"""Curves as SVG that stands in a page as it is: no script, no file beside it.

    svg = lines({"TensorFlow": losses, "PyTorch": losses}, x="step", y="loss")
    svg = dots({"trials": [(1e-5, 0.31), (1e-4, 0.42)]}, x="learning_rate", y="accuracy", log=True)

Drawn by matplotlib without pyplot, which keeps figures in a state of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# Told apart by who sees no red or green, and by their dashes on paper (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#e69f00", "#009e73")
DASHES = ("-", "--", ":")


def lines(
    series: Mapping[str, Sequence[float]],
    *,
    x: str,
    y: str,
    log: bool = False,
    limit: float | None = None,
) -> str:
    """An `<svg>` of each series over 1, 2, 3 ...

    Args:
        log: the ordinate; noughts are left out of it.
        limit: a height to mark.
    """
    from matplotlib.ticker import MaxNLocator

    with _drawing() as (axes, drawn):
        for number, (name, values) in enumerate(series.items()):
            shown = [value if value > 0.0 or not log else float("nan") for value in values]
            [line] = axes.plot(range(1, len(shown) + 1), shown, label=name)
            line.set(color=COLOURS[number % 3], linestyle=DASHES[number % 3])
            if log:  # a value between two noughts has no line
                line.set(marker=".")
        if limit is not None:
            axes.axhline(limit, color="#777777", linewidth=0.8, label="tolerance")
        axes.set(xlabel=x, ylabel=y, yscale="log" if log else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    return drawn[0]


def dots(
    points: Mapping[str, Sequence[tuple[float | str, float]]], *, x: str, y: str, log: bool = False
) -> str:
    """An `<svg>` of each series' points; the last series is drawn larger, above the others.

    Args:
        points: (abscissa, ordinate); texts on the abscissa stand side by side.
        log: the abscissa.
    """
    with _drawing() as (axes, drawn):
        for number, (name, pairs) in enumerate(points.items()):
            is_last = number == len(points) - 1
            axes.plot(
                [pair[0] for pair in pairs],
                [pair[1] for pair in pairs],
                linestyle="none",
                marker="D" if is_last else "o",
                markersize=8 if is_last else 5,
                color=COLOURS[number % 3],
                label=name,
            )
        axes.set(xlabel=x, ylabel=y)
        if log:
            axes.set_xscale("log")
        axes.margins(x=0.06, y=0.15)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawn[0]


def curve(
    x_values: Sequence[float],
    measured: Sequence[float],
    smoothed: Sequence[float],
    *,
    at: float,
    x: str,
    y: str,
) -> str:
    """An `<svg>` of single values and the line through them, over a logarithm, one place marked."""
    with _drawing() as (axes, drawn):
        axes.plot(x_values, measured, ".", color="#aaaaaa", markersize=3, label="a batch")
        axes.plot(x_values, smoothed, color=COLOURS[0], label="smoothed")
        axes.axvline(at, color=COLOURS[1], linestyle="--", label=f"suggested: {at:g}")
        axes.set(xlabel=x, ylabel=y, xscale="log")
        axes.legend(frameon=False)
    return drawn[0]


@contextmanager
def _drawing() -> Iterator[tuple[Any, list[str]]]:
    """Axes to draw on, and a list that has the `<svg>` when they are left."""
    import matplotlib
    from matplotlib.figure import Figure

    drawn: list[str] = []
    # Text as text, which is read out and copied; the same ids each time, so that a page is too.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfft", "font.size": 9}):
        figure = Figure(figsize=(7.0, 2.6), layout="constrained")
        axes = figure.add_subplot()
        yield axes, drawn
        axes.spines[["top", "right"]].set_visible(False)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    svg = written.getvalue()
    drawn.append(
        re.sub(
            r'(<svg )[^>]*?(viewBox="[^"]*")[^>]*>', r"\1\2 role='img'>", svg[svg.index("<svg") :]
        )
    )
