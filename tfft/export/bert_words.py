"""BERT's normalizer and pre-tokenizer in a graph, as tables over code points.

    splitter = BertSplitter(tokenizer.backend_tokenizer, components)
    words = splitter(tf.constant(["Café au lait [SEP]"]))       # cafe, au, lait, and a token

Cleaning, spacing of Chinese characters, case and accents are one table, white space and
punctuation bits of what it holds. One thing isn't a matter of single characters: where accents are
stripped, the text is decomposed first, and that sorts combining marks, of which some remain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.characters import (
    ALONE,
    N_CODE_POINTS,
    SPACE,
    Folds,
    code_points,
    probe_folds,
    probe_kinds,
    probe_ranks,
)
from tfft.export.components import Components
from tfft.export.literals import Literals
from tfft.export.words import Words, counted, join_words

# A value is a code point, above it its kind, and above all whether sorting may move it.
_KIND, _MOVES = 1 << 24, 1 << 26
_BLANK = ord(" ")
# More than there are ranks.
_RUN = 1 << 10


class BertSplitter:
    """Texts -> words.

    Args:
        backend: the `tokenizers.Tokenizer`.
    """

    def __init__(self, backend: Any, components: Components) -> None:
        normalize, n_tokens = backend.normalizer.normalize_str, len(components.added_tokens)
        folds = probe_folds(normalize)
        bits = probe_kinds(backend.pre_tokenizer, np.unique(folds.values)).astype(np.int32) * _KIND
        self._sorting = _Sorting.of(components.normalizer or {}, n_tokens=n_tokens)
        if self._sorting is not None:
            bits |= (self._sorting.ranks > 0) * np.int32(_MOVES)
        self.table = Folds(folds.splits, folds.values | bits[folds.values]).extended(
            np.arange(n_tokens, dtype=np.int32) + N_CODE_POINTS | ALONE * _KIND
        )
        raw, normalized = [], []
        for number, each in enumerate(components.added_tokens, start=N_CODE_POINTS):
            if each.normalized:
                points = code_points(normalize(each.content))
                normalized.append((points | bits[points], number | ALONE * _KIND))
            else:
                raw.append((code_points(each.content), number))
        self._raw = Literals(raw, blank=_BLANK)
        self._normalized = Literals(normalized, blank=_BLANK | SPACE * _KIND)

    def __call__(self, texts: Any) -> Words:
        """Args: texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD."""
        # Each row begins with a space: no word, literal or run of marks reaches over its edge.
        decoded = tf.raw_ops.UnicodeDecode(
            input=tf.strings.join([" ", texts]),
            input_encoding="UTF-8",
            errors="replace",
            replacement_char=0xFFFD,
            Tsplits=tf.int32,
        )
        values, row_splits = self._fold(self._raw.mark(decoded.char_values), decoded.row_splits)
        values = self._normalized.mark(values)
        kinds = tf.bitwise.bitwise_and(values, (_MOVES - 1) ^ (_KIND - 1))
        is_space, is_alone = kinds == SPACE * _KIND, kinds == ALONE * _KIND
        after_edge = tf.concat([[True], (is_space | is_alone)[:-1]], 0)[: tf.size(values)]
        is_begin = ~is_space & (is_alone | after_edge)
        kept = tf.where(~is_space)[:, 0]
        return join_words(
            tf.gather(tf.bitwise.bitwise_and(values, _KIND - 1), kept),
            tf.gather(is_begin, kept),
            tf.gather(counted(~is_space), row_splits),
        )

    def _fold(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        """Values, and where each row's begin."""
        values, splits = self.table.gather(characters)
        row_splits_of = tf.gather(splits, row_splits)
        if (sorting := self._sorting) is None:
            return values, row_splits_of

        def fold_sorted() -> tuple[Any, Any]:
            in_order, starts = sorting.sort(characters)
            values, splits = self.table.gather(in_order)
            return values, tf.gather(splits, tf.gather(starts, row_splits))

        moves = tf.reduce_any(values >= _MOVES)
        return tf.cond(moves, fold_sorted, lambda: (values, row_splits_of))


class _Sorting:
    """Canonical order, for the few texts that need it.

    Attributes:
        ranks: int16 [N_CODE_POINTS].
    """

    def __init__(self, decompositions: Folds, ranks: np.ndarray, *, n_tokens: int) -> None:
        self.ranks = ranks
        tokens = np.arange(n_tokens, dtype=np.int32) + N_CODE_POINTS
        self._decompositions = decompositions.extended(tokens)
        self._ranks = np.append(ranks, np.zeros(n_tokens, np.int16))

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, n_tokens: int) -> _Sorting | None:
        """None of a normalizer that doesn't decompose."""
        if not _strips_accents(settings):
            return None
        from tokenizers.normalizers import NFD, BertNormalizer

        cleaned = BertNormalizer(
            clean_text=settings["clean_text"],
            handle_chinese_chars=settings["handle_chinese_chars"],
            strip_accents=False,
            lowercase=False,
        ).normalize_str
        decompose: Callable[[str], str] = NFD().normalize_str
        return cls(
            probe_folds(lambda text: decompose(cleaned(text))),
            probe_ranks(decompose),
            n_tokens=n_tokens,
        )

    def sort(self, characters: Any) -> tuple[Any, Any]:
        """Decomposed and in order, and where those of each character began."""
        points, starts = self._decompositions.gather(characters)
        ranks = tf.cast(tf.gather(self._ranks, points), tf.int64)
        runs = tf.cumsum(tf.cast(ranks == 0, tf.int64))
        return tf.gather(points, tf.argsort(runs * _RUN + ranks, stable=True)), starts


def _strips_accents(settings: Mapping[str, Any]) -> bool:
    strip = settings["strip_accents"]
    return bool(settings["lowercase"] if strip is None else strip)
