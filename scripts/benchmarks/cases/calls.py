"""Calls of something that answers texts, timed one by one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.worker import Job, Turn

# Of a reading: so many calls, or so long.
MOST_CALLS, MOST_S = 60, 5.0
# Whose scores are told, to be compared; enough to be shared out in parts.
N_COMPARED = 20


def read_texts(job: Job) -> list[str]:
    """The validation texts."""
    import pyarrow.parquet as parquet

    texts: list[str] = parquet.read_table(Path(job["data"]) / "validation.parquet")[
        "text"
    ].to_pylist()
    return texts


def answer(
    turn: Turn,
    texts: Sequence[str],
    call: Callable[[list[str]], Any],
    *,
    gives_scores: bool = True,
) -> None:
    """Tells the first texts' scores, and then the median milliseconds of calls of any size."""
    first = call(list(texts[:N_COMPARED]))
    told: dict[str, Any] = {
        "scores": [list(map(float, row)) for row in first] if gives_scores else None
    }
    while True:
        size = turn.tell(**told)["size"]
        told = {"ms": _milliseconds(texts, call, size)}


def _milliseconds(texts: Sequence[str], call: Callable[[list[str]], Any], size: int) -> float:
    """Of texts that come after each other, so that lengths are mixed as they are in the data."""
    batches = [
        [texts[(number * size + place) % len(texts)] for place in range(size)]
        for number in range(MOST_CALLS)
    ]
    for batch in batches[:2]:
        call(batch)
    times: list[float] = []
    began = time.perf_counter()
    for batch in batches:
        started = time.perf_counter()
        call(batch)
        times.append(time.perf_counter() - started)
        if time.perf_counter() - began > MOST_S:
            break
    return 1e3 * statistics.median(times)
