"""Curves as SVG that stands in a page as it is: no script, no file beside it.

    svg = lines({"TensorFlow": losses, "PyTorch": losses}, x="step", y="loss")

Drawn by matplotlib without pyplot, which keeps figures in a state of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

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
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # Text as text, which is read out and copied; the same ids each time, so that a page is too.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfft", "font.size": 9}):
        figure = Figure(figsize=(7.0, 2.6), layout="constrained")
        axes = figure.add_subplot()
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
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    svg = written.getvalue()
    return re.sub(
        r'(<svg )[^>]*?(viewBox="[^"]*")[^>]*>', r"\1\2 role='img'>", svg[svg.index("<svg") :]
    )
