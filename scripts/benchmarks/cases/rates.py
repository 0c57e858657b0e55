"""Examples a second of something that makes batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def rate(epoch: Callable[[int], Any], *, at_least_s: float) -> float:
    """Whole epochs until `at_least_s` have passed: a quick one would be over before it is timed."""
    n_examples, number, passed, started = 0, 0, 0.0, time.perf_counter()
    while passed < at_least_s:
        for batch in epoch(number):
            features = batch[0] if isinstance(batch, tuple | list) else batch
            n_examples += int(features["input_ids"].shape[0])
        number += 1
        passed = time.perf_counter() - started
    return n_examples / passed
