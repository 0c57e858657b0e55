"""Which rows make up which batch: a pure function of (seed, epoch), in NumPy alone.

    plan = BatchPlan(n_examples=8551, batch_size=16, seed=42, shuffle=True)
    plan.n_steps                    # 535: the last batch is smaller, none is dropped
    plan.rows(epoch=0, step=3)      # int64 [16]

    plan = in_buckets(plan, lengths, max_shapes=24)     # rows of like lengths meet
    order, bounds = plan.layout(epoch=0)                # step n is order[bounds[n]:bounds[n + 1]]

Every loader, of TensorFlow and of PyTorch, takes its order from here, so that runs through
different loaders see the same batches, and any step can be reached without replaying others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np

from tfft.config import TrainConfig
from tfft.errors import DataError, listed


@dataclass(frozen=True)
class BatchPlan:
    n_examples: int
    batch_size: int
    seed: int = 0
    shuffle: bool = False

    @property
    def n_steps(self) -> int:
        """Of the first epoch; of batches of so many tokens, others may have some more or less."""
        return self.steps(0)

    @property
    def is_even(self) -> bool:
        """Every epoch has as many steps."""
        return True

    def steps(self, epoch: int) -> int:
        return -(-self.n_examples // self.batch_size)

    def total_steps(self, config: TrainConfig) -> int:
        """How many a run takes, if nothing ends it early."""
        return config.steps or sum(self.steps(epoch) for epoch in range(config.epochs))

    def n_rows(self, n_steps: int) -> int:
        """Rows of the first so many steps of a run."""
        n_rows = 0
        for epoch in count():
            if n_steps < (in_pass := self.steps(epoch)):
                return n_rows + self._rows_of(epoch, n_steps)
            n_rows, n_steps = n_rows + self.n_examples, n_steps - in_pass
        raise AssertionError("a count has no end")

    def layout(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Every row once, int64 [n_examples], and where batches begin and end in it, int64
        [n_steps + 1].
        """
        bounds = np.arange(0, self.n_examples + self.batch_size, self.batch_size)
        bounds[-1] = self.n_examples
        return self._shuffled(epoch), bounds

    def _rows_of(self, epoch: int, n_steps: int) -> int:
        """Of the first steps of a pass."""
        return min(n_steps * self.batch_size, self.n_examples)

    def order(self, epoch: int) -> np.ndarray:
        """Every row once: int64 [n_examples], as it comes where nothing is shuffled."""
        return self.layout(epoch)[0]

    def rows(self, epoch: int, step: int) -> np.ndarray:
        """One batch's rows: int64 [batch_size], fewer in the last."""
        order, bounds = self.layout(epoch)
        return order[bounds[step] : bounds[step + 1]]

    def padded(self, longest: np.ndarray) -> np.ndarray:
        """What batches whose longest rows have so many tokens are padded to: int64 [n_steps]."""
        return longest

    def rows_of_width(self, width: int) -> int:
        """The most rows that a batch of that width has."""
        return self.batch_size

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        order, bounds = self.layout(epoch)
        for start, end in pairwise(bounds):
            yield order[start:end]

    def _shuffled(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.n_examples)
        return np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(self.n_examples)


@dataclass(frozen=True, kw_only=True)
class BucketPlan(BatchPlan):
    """Batches of rows of like lengths, so that little of them is padding.

    The shuffled rows are sorted by length within windows, cut into batches, and the batches are
    shuffled: which rows meet is chance but for their lengths, and when they come is chance alone.
    Unshuffled, as in evaluation, rows stay in their order.

    Attributes:
        lengths: tokens a row: int64 [n_examples].
        widths: what a batch may be padded to, ascending; the last one holds the longest row.
        batch_tokens: the most tokens of a batch, padding included, in the place of `batch_size`; a
            row that is longer is a batch of its own.
    """

    lengths: np.ndarray
    widths: tuple[int, ...]
    batch_tokens: int | None = None

    def padded(self, longest: np.ndarray) -> np.ndarray:
        """The narrowest of the widths that hold the longest."""
        return np.asarray(self.widths)[np.searchsorted(self.widths, longest)]

    @property
    def is_even(self) -> bool:
        return self.batch_tokens is None

    def rows_of_width(self, width: int) -> int:
        return self.batch_size if self.batch_tokens is None else max(1, self.batch_tokens // width)

    def steps(self, epoch: int) -> int:
        return super().steps(epoch) if self.batch_tokens is None else len(self.layout(epoch)[1]) - 1

    def _rows_of(self, epoch: int, n_steps: int) -> int:
        if self.batch_tokens is None:
            return super()._rows_of(epoch, n_steps)
        return int(self.layout(epoch)[1][n_steps])

    def layout(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        if self.batch_tokens is not None:
            return self._layout_by_tokens(epoch, self.batch_tokens)
        if not self.shuffle:
            return super().layout(epoch)
        order, bounds = super().layout(epoch)
        # The rows that fill no batch are the last one, so that every other batch is whole.
        whole = order[: self.n_examples - self.n_examples % self.batch_size]
        for window in _windows(whole, WINDOW_BATCHES * self.batch_size):
            window[:] = window[np.argsort(self.lengths[window], kind="stable")]
        self._generator(epoch).shuffle(whole.reshape(-1, self.batch_size))
        return order, bounds

    def _layout_by_tokens(self, epoch: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        order = self._shuffled(epoch)
        padded = self.padded(self.lengths)
        if not self.shuffle:
            return order, np.concatenate([[0], _cut_by_tokens(padded, most)])
        n_rows = max(1, WINDOW_BATCHES * most // max(1, int(padded.mean())))
        batches = []
        for window in _windows(order, n_rows):
            window[:] = window[np.argsort(self.lengths[window], kind="stable")]
            batches += np.split(window, _cut_by_tokens(padded[window], most)[:-1])
        batches = [batches[place] for place in self._generator(epoch).permutation(len(batches))]
        sizes = [len(batch) for batch in batches]
        return np.concatenate(batches), np.concatenate([[0], np.cumsum(sizes)])

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, epoch, 1]))


# Batches that are sorted together: the more, the less padding, and the less chance in who meets.
WINDOW_BATCHES = 100
# Lengths that are told apart in choosing widths; of more, some go together.
MOST_LENGTHS = 1024


def _windows(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _cut_by_tokens(padded: np.ndarray, most: int) -> np.ndarray:
    """Where to cut rows of these padded lengths, so that a batch has at most so many tokens.

    Returns:
        int64 [n_batches], the end of each.
    """
    ends, start = [], 0
    while start < len(padded):
        # As many as the first row's length allows, then fewer where a longer one is among them.
        reach = padded[start : start + max(1, most // int(padded[start]))]
        tokens = np.maximum.accumulate(reach) * np.arange(1, len(reach) + 1)
        start += max(1, int(np.searchsorted(tokens, most, side="right")))
        ends.append(start)
    return np.array(ends, dtype=np.int64)


def in_buckets(
    plan: BatchPlan,
    lengths: np.ndarray,
    *,
    max_shapes: int,
    widths: tuple[int, ...] | None = None,
    batch_tokens: int | None = None,
) -> BucketPlan:
    """The plan for rows of these lengths, with the widths that pad them least, or with those given.

    Raises:
        DataError: the widths that are given can't hold the longest row.
    """
    longest = int(lengths.max())
    if widths is not None and widths[-1] < longest:
        raise DataError(
            f"the buckets ({listed(widths, most=8)}) hold {widths[-1]} tokens at most, and the "
            f"longest text has {longest}; add a bucket of {longest}, or cut with "
            f"--max-length {widths[-1]}"
        )
    return BucketPlan(
        plan.n_examples,
        plan.batch_size,
        plan.seed,
        plan.shuffle,
        lengths=lengths,
        widths=widths or choose_widths(lengths, max_shapes),
        batch_tokens=batch_tokens,
    )


def choose_widths(lengths: np.ndarray, max_shapes: int) -> tuple[int, ...]:
    """The `max_shapes` widths that pad least if each row is padded to the next of them.

    Dynamic programming over the histogram of lengths: the best way to pad all rows of up to n
    tokens with k widths ends in n, after the best way to pad those up to some m with k - 1.
    """
    distinct, counts = _histogram(lengths)
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


def _histogram(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct lengths, ascending, and how many rows have each; of very many, rounded up."""
    counts = np.bincount(lengths)
    distinct = np.flatnonzero(counts)
    if len(distinct) > MOST_LENGTHS:
        longest = int(distinct[-1])
        step = -(-longest // MOST_LENGTHS)
        rounded = np.minimum(-(-distinct // step) * step, longest)
        counts = np.bincount(rounded, weights=counts[distinct]).astype(np.int64)
        distinct = np.flatnonzero(counts)
    return distinct, counts[distinct]


def padding_fraction(lengths: np.ndarray, padded: np.ndarray) -> float:
    """The part of padded tokens that are padding; `padded` is each row's length with it."""
    total = int(padded.sum())
    return 1.0 - float(lengths.sum()) / total if total else 0.0


def batch_widths(lengths: np.ndarray, plan: BatchPlan, epoch: int = 0) -> np.ndarray:
    """What each batch of an epoch is padded to: int64 [n_steps]."""
    return widths_of(lengths, plan, *plan.layout(epoch))


def widths_of(
    lengths: np.ndarray, plan: BatchPlan, order: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """The same, of an epoch whose layout is at hand."""
    return plan.padded(np.maximum.reduceat(lengths[order], bounds[:-1]))


def padding_of(lengths: np.ndarray, plan: BatchPlan) -> float:
    """The part of the first epoch's tokens that is padding."""
    _, bounds = plan.layout(0)
    return padding_fraction(lengths, batch_widths(lengths, plan) * np.diff(bounds))
