"""The byte-level pre-tokenizer of GPT-2 and RoBERTa in a graph: its regular expression as tables.

    splitter = ByteLevelSplitter(components)
    words = splitter(tf.constant(["it's a  test"]))         # it, 's, " a", " ", " test"

The expression is GPT-2's: contractions, then letters, numbers or others, each after a space or not.
It looks ahead, which RE2 can't. But where a word begins follows from a character's class and those
beside it, so all are found at once. The classes are asked of the pre-tokenizer itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import N_CODE_POINTS, code_points, probe_classes
from tfft.export.components import Components
from tfft.export.literals import Literals
from tfft.export.words import Words, counted, join_words

LETTER, NUMBER, SPACE, OTHER, TOKEN, EDGE = range(6)
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


class ByteLevelSplitter:
    """Texts -> words."""

    def __init__(self, components: Components) -> None:
        tokens = components.added_tokens
        self._edge = N_CODE_POINTS + len(tokens)
        self._dropped = self._edge + 1
        self.kinds = np.concatenate([_classes(), [TOKEN] * len(tokens), [EDGE, EDGE]]).astype(
            np.int32
        )
        self._literals = Literals(
            [(code_points(each.content), N_CODE_POINTS + n) for n, each in enumerate(tokens)],
            blank=self._dropped,
        )
        self._lstrip, self._rstrip = (
            np.array(
                [n + N_CODE_POINTS for n, each in enumerate(tokens) if getattr(each, side)],
                np.int32,
            )
            for side in ("lstrip", "rstrip")
        )
        self._prefixes = bool(components.pre_tokenizer["add_prefix_space"])

    def __call__(self, texts: Any) -> Words:
        """Args: texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD."""
        decoded = tf.raw_ops.UnicodeDecode(
            input=tf.strings.join([" ", texts]),
            input_encoding="UTF-8",
            errors="replace",
            replacement_char=0xFFFD,
            Tsplits=tf.int32,
        )
        # Each row begins with a mark of its edge, over which nothing reaches.
        begins = decoded.row_splits[:-1]
        characters = tf.tensor_scatter_nd_update(
            decoded.char_values, begins[:, None], tf.fill([tf.size(begins)], self._edge)
        )
        characters, row_splits = self._find_tokens(characters, decoded.row_splits)
        if self._prefixes:
            characters, row_splits = self._prefix(characters, row_splits)
        is_begin = self._begins(characters)
        is_kept = characters != self._edge
        kept = tf.where(is_kept)[:, 0]
        return join_words(
            tf.gather(characters, kept),
            tf.gather(is_begin, kept),
            tf.gather(counted(is_kept), row_splits),
        )

    def _find_tokens(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        marked = self._literals.mark(characters)

        def without_blanks() -> tuple[Any, Any]:
            found, splits = _only(marked, marked != self._dropped, row_splits)
            return self._strip(found, splits)

        has_tokens = tf.reduce_any((marked >= N_CODE_POINTS) & (marked != self._edge))
        return tf.cond(has_tokens, without_blanks, lambda: (marked, row_splits))

    def _strip(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        """Without the white space that tokens take with them."""
        is_space = tf.gather(self.kinds, characters) == SPACE
        # Every row has an edge, so something that is no space stands before and, at last, after.
        places = tf.concat([tf.cast(tf.where(~is_space)[:, 0], tf.int32), [0]], 0)
        n_before = counted(~is_space)[:-1]
        after = tf.gather(characters, tf.gather(places, n_before))
        before = tf.gather(characters, tf.gather(places, tf.maximum(n_before - 1, 0)))
        is_taken = tf.reduce_any(after[:, None] == self._lstrip, axis=1)
        is_taken |= tf.reduce_any(before[:, None] == self._rstrip, axis=1)
        return _only(characters, ~(is_space & is_taken), row_splits)

    def _prefix(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        """A space before what begins with none, at a row's begin and after each token."""
        kinds = tf.gather(self.kinds, characters)
        is_cut = kinds >= TOKEN
        following = tf.concat([characters[1:], [self._edge]], 0)[: tf.size(characters)]
        is_text = tf.concat([~is_cut[1:], [False]], 0)[: tf.size(characters)]
        times = 1 + tf.cast(is_cut & is_text & (following != ord(" ")), tf.int32)
        ends = tf.concat([[0], tf.cumsum(times)], 0)
        spaces = tf.fill([ends[-1]], ord(" "))
        characters = tf.tensor_scatter_nd_update(spaces, ends[:-1, None], characters)
        return characters, tf.gather(ends, row_splits)

    def _begins(self, characters: Any) -> Any:
        """Where words begin: bool [n]."""
        n = tf.size(characters)
        kinds = tf.gather(self.kinds, characters)
        kind_before = tf.concat([[EDGE], kinds], 0)[:n]
        kind_after = tf.concat([kinds[1:], [EDGE]], 0)[:n]
        follows_blank = tf.concat([[False], characters == ord(" ")], 0)[:n]
        is_space = kinds == SPACE
        # Of white space before a word, the last is left to it, or stands alone.
        is_last = is_space & (kind_after < TOKEN) & (kind_after != SPACE)
        is_joined = follows_blank & (kinds < TOKEN) & ~is_space
        is_begin = ((kinds != kind_before) | (kinds >= TOKEN) | is_last) & ~is_joined
        quotes = is_begin & (characters == ord("'"))
        return tf.cond(
            tf.reduce_any(quotes),
            lambda: self._contract(characters, is_begin, quotes),
            lambda: is_begin,
        )

    def _contract(self, characters: Any, is_begin: Any, quotes: Any) -> Any:
        """With words that end after a contraction."""
        n = tf.size(characters)
        begins = tf.cast(tf.where(quotes)[:, 0], tf.int32)
        padded = tf.concat([characters, [self._edge, self._edge, self._edge]], 0)
        windows = tf.gather(padded, begins[:, None] + np.arange(3, dtype=np.int32))
        length = tf.zeros_like(begins)
        for each in _CONTRACTIONS:
            is_it = tf.reduce_all(windows[:, : len(each)] == code_points(each), axis=1)
            length = tf.where(is_it, len(each), length)
        found = tf.boolean_mask(tf.stack([begins, begins + length], axis=1), length > 0)
        inside = tf.math.unsorted_segment_sum(tf.ones_like(found[:, 0]), found[:, 0] + 1, n + 3)
        inside -= tf.math.unsorted_segment_sum(tf.ones_like(found[:, 0]), found[:, 1], n + 3)
        is_inside = tf.cumsum(inside)[:n] > 0
        is_end = tf.math.unsorted_segment_sum(tf.ones_like(found[:, 0]), found[:, 1], n + 3)[:n] > 0
        return (is_begin & ~is_inside) | is_end


@cache
def _classes() -> np.ndarray:
    from tokenizers.pre_tokenizers import ByteLevel

    return probe_classes(ByteLevel(add_prefix_space=False))


def _only(characters: Any, is_kept: Any, row_splits: Any) -> tuple[Any, Any]:
    return tf.boolean_mask(characters, is_kept), tf.gather(counted(is_kept), row_splits)
