"""The range test (Smith 2015): a short run with the rate rising, and the rate that it suggests.

    rates = rising_rates(1e-6, 1e-3, n_steps=100)
    curve = read_curve(rates, losses)
    curve.suggestion                # where the smoothed loss falls steepest

A batch's loss says little of its own: about each rate a line is fitted to the losses of the rates
nearby (by a Gaussian of their logarithms), which gives the curve's height and slope at once.
"""

from __future__ import annotations

import numpy as np

from tfft.errors import TrainingError
from tfft.results import RangeResult

# A pass over small data gives too few losses to smooth, one over large data takes long.
LEAST_STEPS, MOST_STEPS = 100, 300
# How wide the Gaussian is, of the whole range's logarithm.
WIDTH = 0.12
# A loss of so many times the lowest one, smoothed, has diverged: what comes after says nothing.
DIVERGED = 4.0
# Losses that a slope needs.
FEWEST = 10


def n_range_steps(steps_a_pass: int) -> int:
    """Of the test."""
    return min(max(steps_a_pass, LEAST_STEPS), MOST_STEPS)


def rising_rates(low: float, high: float, *, n_steps: int) -> np.ndarray:
    """From `low` to `high` by equal factors: float64 [n_steps]."""
    return low * (high / low) ** np.linspace(0.0, 1.0, n_steps)


def read_curve(rates: np.ndarray, losses: np.ndarray) -> RangeResult:
    """The smoothed curve, and the rate at its steepest descent before its lowest point.

    Args:
        rates: of all steps, rising: float64 [n_steps].
        losses: of the first of them, up to where the run diverged: float64 [n <= n_steps].

    Raises:
        TrainingError: the loss diverged at once, or falls nowhere.
    """
    n_losses = len(losses)
    if n_losses < FEWEST:
        raise TrainingError(
            f"the range test's loss was no number after {n_losses} of {len(rates)} steps; try a "
            "lower --learning-rate LOW:HIGH"
        )
    places = np.linspace(0.0, 1.0, len(rates))[:n_losses]
    smoothed, slopes = _fitted(places, losses)
    lowest = int(np.argmin(smoothed))
    steepest = int(np.argmin(slopes[: lowest + 1]))
    if slopes[steepest] >= 0.0:
        raise TrainingError(
            f"the loss falls nowhere from {rates[0]:g} to {rates[n_losses - 1]:g}; try "
            "another --learning-rate LOW:HIGH"
        )
    return RangeResult(
        learning_rates=tuple(map(float, rates[:n_losses])),
        losses=tuple(map(float, losses)),
        smoothed=tuple(map(float, smoothed)),
        suggestion=float(f"{rates[steepest]:.3g}"),
    )


def has_diverged(losses: list[float]) -> bool:
    """Whether the last losses, on average, are far above the lowest average before."""
    if len(losses) < 2 * FEWEST:
        return False
    means = np.convolve(losses, np.full(FEWEST, 1.0 / FEWEST), mode="valid")
    return bool(means[-1] > DIVERGED * means.min())


def _fitted(places: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and slope of the line through the losses about each place: float64 [n] each."""
    offsets = places[None, :] - places[:, None]
    weights = np.exp(-0.5 * (offsets / WIDTH) ** 2)
    total = weights.sum(axis=1)
    mean_x = (weights * offsets).sum(axis=1) / total
    mean_y = weights @ losses / total
    centred = offsets - mean_x[:, None]
    spread = (weights * centred**2).sum(axis=1)
    slopes = (weights * centred * (losses[None, :] - mean_y[:, None])).sum(axis=1) / spread
    return mean_y - slopes * mean_x, slopes
