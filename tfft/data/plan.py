"""Which rows make up which batch: a pure function of (seed, epoch), in NumPy alone.

    plan = BatchPlan(n_examples=8551, batch_size=16, seed=42, shuffle=True)
    plan.n_steps                    # 535: the last batch is smaller, none is dropped
    plan.rows(epoch=0, step=3)      # int64 [16]

Every loader, of TensorFlow and of PyTorch, takes its order from here, so that runs through
different loaders see the same batches, and any step can be reached without replaying others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BatchPlan:
    n_examples: int
    batch_size: int
    seed: int = 0
    shuffle: bool = False

    @property
    def n_steps(self) -> int:
        return -(-self.n_examples // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Every row once: int64 [n_examples], as it comes where nothing is shuffled."""
        if not self.shuffle:
            return np.arange(self.n_examples)
        return np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(self.n_examples)

    def rows(self, epoch: int, step: int) -> np.ndarray:
        """One batch's rows: int64 [batch_size], fewer in the last."""
        start = step * self.batch_size
        return self.order(epoch)[start : start + self.batch_size]

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        order = self.order(epoch)
        for start in range(0, self.n_examples, self.batch_size):
            yield order[start : start + self.batch_size]


def padding_fraction(lengths: np.ndarray, padded: np.ndarray) -> float:
    """The part of padded tokens that are padding; `padded` is each row's length with it."""
    total = int(padded.sum())
    return 1.0 - float(lengths.sum()) / total if total else 0.0


def batch_widths(lengths: np.ndarray, plan: BatchPlan) -> np.ndarray:
    """Each row's length where its batch is padded to its longest, in the first epoch: int64."""
    padded = np.zeros_like(lengths)
    for rows in plan.batches(0):
        padded[rows] = lengths[rows].max()
    return padded
