"""The page of `tfft parity`: the verdict, the stages, the curves and every tensor.

html = parity_page(result)
"""

from __future__ import annotations

from tfft.reports.charts import lines
from tfft.reports.pages import template
from tfft.results import ParityResult

_TITLES = {"tensorflow": "TensorFlow", "pytorch": "PyTorch"}


def parity_page(result: ParityResult) -> str:
    """One HTML file with nothing beside it."""
    from markupsafe import Markup

    curves = {_TITLES[name]: losses for name, losses in result.losses.items()}
    ours, theirs = result.losses.values()
    apart = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    charts = {
        "Loss": lines(curves, x="step", y="loss"),
        "Difference of the loss": lines(
            {"|TensorFlow - PyTorch|": apart},
            x="step",
            y="difference",
            log=any(apart),
            limit=result.tolerances["loss"] if result.recipe == "same" else None,
        ),
    }
    # Matplotlib's own output, of numbers and of the names above: nothing that comes from data.
    safe = {title: Markup(svg) for title, svg in charts.items()}  # noqa: S704
    return template("parity.html").render(result=result, charts=safe, titles=_TITLES)
