"""How long one call takes, once warm.

median_ms(lambda: session.run(None, batch))
timed_batches(batch)        # {1: ..., 8: ..., 32: ...}
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

BATCH_SIZES = (1, 8, 32)
_WARM_UPS, _REPEATS = 3, 11


def timed_batches(batch: Mapping[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """The rows of `batch`, again and again, by batch size: each int [size, length]."""
    return {
        size: {
            name: np.ascontiguousarray(each[np.arange(size) % len(each)])
            for name, each in batch.items()
        }
        for size in BATCH_SIZES
    }


def median_ms(call: Callable[[], object]) -> float:
    """Of several calls, after some that aren't counted, in milliseconds."""
    for _ in range(_WARM_UPS):
        call()
    seconds = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return median(seconds) * 1e3
