"""A table over code points, applied to texts in a graph; and what isn't a matter of one character.

    folding = Folding(folds, Sorting(decompositions, ranks)).extended(tokens, tokens)
    values, row_splits = folding(characters, row_splits)

Where a normalizer decomposes a text, that sorts combining marks, of which some remain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import Folds

# Above all else in a value: whether sorting may move it.
MOVES = 1 << 26
# More than there are ranks.
_RUN = 1 << 10


@dataclass(frozen=True)
class Sorting:
    """Canonical order, for the few texts that need it.

    Attributes:
        ranks: int16 [N_CODE_POINTS].
    """

    decompositions: Folds
    ranks: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        """`MOVES` of what it may move: int32 [N_CODE_POINTS]."""
        return (self.ranks > 0) * np.int32(MOVES)

    def extended(self, tokens: np.ndarray) -> Sorting:
        """With tokens, which stay as and where they are."""
        ranks = np.append(self.ranks, np.zeros(len(tokens), np.int16))
        return Sorting(self.decompositions.extended(tokens), ranks)

    def sort(self, characters: Any) -> tuple[Any, Any]:
        """Decomposed and in order, and where those of each character began."""
        points, starts = self.decompositions.gather(characters)
        ranks = tf.cast(tf.gather(self.ranks, points), tf.int64)
        runs = tf.cumsum(tf.cast(ranks == 0, tf.int64))
        return tf.gather(points, tf.argsort(runs * _RUN + ranks, stable=True)), starts


@dataclass(frozen=True)
class Folding:
    """What each character becomes.

    Attributes:
        table: of values, with `MOVES` where sorting may move what they came of.
        sorting: None where nothing is sorted.
    """

    table: Folds
    sorting: Sorting | None

    def extended(self, tokens: np.ndarray, values: np.ndarray) -> Folding:
        """With what stands for added tokens, and the value of each."""
        sorting = None if self.sorting is None else self.sorting.extended(tokens)
        return Folding(self.table.extended(values), sorting)

    def __call__(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        """Values, and where each row's begin: int32, both."""
        values, splits = self.table.gather(characters)
        row_splits_of = tf.gather(splits, row_splits)
        if (sorting := self.sorting) is None:
            return values, row_splits_of

        def fold_sorted() -> tuple[Any, Any]:
            in_order, starts = sorting.sort(characters)
            values, splits = self.table.gather(in_order)
            return values, tf.gather(splits, tf.gather(starts, row_splits))

        moves = tf.reduce_any(values >= MOVES)
        return tf.cond(moves, fold_sorted, lambda: (values, row_splits_of))
