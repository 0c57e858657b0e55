"""A model that is fit again begins as a new one does, and does the same, number for number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfft.api import merge_options
from tfft.bench import Bench
from tfft.job import Work
from tfft.keras_fit import try_out
from tfft.progress import Progress
from tfft.ready import prepare, tokenise
from tfft.results import EpochRecord

# What changes from fit to fit, in an order in which each finds the other's traces.
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "the rate, epochs and batch": {
        "learning_rate": 1e-2,
        "epochs": 3,
        "patience": 1,
        "batch_size": 9,
    },
    "the optimizer and averages": {"optimizer": "adamw", "ema": 0.9},
    "what is frozen": {"freeze": "embeddings"},
    "the seed": {"seed": 7},
}
ADAMW = {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine", "warmup": 0.25}


@pytest.fixture(scope="module")
def work(tiny: Path, reviews: Path) -> Callable[..., Work]:
    def make(**options: Any) -> Work:
        given = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, **options}
        model = str(given.pop("model", tiny))
        config = merge_options({"data": str(reviews), "model": model, **given})
        prepared = prepare(config, Progress())
        encoded = tokenise(prepared, Progress())
        n_steps = -(-45 // config.train.batch_size) * config.train.epochs
        return Work(config, prepared, encoded, "numpy", n_steps, Progress())

    return make


@pytest.fixture(scope="module")
def bench(work: Callable[..., Work]) -> Bench:
    """One that has fit, and so has weights, moments and random states of its own."""
    made = Bench(again=True)
    try_out(work(), made)
    return made


def figures(records: tuple[EpochRecord, ...]) -> list[EpochRecord]:
    return [replace(each, seconds=0.0) for each in records]


@pytest.mark.parametrize("change", CHANGES)
def test_a_fit_on_a_used_bench_is_that_of_a_new_process(
    change: str, work: Callable[..., Work], bench: Bench
) -> None:
    again = try_out(work(**CHANGES[change]), bench)  # with dropout: its draws begin again too
    assert figures(again.history) == figures(try_out(work(**CHANGES[change]), Bench()).history)


def test_numbers_of_the_loop_the_schedule_and_the_decay_trace_nothing(
    work: Callable[..., Work],
) -> None:
    bench = Bench(again=True)
    try_out(work(**ADAMW), bench)
    engine = bench._engine
    more = {"epochs": 3, "batch_size": 9}
    other = work(**{**ADAMW, **more, "weight_decay": 0.01, "warmup": 0.5, "learning_rate": 1e-2})
    again = try_out(other, bench)
    assert bench._engine is engine
    assert figures(again.history) == figures(try_out(other, Bench()).history)
