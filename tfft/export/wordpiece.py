"""WordPiece in a graph: the longest entry of the vocabulary first, in all words at once.

    pieces = WordPiece(components.model, components.added_tokens)
    ids, row_splits = pieces(words)

Most words are entries as they are. Of the others the longest entry is looked up from every
character, and then the chain of those that follow each other from the word's first character is
marked by doubling: after k rounds 2**k pieces of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import N_CODE_POINTS, code_points
from tfft.export.components import AddedToken
from tfft.export.fingerprints import Fingerprints, FingerprintTable
from tfft.export.words import Words, counted, ranges


class WordPiece(tf.Module):
    """A vocabulary.

    Args:
        model: tokenizer.json's.
    """

    def __init__(self, model: Mapping[str, Any], added_tokens: Sequence[AddedToken]) -> None:
        super().__init__()
        self._unknown = np.int32(model["vocab"][model["unk_token"]])
        self._most = int(model["max_input_chars_per_word"])
        self.table = FingerprintTable(_entries(model, added_tokens), longest=self._most)

    def __call__(self, words: Words) -> tuple[Any, Any]:
        """The ids of all rows, end to end, and where each row's begin: int32, both."""
        prints = self.table.over(words.characters, words.places)
        whole = self.table.find(prints.of_words(words.begins, words.ends))
        is_long = words.ends - words.begins > self._most
        whole = tf.where(is_long, self._unknown, whole)
        # An id stands at the first character of its piece, and -1 where no piece begins.
        ids = tf.tensor_scatter_nd_update(
            tf.fill([tf.size(words.characters)], -1), words.begins[:, None], whole
        )
        is_split = whole < 0
        characters, pieces = self._split(
            prints,
            tf.boolean_mask(words.begins, is_split),
            tf.boolean_mask(words.ends, is_split),
        )
        ids = tf.tensor_scatter_nd_update(ids, characters[:, None], pieces)
        is_piece = ids >= 0
        edges = tf.concat([words.begins, tf.size(ids)[None]], 0)
        starts = tf.gather(counted(is_piece), tf.gather(edges, words.row_splits))
        return tf.boolean_mask(ids, is_piece), starts

    def _split(self, prints: Fingerprints, begins: Any, ends: Any) -> tuple[Any, Any]:
        """Where in the text each piece of some words begins, and its id: int32 [n_pieces]."""
        characters, _ = ranges(begins, ends)
        n, lengths = tf.size(characters), ends - begins
        end = tf.repeat(ends, lengths)
        ids, longest = self._longest(prints, characters, end)
        following = tf.range(n) + longest
        # Past the last character stands one that leads to itself: the end, and where nothing fits.
        is_last = (longest == 0) | (characters + longest == end)
        following = tf.concat([tf.where(is_last, n, following), n[None]], 0)
        is_reached = tf.concat([tf.gather(prints.places, characters) == 0, [False]], 0)
        reached = tf.cast(is_reached, tf.int32)
        for _ in range(self._most.bit_length()):
            more = tf.math.unsorted_segment_max(reached, following, n + 1)
            reached = tf.maximum(reached, more)
            following = tf.gather(following, following)
        reached = reached[:n]
        word = tf.repeat(tf.range(tf.size(lengths)), lengths)
        is_stuck = tf.math.unsorted_segment_max(
            tf.where(longest == 0, reached, 0), word, tf.size(lengths)
        )
        is_stuck = tf.gather(is_stuck, word) > 0
        is_first = tf.gather(prints.places, characters) == 0
        ids = tf.where(is_stuck, self._unknown, ids)
        kept = tf.where(is_stuck, is_first, reached > 0)
        return tf.boolean_mask(characters, kept), tf.boolean_mask(ids, kept)

    def _longest(self, prints: Fingerprints, begins: Any, ends: Any) -> tuple[Any, Any]:
        """The id of the longest entry from each character, and its length; 0 of none."""
        rest = ends - begins
        most = tf.minimum(tf.reduce_max(tf.concat([[1], rest], 0)), self.table.longest_entry)
        lengths = tf.range(1, most + 1)
        fits = lengths <= rest[:, None]
        parts = tf.where(fits, begins[:, None] + lengths, begins[:, None])
        found = self.table.find(prints.of_parts(begins, parts))
        longest = tf.reduce_max(tf.where(fits & (found >= 0), lengths, 0), axis=1)
        ids = tf.gather(found, tf.maximum(longest - 1, 0), axis=1, batch_dims=1)
        return ids, longest


def _entries(
    model: Mapping[str, Any], added_tokens: Sequence[AddedToken]
) -> Iterator[tuple[np.ndarray, bool, int]]:
    prefix = model["continuing_subword_prefix"]
    for entry, number in model["vocab"].items():
        if entry:
            yield code_points(entry), False, number
        if entry.startswith(prefix) and entry != prefix:
            yield code_points(entry.removeprefix(prefix)), True, number
    for number, token in enumerate(added_tokens, start=N_CODE_POINTS):
        yield np.array([number]), False, token.id
