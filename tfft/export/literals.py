"""Added tokens, found by their literals in the characters of a text, in a graph.

    literals = Literals([(code_points("[SEP]"), N_CODE_POINTS + 3)], blank=ord(" "))
    characters = literals.mark(characters)      # of [SEP], the token and four spaces

The fast tokenizer finds them too where a user writes them. Most texts have none, and then all that
is done is one comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfft.backend import tf

_ANYTHING = -1


class Literals:
    """Some of the added tokens.

    Args:
        tokens: the characters of each and what marks it; none shares characters with another.
        blank: what becomes of the characters after the mark.
    """

    def __init__(self, tokens: Sequence[tuple[np.ndarray, int]], *, blank: int) -> None:
        self._marks = np.array([mark for _, mark in tokens], np.int32)
        self._lengths = np.array([len(literal) for literal, _ in tokens], np.int32)
        self._literals = np.full((len(tokens), max(self._lengths, default=1)), _ANYTHING, np.int32)
        for row, (literal, _) in zip(self._literals, tokens, strict=True):
            row[: len(literal)] = literal
        self._firsts = np.unique(self._literals[:, 0])
        self._blank = blank

    def mark(self, characters: Any) -> Any:
        """Args: characters: int32 [n]."""
        if not len(self._marks):
            return characters
        may_begin = tf.reduce_any(characters[:, None] == self._firsts, axis=1)
        return tf.cond(
            tf.reduce_any(may_begin),
            lambda: self._marked(characters, tf.cast(tf.where(may_begin)[:, 0], tf.int32)),
            lambda: characters,
        )

    def _marked(self, characters: Any, candidates: Any) -> Any:
        n, longest = tf.size(characters), self._literals.shape[1]
        padded = tf.concat([characters, tf.zeros([longest], tf.int32)], 0)
        windows = tf.gather(padded, candidates[:, None] + np.arange(longest, dtype=np.int32))
        same = (windows[:, None] == self._literals) | (self._literals == _ANYTHING)
        found = tf.reduce_all(same, axis=2)
        is_found = tf.reduce_any(found, axis=1)
        begins = tf.boolean_mask(candidates, is_found)
        which = tf.argmax(tf.boolean_mask(tf.cast(found, tf.int32), is_found), axis=1)
        ends = begins + tf.gather(self._lengths, which)
        edges = tf.math.unsorted_segment_sum(tf.ones_like(begins), begins, n + 1)
        edges -= tf.math.unsorted_segment_sum(tf.ones_like(ends), ends, n + 1)
        blanked = tf.where(tf.cumsum(edges)[:n] > 0, self._blank, characters)
        return tf.tensor_scatter_nd_update(blanked, begins[:, None], tf.gather(self._marks, which))
