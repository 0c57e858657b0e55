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

    def width(self, lengths: np.ndarray) -> int:
        """What a batch of rows of these lengths is padded to: the longest."""
        return int(lengths.max())

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        order = self.order(epoch)
        for start in range(0, self.n_examples, self.batch_size):
            yield order[start : start + self.batch_size]


@dataclass(frozen=True, kw_only=True)
class BucketPlan(BatchPlan):
    """Batches of rows of like lengths, so that little of them is padding.

    The shuffled rows are sorted by length within windows, cut into batches, and the batches are
    shuffled: which rows meet is chance but for their lengths, and when they come is chance alone.
    Unshuffled, as in evaluation, rows stay in their order.

    Attributes:
        lengths: tokens a row: int64 [n_examples].
        widths: what a batch may be padded to, ascending; the last one holds the longest row.
    """

    lengths: np.ndarray
    widths: tuple[int, ...]

    def order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return super().order(epoch)
        order = super().order(epoch)
        # The rows that fill no batch are the last one, so that every other batch is whole.
        n_whole = self.n_examples - self.n_examples % self.batch_size
        whole, rest = order[:n_whole], order[n_whole:]
        window = np.arange(n_whole) // (WINDOW_BATCHES * self.batch_size)
        grouped = whole[np.lexsort((self.lengths[whole], window))].reshape(-1, self.batch_size)
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch, 1]))
        return np.concatenate([generator.permutation(grouped).reshape(-1), rest])

    def width(self, lengths: np.ndarray) -> int:
        """The narrowest of the widths that holds the longest."""
        return self.widths[int(np.searchsorted(self.widths, lengths.max()))]


# Batches that are sorted together: the more, the less padding, and the less chance in who meets.
WINDOW_BATCHES = 100


def in_buckets(plan: BatchPlan, lengths: np.ndarray, *, max_shapes: int) -> BucketPlan:
    """The plan for rows of these lengths, with the widths that pad them least."""
    widths = choose_widths(lengths, max_shapes)
    return BucketPlan(
        plan.n_examples, plan.batch_size, plan.seed, plan.shuffle, lengths=lengths, widths=widths
    )


def choose_widths(lengths: np.ndarray, max_shapes: int) -> tuple[int, ...]:
    """The `max_shapes` widths that pad least if each row is padded to the next of them.

    Dynamic programming over the histogram of lengths: the best way to pad all rows of up to n
    tokens with k widths ends in n, after the best way to pad those up to some m with k - 1.
    """
    distinct, counts = np.unique(lengths, return_counts=True)
    n = len(distinct)
    rows = np.concatenate([[0], np.cumsum(counts)])
    # cost[n], with one width more each round: the tokens of the first n lengths, padded.
    cost = np.concatenate([[0], rows[1:] * distinct])
    chosen = []
    for _ in range(min(max_shapes, n) - 1):
        # Rows of lengths m .. n - 1 padded to the last of those, after the best for m.
        one_more = cost[:, None] + (rows[None, 1:] - rows[:, None]) * distinct[None, :]
        one_more[np.arange(n + 1)[:, None] > np.arange(n)[None, :]] = np.iinfo(np.int64).max
        chosen.append(one_more.argmin(axis=0))
        cost = np.concatenate([[0], one_more.min(axis=0)])
    widths, end = [], n
    for starts in reversed(chosen):
        widths.append(int(distinct[end - 1]))
        end = int(starts[end - 1])
        if end == 0:
            break
    if end > 0:
        widths.append(int(distinct[end - 1]))
    return tuple(reversed(widths))


def padding_fraction(lengths: np.ndarray, padded: np.ndarray) -> float:
    """The part of padded tokens that are padding; `padded` is each row's length with it."""
    total = int(padded.sum())
    return 1.0 - float(lengths.sum()) / total if total else 0.0


def batch_widths(lengths: np.ndarray, plan: BatchPlan) -> np.ndarray:
    """What each row is padded to in the first epoch: int64 [n_examples]."""
    padded = np.zeros_like(lengths)
    for rows in plan.batches(0):
        padded[rows] = plan.width(lengths[rows])
    return padded
