"""Words in a graph: the characters of all rows end to end, and where words and rows begin.

    words = splitter(tf.constant(["Café au lait"]))
    words.as_strings()              # [["cafe", "au", "lait"]]
    words.first(100)                # of each row

Flat arrays, for an operation on all words at once costs what one on a single word does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tfft.backend import tf


@dataclass(frozen=True)
class Words:
    """The words of some rows.

    Attributes:
        characters: code points of all words; beyond Unicode's, added tokens: int32 [n].
        places: which of its word's each character is, from 0: int32 [n].
        begins, ends: each word's in `characters`: int32 [n_words].
        row_splits: where each row's words begin: int32 [n_rows + 1].
    """

    characters: Any
    places: Any
    begins: Any
    ends: Any
    row_splits: Any

    def first(self, n_words: int) -> Words:
        """Those of each row that come first; the others' characters stay, unused."""
        begins = self.row_splits[:-1]
        ends = tf.minimum(self.row_splits[1:], begins + n_words)
        index, splits = ranges(begins, ends)
        return replace(
            self,
            begins=tf.gather(self.begins, index),
            ends=tf.gather(self.ends, index),
            row_splits=splits,
        )

    def as_strings(self) -> Any:
        """As a ragged tensor of strings: [n_rows, words]."""
        index, splits = ranges(self.begins, self.ends)
        words = tf.strings.unicode_encode(
            tf.RaggedTensor.from_row_splits(tf.gather(self.characters, index), splits), "UTF-8"
        )
        return tf.RaggedTensor.from_row_splits(words, self.row_splits)


def decoded(texts: Any) -> tuple[Any, Any]:
    """Code points, and where each row's begin: int32, both.

    Each row begins with a space: nothing reaches over its edge.

    Args:
        texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD.
    """
    made = tf.raw_ops.UnicodeDecode(
        input=tf.strings.join([" ", texts]),
        input_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
        Tsplits=tf.int32,
    )
    return made.char_values, made.row_splits


def join_words(characters: Any, is_begin: Any, row_splits: Any) -> Words:
    """From a mark on each word's first character.

    Args:
        is_begin: bool [n], True of each row's first.
        row_splits: where each row's characters begin: int32 [n_rows + 1].
    """
    begins = tf.cast(tf.where(is_begin)[:, 0], tf.int32)
    n = tf.size(characters)
    ends = tf.concat([begins[1:], [n]], 0)[: tf.size(begins)]
    places = tf.range(n) - tf.repeat(begins, ends - begins)
    return Words(characters, places, begins, ends, tf.gather(counted(is_begin), row_splits))


def counted(marks: Any) -> Any:
    """How many are marked before each place, and in all: int32 [n + 1]."""
    return tf.concat([[0], tf.cumsum(tf.cast(marks, tf.int32))], 0)


def ranges(begins: Any, ends: Any) -> tuple[Any, Any]:
    """The whole numbers of each range, end to end, and where each begins: int32, both."""
    made = tf.raw_ops.RaggedRange(starts=begins, limits=ends, deltas=1, Tsplits=tf.int32)
    return made.rt_dense_values, made.rt_nested_splits
