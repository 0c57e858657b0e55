"""The page of `tfft tune`: the winner, the score against each value, the range curve, every trial.

html = tuning_page(result)
"""

from __future__ import annotations

from tfft.progress import value_text, values_text
from tfft.reports.charts import curve, dots
from tfft.reports.pages import template
from tfft.results import Trial, TuneResult

# Values over this many times the lowest are told apart by their logarithm.
_WIDE = 20.0


def tuning_page(result: TuneResult) -> str:
    """One HTML file with nothing beside it."""
    from markupsafe import Markup

    charts = {
        f"{result.objective} against {name}": _scores(result, name) for name in _options(result)
    }
    if result.range is not None:
        charts["Range test"] = curve(
            result.range.learning_rates,
            result.range.losses,
            result.range.smoothed,
            at=result.range.suggestion,
            x="learning_rate",
            y="loss",
        )
    # Matplotlib's own output, of numbers and of options' names: nothing that comes from data.
    safe = {title: Markup(svg) for title, svg in charts.items() if svg}  # noqa: S704
    return template("tuning.html").render(
        result=result,
        charts=safe,
        options=_options(result),
        values_text=values_text,
        value_text=value_text,
    )


def _options(result: TuneResult) -> list[str]:
    return list(dict.fromkeys(name for each in result.trials for name in each.values))


def _scores(result: TuneResult, name: str) -> str:
    """Nothing where no trial has a score."""
    scored = [each for each in result.trials if each.score is not None]
    if not scored or result.best is None:
        return ""
    numbers = [each.values[name] for each in scored]
    are_numbers = all(isinstance(each, int | float) for each in numbers)
    log = are_numbers and min(numbers) > 0 and max(numbers) > _WIDE * min(numbers)

    def point(trial: Trial) -> tuple[float | str, float]:
        value = trial.values[name]
        return value if are_numbers else str(value), trial.score or 0.0

    series = {
        "trials": [point(each) for each in scored],
        f"trial {result.best.trial}, the best": [point(result.best)],
    }
    return dots(series, x=name, y=result.objective, log=log)
