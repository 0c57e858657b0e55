"""SentencePiece's unigram model over many words at once, in a graph: the likeliest pieces of each.

    model = Unigram(components.model, components.added_tokens)
    ids, starts = model(words)          # int32 [n], [n_rows + 1]

The fast tokenizer's own search, Viterbi's: for each place of a word the best way to get there, by
the scores of the pieces that end there. Places are gone through one after the other, in all words
at once; a character that is no piece counts as an unknown one, and those in a row are one token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import N_CODE_POINTS, code_points
from tfft.export.components import AddedToken
from tfft.export.fingerprints import FingerprintTable
from tfft.export.words import Words, ranges

# Characters of a word that are looked at; where a longer one is cut may show in what comes before.
MOST_CHARACTERS = 1 << 14
# The fast tokenizer's: an unknown character is so much less likely than the least likely piece.
_UNKNOWN_PENALTY = 10.0


class Unigram(tf.Module):
    """A vocabulary with scores.

    Args:
        model: tokenizer.json's.
    """

    def __init__(self, model: Mapping[str, Any], added_tokens: Sequence[AddedToken]) -> None:
        super().__init__()
        scores = [score for _, score in model["vocab"]]
        self._unknown = int(model["unk_id"])
        self._unknown_score = min(scores) - _UNKNOWN_PENALTY
        self.table = FingerprintTable(_entries(model, added_tokens), longest=MOST_CHARACTERS)
        # By id; those of added tokens, which stand alone, don't matter; the last is of no piece.
        size = 1 + max([len(scores) - 1, *(each.id for each in added_tokens)])
        self._scores = np.zeros(size + 1)
        self._scores[: len(scores)] = scores
        self._scores[-1] = -np.inf

    def __call__(self, words: Words) -> tuple[Any, Any]:
        """The ids of all rows, end to end, and where each row's begin: int32, both."""
        lengths = tf.minimum(words.ends - words.begins, MOST_CHARACTERS)
        characters, splits = ranges(words.begins, words.begins + lengths)
        n, n_words = tf.size(characters), tf.size(lengths)
        word = tf.repeat(tf.range(n_words), lengths)
        place = tf.range(n) - tf.gather(splits, word)
        found = self._found(words, characters, tf.repeat(words.begins + lengths, lengths))
        chosen = self._best_lengths(found, place, splits[:-1], lengths, word)
        is_end = _reached(chosen, splits[1:] - 1, place)
        begins = tf.range(n) + 1 - chosen
        ids = tf.gather_nd(found, tf.stack([begins, chosen - 1], axis=1))
        ids, word = tf.boolean_mask(ids, is_end), tf.boolean_mask(word, is_end)
        is_known = ids >= 0
        after_unknown = tf.concat([[False], ~is_known], 0)[: tf.size(ids)]
        same_word = tf.concat([[False], word[1:] == word[:-1]], 0)[: tf.size(ids)]
        is_kept = is_known | ~(after_unknown & same_word)
        ids = tf.boolean_mask(tf.where(is_known, ids, self._unknown), is_kept)
        n_before = tf.searchsorted(tf.boolean_mask(word, is_kept), words.row_splits)
        return ids, n_before

    def _found(self, words: Words, characters: Any, ends: Any) -> Any:
        """The piece of each length that begins at a character: int32 [n, longest], -1 of none."""
        prints = self.table.over(words.characters, words.places)
        lengths = np.arange(1, self.table.longest_entry + 1, dtype=np.int32)
        parts = characters[:, None] + lengths
        fits = parts <= ends[:, None]
        parts = tf.where(fits, parts, characters[:, None])
        return tf.where(fits, self.table.find(prints.of_parts(characters, parts)), -1)

    def _best_lengths(self, found: Any, place: Any, begins: Any, lengths: Any, word: Any) -> Any:
        """Of the best way to the end of each character, the last piece's length: int32 [n]."""
        n, longest = tf.size(place), self.table.longest_entry
        scores = tf.gather(self._scores, tf.where(found >= 0, found, len(self._scores) - 1))
        single = tf.where(found[:, :1] >= 0, scores[:, :1], self._unknown_score)
        scores = tf.concat([single, scores[:, 1:]], axis=1)
        # Of the pieces that end at a character, the longest first: of equals it is the one.
        back = np.arange(longest - 1, -1, -1, dtype=np.int32)
        starts = tf.range(n)[:, None] - back
        fits = back <= place[:, None]
        index = tf.stack([tf.where(fits, starts, 0), tf.zeros_like(starts) + back], axis=2)
        ending = tf.where(fits, tf.gather_nd(scores, index), np.float64(-np.inf))
        ending = tf.concat([ending, tf.zeros([1, longest], tf.float64)], 0)
        most = tf.reduce_max(tf.concat([[1], lengths], 0))
        # The best scores at the places before, as many as a piece is long.
        window = tf.concat(
            [
                tf.fill([tf.size(begins), longest - 1], np.float64(-np.inf)),
                tf.zeros([tf.size(begins), 1], tf.float64),
            ],
            axis=1,
        )
        chosen = tf.TensorArray(tf.int32, most, element_shape=[None], infer_shape=False)

        def step(number: Any, window: Any, chosen: Any) -> tuple[Any, Any, Any]:
            ways = window + tf.gather(ending, tf.minimum(begins + number, n))
            best = tf.reduce_max(ways, axis=1, keepdims=True)
            which = longest - tf.argmax(ways, axis=1, output_type=tf.int32)
            return number + 1, tf.concat([window[:, 1:], best], 1), chosen.write(number, which)

        shapes = (tf.TensorShape([]), tf.TensorShape([None, longest]), tf.TensorShape(None))
        _, _, chosen = tf.while_loop(
            lambda number, *_: number < most, step, (0, window, chosen), shape_invariants=shapes
        )
        return tf.gather_nd(chosen.stack(), tf.stack([place, word], axis=1))


def _reached(chosen: Any, last: Any, place: Any) -> Any:
    """Whether a piece of a word's best way ends at a character: bool [n].

    From each word's last character, the ends before it by doubling: after k rounds 2**k of them.
    """
    n = tf.size(chosen)
    # What begins its word leads to itself, past all.
    before = tf.where(chosen > place, n, tf.range(n) - chosen)
    before = tf.concat([before, n[None]], 0)
    reached = tf.scatter_nd(last[:, None], tf.ones_like(last), n[None] + 1)

    def double(before: Any, reached: Any) -> tuple[Any, Any]:
        more = tf.math.unsorted_segment_max(reached, before, n + 1)
        return tf.gather(before, before), tf.maximum(reached, more)

    _, reached = tf.while_loop(
        lambda before, _: tf.reduce_any(before < n), double, (before, reached)
    )
    return reached[:n] > 0


def _entries(
    model: Mapping[str, Any], added_tokens: Sequence[AddedToken]
) -> Iterator[tuple[np.ndarray, bool, int]]:
    # Of one that is there twice, the fast tokenizer takes the last.
    for piece, number in {
        piece: number for number, (piece, _) in enumerate(model["vocab"])
    }.items():
        if piece:
            yield code_points(piece), False, number
            yield code_points(piece), True, number
    for number, token in enumerate(added_tokens, start=N_CODE_POINTS):
        yield np.array([number]), False, token.id
