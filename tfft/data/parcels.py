"""The plan's batches, many of them padded at once, in NumPy.

    padding = Padding.of(tokenizer, encoded.features)
    for parcel in parcels(encoded, padding, plan, epoch=3):
        for features, labels in parcel.batches():
            features["input_ids"]               # int32 [rows, width]

No example becomes a Python object and no collator runs: tokens are gathered by offsets out of the
buffers, which may be a mapped file's, and a parcel is all that is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tfft.data.encode import Encoded
from tfft.data.padding import Padding
from tfft.data.plan import BatchPlan, widths_of
from tfft.data.tokens import Tokens

# Of a parcel, about, padding included: NumPy's calls then cost a batch of short texts a tenth of
# what they would by itself, and a parcel's arrays have half a MiB.
TOKENS_AT_ONCE = 2**15


@dataclass(frozen=True)
class Parcel:
    """Some batches, one after another.

    Attributes:
        features: by name, row after row, each padded to its batch's width: int32 [n_tokens].
        labels: as in `data/targets.py`, [n_rows, ...]; None where there are none.
        shapes: rows and width of each batch: int64 [n_batches, 2].
    """

    features: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    shapes: np.ndarray

    def batches(self) -> Iterator[Any]:
        """(features, labels) of each, or features alone where there are no labels: no copies."""
        n_tokens, n_rows = self.shapes.prod(axis=1), self.shapes[:, 0]
        flat = {name: _parts(each, n_tokens) for name, each in self.features.items()}
        labels = None if self.labels is None else _parts(self.labels, n_rows)
        for number, shape in enumerate(self.shapes):
            features = {name: each[number].reshape(shape) for name, each in flat.items()}
            yield features if labels is None else (features, labels[number])


def parcels(encoded: Encoded, padding: Padding, plan: BatchPlan, *, epoch: int) -> Iterator[Parcel]:
    """All batches of an epoch, in the plan's order."""
    tokens, labels = encoded.tokens, encoded.labels
    order, bounds = plan.layout(epoch)
    widths = widths_of(encoded.lengths, plan, order, bounds)
    sizes = np.diff(bounds)
    shapes = np.stack([sizes, widths], axis=1)
    for first, last in pairwise(_cuts(shapes.prod(axis=1))):
        rows = order[bounds[first] : bounds[last]]
        features = _padded(tokens, padding, rows, np.repeat(widths[first:last], sizes[first:last]))
        yield Parcel(features, None if labels is None else labels[rows], shapes[first:last])


def _cuts(n_tokens: np.ndarray) -> np.ndarray:
    """Where parcels begin and end among batches of so many tokens: one batch in each at least."""
    numbers = np.cumsum(n_tokens) // TOKENS_AT_ONCE
    return np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [len(n_tokens)]])


def _padded(
    tokens: Tokens, padding: Padding, rows: np.ndarray, widths: np.ndarray
) -> dict[str, np.ndarray]:
    """Each feature of these rows, row after row: int32 [widths.sum()].

    Args:
        widths: what each row is padded to: int64 [n_rows].
    """
    begins = tokens.starts[rows]
    lengths = tokens.starts[rows + 1] - begins
    sources = _ranges(begins, lengths)
    targets = _ranges(np.cumsum(widths) - (lengths if padding.is_left else widths), lengths)
    padded = {}
    for name, fill in padding.fills.items():
        array = np.full(int(widths.sum()), fill, dtype=np.int32)
        constant = tokens.constants.get(name)
        if constant is None:
            array[targets] = tokens.values[name][sources]
        elif constant != fill:
            array[targets] = constant
        padded[name] = array
    return padded


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, ..., then starts[1], ...: int64 [lengths.sum()]."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])


def _parts(joined: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    return np.split(joined, np.cumsum(sizes)[:-1])
