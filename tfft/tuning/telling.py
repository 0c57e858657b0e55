"""What a trial and its oracle tell each other beside the options and the score.

    told = telling({"loss": 0.4, "accuracy": 0.8}, {"epochs": 3, "best_epoch": 2, "seconds": 41.2})
    figures, about = told_apart(told)

Keras Tuner's protocol has room for numbers by name, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

# How many epochs hyperband gives a trial.
EPOCHS = "tuner/epochs"
ABOUT = ("epochs", "best_epoch", "seconds")
_OURS = "tfft/"


def telling(figures: Mapping[str, float], about: Mapping[str, float]) -> dict[str, float]:
    """A trial's figures and what `ABOUT` names, as the oracle is told them."""
    return {**figures, **{_OURS + name: float(about[name]) for name in ABOUT}}


def told_apart(told: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """The figures, and what `ABOUT` names: noughts of a trial that has told nothing."""
    figures = {name: value for name, value in told.items() if not name.startswith(_OURS)}
    return figures, {name: told.get(_OURS + name, 0.0) for name in ABOUT}
