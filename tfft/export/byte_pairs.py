"""Byte-level BPE in a graph: merges by rank, in all words at once.

    model = BytePairs(components.model, components.added_tokens, backend)
    ids, row_splits = model(words)

Most words are one token. The others are merged from their bytes, in each round the pairs of the
lowest rank in every word, until none has any. A word of n bytes takes n - 1 rounds at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import N_CODE_POINTS, code_points
from tfft.export.components import AddedToken, byte_symbols
from tfft.export.fingerprints import FingerprintTable
from tfft.export.words import Words, ranges

_NEVER = np.iinfo(np.int32).max


class BytePairs(tf.Module):
    """A vocabulary and its merges.

    Args:
        model: tokenizer.json's.
        backend: the `tokenizers.Tokenizer`, which is asked what words are one token.
    """

    def __init__(
        self, model: Mapping[str, Any], added_tokens: Sequence[AddedToken], backend: Any
    ) -> None:
        super().__init__()
        vocabulary = model["vocab"]
        entries = [*_entries(vocabulary, backend), *_tokens(added_tokens)]
        self._longest = max(len(points) for points, _, _ in entries)
        self.table = FingerprintTable(entries, longest=self._longest)
        self._bytes = np.array([vocabulary[each] for each in byte_symbols()], np.int32)
        pairs = [
            tuple(each.split(" ") if isinstance(each, str) else each) for each in model["merges"]
        ]
        self._base = np.int64(len(vocabulary) + 1 + max(vocabulary.values()))
        # A word of one byte asks too, so there is one key that no pair has.
        keys = [-1, *(vocabulary[a] * int(self._base) + vocabulary[b] for a, b in pairs)]
        ranks = np.array([_NEVER, *range(len(pairs))], np.int32)
        self._merged = np.array([vocabulary[a + b] for a, b in pairs] or [0], np.int32)
        self._is_ordered = _is_ordered(pairs)
        self._ranks = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(np.array(keys, np.int64), ranks), _NEVER
        )

    def __call__(self, words: Words) -> tuple[Any, Any]:
        """The ids of all rows, end to end, and where each row's begin: int32, both."""
        prints = self.table.over(words.characters, words.places)
        whole = self.table.find(prints.of_words(words.begins, words.ends))
        is_split = (whole < 0) | (words.ends - words.begins > self._longest)
        split = tf.where(is_split)
        pieces, word = self._merge(words, split[:, 0])
        n_pieces = tf.math.unsorted_segment_sum(tf.ones_like(word), word, tf.size(split))
        counts = tf.tensor_scatter_nd_update(tf.ones_like(whole), split, n_pieces)
        starts = tf.concat([[0], tf.cumsum(counts)], 0)
        ids = tf.zeros([starts[-1]], tf.int32)
        ids = tf.tensor_scatter_nd_update(
            ids,
            tf.boolean_mask(starts[:-1], ~is_split)[:, None],
            tf.boolean_mask(whole, ~is_split),
        )
        first = tf.boolean_mask(starts[:-1], is_split)
        places, _ = ranges(first, first + n_pieces)
        ids = tf.tensor_scatter_nd_update(ids, places[:, None], pieces)
        return ids, tf.gather(starts, words.row_splits)

    def _merge(self, words: Words, which: Any) -> tuple[Any, Any]:
        """The ids of these words' pieces, end to end, and the word of each, from 0."""
        begins, ends = tf.gather(words.begins, which), tf.gather(words.ends, which)
        index, splits = ranges(begins, ends)
        values, starts = utf8(tf.gather(words.characters, index))
        symbols = tf.gather(self._bytes, values)
        splits = tf.gather(starts, splits)
        n_words = tf.size(which, out_type=tf.int32)
        word = tf.repeat(tf.range(n_words), splits[1:] - splits[:-1])
        every = tf.range(tf.size(symbols))

        def merge(symbols: Any, word: Any, ranks: Any) -> tuple[Any, Any, Any]:
            lowest = tf.math.unsorted_segment_min(ranks, word, n_words)
            is_lowest = (ranks < _NEVER) & (ranks == tf.gather(lowest, word))
            chosen = self._chosen(is_lowest, word, n_words)
            merged = tf.gather(self._merged, tf.where(chosen, ranks, 0))
            symbols = tf.where(chosen, merged, symbols)
            kept = ~tf.concat([[False], chosen[:-1]], 0)
            symbols, word, ranks, chosen = (
                tf.boolean_mask(each, kept) for each in (symbols, word, ranks, chosen)
            )
            # Only the pairs on both sides of a new symbol are new.
            is_new = chosen | tf.concat([chosen[1:], [False]], 0)
            new = tf.cast(tf.where(is_new)[:, 0], tf.int32)
            found = self._rank(symbols, word, new)
            return symbols, word, tf.tensor_scatter_nd_update(ranks, new[:, None], found)

        unknown = tf.TensorShape([None])
        symbols, word, _ = tf.while_loop(
            lambda _symbols, _word, ranks: tf.reduce_any(ranks < _NEVER),
            merge,
            (symbols, word, self._rank(symbols, word, every)),
            shape_invariants=(unknown, unknown, unknown),
        )
        return symbols, word

    def _chosen(self, is_lowest: Any, word: Any, n_words: Any) -> Any:
        """Which pairs of the lowest rank are merged in one round: bool [n]."""
        places = tf.range(tf.size(word))
        if not self._is_ordered:
            masked = tf.where(is_lowest, places, _NEVER)
            first = tf.math.unsorted_segment_min(masked, word, n_words)
            return is_lowest & (places == tf.gather(first, word))
        # All of them; but of a, a, a, where two pairs share one, the first.
        is_first = is_lowest & ~tf.concat([[False], is_lowest[:-1]], 0)
        firsts = tf.concat([[0], tf.cast(tf.where(is_first)[:, 0], tf.int32)], 0)
        run = tf.gather(firsts, tf.cumsum(tf.cast(is_first, tf.int32)))
        return is_lowest & ((places - run) % 2 == 0)

    def _rank(self, symbols: Any, word: Any, places: Any) -> Any:
        """Of the symbols at these places with those after them: int32 [n]."""
        last = tf.maximum(tf.size(symbols) - 1, 0)
        after = tf.minimum(places + 1, last)
        is_pair = (places < last) & (tf.gather(word, places) == tf.gather(word, after))
        left, right = (tf.cast(tf.gather(symbols, each), tf.int64) for each in (places, after))
        return self._ranks.lookup(tf.where(is_pair, left * self._base + right, -1))


def utf8(points: Any) -> tuple[Any, Any]:
    """The bytes of code points, and where those of each begin: int32 [n_bytes], [n + 1]."""
    lengths = 1 + sum(tf.cast(points >= limit, tf.int32) for limit in (0x80, 0x800, 0x10000))
    starts = tf.concat([[0], tf.cumsum(lengths)], 0)
    points, length = tf.repeat(points, lengths), tf.repeat(lengths, lengths)
    place = tf.range(tf.size(points)) - tf.repeat(starts[:-1], lengths)
    bits = tf.bitwise.right_shift(points, 6 * (length - 1 - place))
    lead = tf.gather(np.array([0, 0, 0xC0, 0xE0, 0xF0], np.int32), length)
    return tf.where(place == 0, lead | bits, 0x80 | (bits & 0x3F)), starts


def _is_ordered(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether every token is made, in all ways there are, before it is used.

    Then no merge can be followed by one of a lower rank, and all of a rank go at once.
    """
    first_use: dict[str, int] = {}
    for rank, pair in enumerate(pairs):
        for each in pair:
            first_use.setdefault(each, rank)
    return all(rank < first_use.get(a + b, _NEVER) for rank, (a, b) in enumerate(pairs))


def _entries(vocabulary: Mapping[str, int], backend: Any) -> Iterator[tuple[np.ndarray, bool, int]]:
    """Those that are text, and that merging ends at."""
    values = {symbol: value for value, symbol in enumerate(byte_symbols())}
    for entry, number in vocabulary.items():
        if not entry or any(each not in values for each in entry):
            continue
        raw = bytes(values[each] for each in entry)
        text = raw.decode("utf-8", errors="replace")
        if text.encode() == raw and [each.id for each in backend.model.tokenize(entry)] == [number]:
            yield code_points(text), False, number


def _tokens(added_tokens: Sequence[AddedToken]) -> Iterator[tuple[np.ndarray, bool, int]]:
    for number, token in enumerate(added_tokens, start=N_CODE_POINTS):
        yield np.array([number]), False, token.id
