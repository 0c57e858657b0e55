"""SentencePiece's map of characters, as fast tokenizers apply it, in a graph.

    clusters = Clusters(normalizers.Precompiled(charsmap))
    numbers, row_splits = clusters(characters, row_splits)      # for a table extended by `rows`

The fast tokenizer looks at what a reader sees as one character (a letter with its marks, of less
than six bytes) and takes the first entry of the map that it begins with for all of it: e and U+0301
become \xe9, and of a second mark nothing is left. All others go through the map one by one.

What belongs together is asked of the normalizer itself, by what it makes of examples.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import N_CODE_POINTS, ask_each, chunks, code_points, probe_folds
from tfft.export.components import refused
from tfft.export.words import counted

# Longer ones go through the map one character after the other.
_MOST_BYTES = 5
_ACUTE, _ONE, _PAIR = "\u0301", "\u00aa", "e\u0301"  # \u00aa is an entry of the map, e isn't
_GRAVE = "\u0340"  # a mark that is an entry
_EXTENDS, _ENDS, _PREPENDS, _SWALLOWS = 1, 2, 4, 8


def composes(normalize: Callable[[str], str]) -> bool:
    """Whether it makes something else of two characters than of each by itself."""
    return any(normalize(pair) != normalize(pair[0]) + normalize(pair[1]) for pair in _decomposed())


def _decomposed() -> Iterator[str]:
    """The pairs of which Unicode has a character that stands for both."""
    for point in range(N_CODE_POINTS):
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            yield "".join(chr(int(each, 16)) for each in parts)


def _same_as(characters: set[str]) -> list[str]:
    """These, and those that stand for one of them."""
    return [
        each
        for chunk in chunks()
        for each in chunk
        if each in characters or unicodedata.normalize("NFD", each) in characters
    ]


class Clusters:
    """Args:
        normalize: the map's, of a text.
        n_marks: numbers beyond Unicode's that stand for no character.

    Attributes:
        rows: what the numbers after the marks become, one after the other.

    Raises:
        ExportError: it lacks the entries that tell what it takes for one character.
    """

    def __init__(self, normalize: Callable[[str], str], *, n_marks: int) -> None:
        if len(normalize(_PAIR)) != 1 or normalize(_ONE) == _ONE:
            raise refused("normalizer", "another map of characters", "nmt_nfkc and its like")
        self._normalize, self._first = normalize, N_CODE_POINTS + n_marks
        # A million texts, which nobody needs once the tables are made.
        folded = _each_alone(normalize)
        pairs = sorted(self._pairs(folded))
        self._keys = np.array([key for key, _ in pairs], np.int64)
        self.rows = [code_points(text) for _, text in pairs]
        self._kinds = np.append(self._probe_kinds(folded), np.full(n_marks, _ENDS, np.int32))

    def __call__(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        """Characters, some of them numbers of `rows`, and where each row's begin: int32, both."""
        kinds = tf.gather(self._kinds, characters)
        joins = tf.reduce_any(tf.bitwise.bitwise_and(kinds, _EXTENDS | _PREPENDS) > 0)
        return tf.cond(
            joins,
            lambda: self._joined(characters, kinds, row_splits),
            lambda: (characters, row_splits),
        )

    def _joined(self, characters: Any, kinds: Any, row_splits: Any) -> tuple[Any, Any]:
        n = tf.size(characters)

        def is_kind(kind: int) -> Any:
            return tf.bitwise.bitwise_and(kinds, kind) > 0

        def before(marks: Any) -> Any:
            return tf.concat([[False], marks], 0)[:n]

        ends = is_kind(_ENDS)
        extends = is_kind(_EXTENDS) & ~before(ends)
        is_begin = ~(extends | (before(is_kind(_PREPENDS)) & ~ends))
        is_begin |= tf.range(n) == 0
        cluster = tf.cumsum(tf.cast(is_begin, tf.int32)) - 1
        begins = tf.cast(tf.where(is_begin)[:, 0], tf.int32)
        stops = tf.concat([begins[1:], [n]], 0)[: tf.size(begins)]
        n_bytes = 1 + sum(
            tf.cast(characters >= limit, tf.int32) for limit in (0x80, 0x800, 0x10000)
        )
        sums = tf.concat([[0], tf.cumsum(n_bytes)], 0)
        is_short = (tf.gather(sums, stops) - tf.gather(sums, begins) <= _MOST_BYTES) & (
            stops - begins > 1
        )
        swallows = is_short & tf.gather(is_kind(_SWALLOWS), begins)
        second = tf.gather(characters, tf.minimum(begins + 1, n - 1))
        key = _key(tf.gather(characters, begins), second)
        place = tf.minimum(tf.searchsorted(self._keys, key), len(self._keys) - 1)
        composes = is_short & ~swallows & (tf.gather(self._keys, place) == key)
        changed = tf.where(composes, self._first + place, tf.gather(characters, begins))
        characters = tf.tensor_scatter_nd_update(characters, begins[:, None], changed)
        is_kept = is_begin | ~tf.gather(swallows | composes, cluster)
        return tf.boolean_mask(characters, is_kept), tf.gather(counted(is_kept), row_splits)

    def _pairs(self, folded: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Of two characters of which it makes something else than of each, what it makes."""
        firsts, seconds = (_same_as({pair[place] for pair in _decomposed()}) for place in (0, 1))
        for one in firsts:
            pairs = [one + other for other in seconds if len((one + other).encode()) <= _MOST_BYTES]
            for pair, made in zip(pairs, ask_each(self._normalize, pairs), strict=True):
                first, second = ord(pair[0]), ord(pair[1])
                alone = folded[first]
                if made not in (alone + folded[second], alone):
                    yield _key(first, second), made

    def _probe_kinds(self, folded: Sequence[str]) -> np.ndarray:
        """Bits of each code point: int32 [N_CODE_POINTS]."""
        kinds = np.zeros(N_CODE_POINTS, np.int32)
        composed = self._normalize(_PAIR)
        one, grave = folded[ord(_ONE)], folded[ord(_GRAVE)]
        for chunk in chunks():
            after_one, after_pair, before_marks, before_pair, before_mark = (
                ask_each(self._normalize, [before + each + after for each in chunk])
                for before, after in (
                    (_ONE, ""),
                    (_PAIR, ""),
                    ("", _GRAVE + _ACUTE),
                    ("", _PAIR),
                    ("", _ACUTE),
                )
            )
            for number, each in enumerate(chunk):
                alone, kind = folded[ord(each)], 0
                if len(each.encode()) == 2:
                    extends = after_one[number] != one + alone
                else:
                    extends = not after_pair[number].startswith(composed)
                if extends:
                    kind |= _EXTENDS
                elif before_marks[number] == alone + grave:
                    kind |= _ENDS
                if not before_pair[number].endswith(composed):
                    kind |= _PREPENDS
                if alone != each and before_mark[number] == alone:
                    kind |= _SWALLOWS
                kinds[ord(each)] = kind
        return kinds


def _each_alone(normalize: Callable[[str], str]) -> list[str]:
    """What each code point becomes by itself."""
    folds = probe_folds(normalize)
    text = folds.values.tobytes().decode("utf-32-le")
    return [text[a:b] for a, b in zip(folds.splits[:-1], folds.splits[1:], strict=True)]


def _key(one: Any, other: Any) -> Any:
    """One number for two characters: int64 of tensors."""
    if isinstance(one, int):
        return one << 21 | other
    return tf.cast(one, tf.int64) * (1 << 21) + tf.cast(other, tf.int64)
