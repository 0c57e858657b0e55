"""Added tokens cut a text into segments, each of which is split by itself; in a graph.

    added = AddedTokens(components.added_tokens, is_space)
    characters, row_splits = added.cut(tf.constant(["a [MASK] b"]))     # edge, a, token, " ", b
    characters, row_splits = added.prefixed(characters, row_splits)     # a space before a segment

Each row begins with a mark of its edge, over which nothing reaches; that and tokens are numbers
beyond Unicode's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import N_CODE_POINTS, code_points
from tfft.export.components import AddedToken
from tfft.export.literals import Literals
from tfft.export.words import counted, decoded


class AddedTokens:
    """Those of a tokenizer.

    Args:
        is_space: what they take with them where they strip: bool [N_CODE_POINTS].
        normalizer: what some of them are looked for after; None where there is none.

    Attributes:
        edge: what marks a row's beginning.
        n_marks: how many numbers there are beyond Unicode's.
        is_space: bool [N_CODE_POINTS + n_marks].
    """

    def __init__(
        self, tokens: Sequence[AddedToken], is_space: np.ndarray, normalizer: Any = None
    ) -> None:
        self.edge = N_CODE_POINTS + len(tokens)
        self._dropped = self.edge + 1
        self.n_marks = len(tokens) + 2
        self.is_space = np.append(is_space, np.zeros(self.n_marks, bool))
        numbered = list(enumerate(tokens, start=N_CODE_POINTS))
        self._raw, self._normalized = (
            [
                (number, each.found_as(normalizer), each)
                for number, each in numbered
                if (each.normalized and normalizer is not None) == late
            ]
            for late in (False, True)
        )

    def cut(self, texts: Any) -> tuple[Any, Any]:
        """Characters and tokens, and where each row's begin: int32, both.

        Args:
            texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD.
        """
        characters, row_splits = decoded(texts)
        begins = row_splits[:-1]
        characters = tf.tensor_scatter_nd_update(
            characters, begins[:, None], tf.fill([tf.size(begins)], self.edge)
        )
        return self._find(self._raw, characters, row_splits)

    def cut_normalized(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        """With those that are found in a normalised text."""
        return self._find(self._normalized, characters, row_splits)

    def _find(
        self, tokens: Sequence[tuple[int, str, AddedToken]], characters: Any, row_splits: Any
    ) -> tuple[Any, Any]:
        """Tokens in the place of their literals, and of white space that they take with them."""
        if not tokens:
            return characters, row_splits
        literals = Literals(
            [(code_points(text), number) for number, text, _ in tokens], blank=self._dropped
        )
        marked = literals.mark(characters)

        def without_blanks() -> tuple[Any, Any]:
            found, splits = only(marked, marked != self._dropped, row_splits)
            is_space, before, after = self._beside(found)
            is_taken = tf.zeros_like(is_space)
            for number, _, each in tokens:
                if each.lstrip:
                    is_taken |= after == number
                if each.rstrip:
                    is_taken |= before == number
            return only(found, ~(is_space & is_taken), splits)

        return tf.cond(
            tf.reduce_any(marked != characters), without_blanks, lambda: (marked, row_splits)
        )

    def stripped(
        self, characters: Any, row_splits: Any, *, left: bool, right: bool
    ) -> tuple[Any, Any]:
        """Without the white space that segments begin or end with."""
        is_space, before, after = self._beside(characters)
        is_taken = tf.zeros_like(is_space)
        if left:
            is_taken |= before >= N_CODE_POINTS
        if right:
            is_taken |= after >= N_CODE_POINTS
        return only(characters, ~(is_space & is_taken), row_splits)

    def _beside(self, characters: Any) -> tuple[Any, Any, Any]:
        """Whether each is white space, and what stands before and after that."""
        is_space = tf.gather(self.is_space, characters)
        # Every row has an edge, so something that is no space stands before and, at last, after.
        places = tf.concat([tf.cast(tf.where(~is_space)[:, 0], tf.int32), [0]], 0)
        n_before = counted(~is_space)[:-1]
        after = tf.gather(characters, tf.gather(places, n_before))
        before = tf.gather(characters, tf.gather(places, tf.maximum(n_before - 1, 0)))
        return is_space, before, after

    def prefixed(
        self, characters: Any, row_splits: Any, *, but_before: Sequence[int] = (ord(" "),)
    ) -> tuple[Any, Any]:
        """A space before each segment, at a row's begin and after each token.

        Args:
            but_before: what a segment may begin with instead.
        """
        is_cut = characters >= N_CODE_POINTS
        following = tf.concat([characters[1:], [self.edge]], 0)[: tf.size(characters)]
        is_text = tf.concat([~is_cut[1:], [False]], 0)[: tf.size(characters)]
        for each in but_before:
            is_text &= following != each
        times = 1 + tf.cast(is_cut & is_text, tf.int32)
        ends = tf.concat([[0], tf.cumsum(times)], 0)
        spaces = tf.fill([ends[-1]], ord(" "))
        characters = tf.tensor_scatter_nd_update(spaces, ends[:-1, None], characters)
        return characters, tf.gather(ends, row_splits)


def only(characters: Any, is_kept: Any, row_splits: Any) -> tuple[Any, Any]:
    """The characters that are kept, and where each row's begin."""
    return tf.boolean_mask(characters, is_kept), tf.gather(counted(is_kept), row_splits)
