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
from tfft.export.added import AddedTokens
from tfft.export.characters import code_points, probe_classes
from tfft.export.components import Components
from tfft.export.words import Words, counted, join_words

LETTER, NUMBER, SPACE, OTHER, TOKEN, EDGE = range(6)
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


class ByteLevelSplitter:
    """Texts -> words."""

    def __init__(self, components: Components) -> None:
        tokens = components.added_tokens
        found = classes()
        self._added = AddedTokens(tokens, found == SPACE)
        self._edge = self._added.edge
        self.kinds = np.concatenate([found, [TOKEN] * len(tokens), [EDGE, EDGE]]).astype(np.int32)
        self._prefixes = bool(components.pre_tokenizer["add_prefix_space"])

    def __call__(self, texts: Any) -> Words:
        """Args: texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD."""
        characters, row_splits = self._added.cut(texts)
        if self._prefixes:
            characters, row_splits = self._added.prefixed(characters, row_splits)
        is_begin = self._begins(characters)
        is_kept = characters != self._edge
        kept = tf.where(is_kept)[:, 0]
        return join_words(
            tf.gather(characters, kept),
            tf.gather(is_begin, kept),
            tf.gather(counted(is_kept), row_splits),
        )

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
def classes() -> np.ndarray:
    """Of each code point, as the tokenizer's own pre-tokenizer tells them apart."""
    from tokenizers.pre_tokenizers import ByteLevel

    return probe_classes(ByteLevel(add_prefix_space=False))
