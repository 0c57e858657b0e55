"""The engine of a range test: each step at a rate of its own, until the loss leaves the picture.

losses = Rising.losses_of(fit, rates, is_over=has_diverged)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np


class _OverError(Exception):
    """The test has what it wants; the loop around it would go on."""


class Rising:
    """In front of an engine; whatever else the loop asks goes through to it."""

    def __init__(
        self, engine: Any, rates: np.ndarray, is_over: Callable[[list[float]], bool]
    ) -> None:
        self._engine, self._rates, self._is_over = engine, rates, is_over
        self.losses: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def train(self, features: Any, labels: Any) -> tuple[Any, Any]:
        self._engine.model.optimizer.learning_rate = self._rates[len(self.losses)]
        loss, n_rows = self._engine.train(features, labels)
        if math.isfinite(float(loss)):
            self.losses.append(float(loss))
        else:
            raise _OverError
        if len(self.losses) == len(self._rates) or self._is_over(self.losses):
            raise _OverError
        return loss, n_rows

    @classmethod
    def losses_of(
        cls,
        fit: Callable[[Callable[[Any], Any]], Any],
        rates: np.ndarray,
        *,
        is_over: Callable[[list[float]], bool],
    ) -> list[float]:
        """The losses of a fit's steps, of fewer than there are rates where it diverges.

        Args:
            fit: trains with the engine that its argument makes of its own.
        """
        made: list[Rising] = []

        def around(engine: Any) -> Any:
            made.append(cls(engine, rates, is_over))
            return made[0]

        with suppress(_OverError):
            fit(around)
        return made[0].losses
