"""Byte-level BPE in a graph: merges by rank, in all words at once.

    model = BytePairs(components.model, components.added_tokens, backend)
    ids, row_splits = model(words)

Most words are one token. The others are merged from their bytes, in each round the pair of the
lowest rank in every word, until none has any.
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
        self._ranks = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(np.array(keys, np.int64), ranks), _NEVER
        )

    def __call__(self, words: Words) -> tuple[Any, Any]:
        """The ids of all rows, end to end, and where each row's begin: int32, both."""
        prints = self.table.over(words.characters, words.places)
        whole = self.table.find(prints.of_words(words.begins, words.ends))
        is_split = (whole < 0) | (words.ends - words.begins > self._longest)
        split = tf.where(is_split)
        pieces = self._merge(words, split[:, 0])
        n_pieces = tf.reduce_sum(tf.cast(pieces >= 0, tf.int32), axis=1)
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
        ids = tf.tensor_scatter_nd_update(
            ids, places[:, None], tf.boolean_mask(pieces, pieces >= 0)
        )
        return ids, tf.gather(starts, words.row_splits)

    def _merge(self, words: Words, which: Any) -> Any:
        """The ids of these words, each in a row, -1 after the last: int32 [n, most]."""
        begins, ends = tf.gather(words.begins, which), tf.gather(words.ends, which)
        index, splits = ranges(begins, ends)
        values, starts = utf8(tf.gather(words.characters, index))
        symbols = tf.RaggedTensor.from_row_splits(
            tf.gather(self._bytes, values), tf.gather(starts, splits), validate=False
        ).to_tensor(-1)

        def merge(symbols: Any, ranks: Any) -> tuple[Any, Any]:
            columns = tf.range(tf.shape(symbols)[1])
            best = tf.argmin(ranks, axis=1, output_type=tf.int32)[:, None]
            rank = tf.reduce_min(ranks, axis=1)[:, None]
            can = rank < _NEVER
            merged = tf.gather(self._merged, tf.where(can, rank, 0))
            shifted = tf.pad(symbols[:, 1:], [[0, 0], [0, 1]], constant_values=-1)
            symbols = tf.where(can & (columns > best), shifted, symbols)
            symbols = tf.where(can & (columns == best), merged, symbols)
            return symbols, self._rank(symbols)

        merged, _ = tf.while_loop(
            lambda _, ranks: tf.reduce_any(ranks < _NEVER),
            merge,
            (symbols, self._rank(symbols)),
            shape_invariants=(tf.TensorShape([None, None]), tf.TensorShape([None, None])),
        )
        return merged

    def _rank(self, symbols: Any) -> Any:
        """Of each symbol with the next one: int32 [n, most]."""
        left = tf.cast(symbols, tf.int64)
        right = tf.pad(left[:, 1:], [[0, 0], [0, 1]], constant_values=-1)
        is_pair = (left >= 0) & (right >= 0)
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
