"""BERT's normalizer and pre-tokenizer in a graph, as tables over code points.

    splitter = BertSplitter(tokenizer.backend_tokenizer, components)
    words = splitter(tf.constant(["Café au lait [SEP]"]))       # cafe, au, lait, and a token

Cleaning, spacing of Chinese characters, case and accents are one table, white space and
punctuation bits of what it holds. One thing isn't a matter of single characters: where accents are
stripped, the text is decomposed first, and that sorts combining marks, of which some remain.
"""

from __future__ import annotations

from functools import cache
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
from tfft.export.folding import MOVES, Folding, Sorting
from tfft.export.literals import Literals
from tfft.export.words import Words, counted, decoded, join_words

# A value is a code point, above it its kind, and above all whether sorting may move it.
_KIND = 1 << 24
_BLANK = ord(" ")


class BertSplitter:
    """Texts -> words.

    Args:
        backend: the `tokenizers.Tokenizer`.
    """

    def __init__(self, backend: Any, components: Components) -> None:
        tokens = np.arange(len(components.added_tokens), dtype=np.int32) + N_CODE_POINTS
        folds, bits, sorting = _tables(**components.normalizer or {})
        self._folding = Folding(folds, sorting).extended(tokens, tokens | ALONE * _KIND)
        raw, normalized = [], []
        for number, each in enumerate(components.added_tokens, start=N_CODE_POINTS):
            points = code_points(each.found_as(backend.normalizer))
            if each.normalized:
                normalized.append((points | bits[points], number | ALONE * _KIND))
            else:
                raw.append((points, number))
        self._raw = Literals(raw, blank=_BLANK)
        self._normalized = Literals(normalized, blank=_BLANK | SPACE * _KIND)

    def __call__(self, texts: Any) -> Words:
        """Args: texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD."""
        characters, row_splits = decoded(texts)
        values, row_splits = self._folding(self._raw.mark(characters), row_splits)
        values = self._normalized.mark(values)
        kinds = tf.bitwise.bitwise_and(values, (MOVES - 1) ^ (_KIND - 1))
        is_space, is_alone = kinds == SPACE * _KIND, kinds == ALONE * _KIND
        after_edge = tf.concat([[True], (is_space | is_alone)[:-1]], 0)[: tf.size(values)]
        is_begin = ~is_space & (is_alone | after_edge)
        kept = tf.where(~is_space)[:, 0]
        return join_words(
            tf.gather(tf.bitwise.bitwise_and(values, _KIND - 1), kept),
            tf.gather(is_begin, kept),
            tf.gather(counted(~is_space), row_splits),
        )


@cache
def _tables(**settings: Any) -> tuple[Folds, np.ndarray, Sorting | None]:
    """Of a BertNormalizer with these settings: values, the bits above each, and what sorts."""
    from tokenizers import normalizers, pre_tokenizers

    settings.pop("type")
    folds = probe_folds(normalizers.BertNormalizer(**settings).normalize_str)
    kinds = probe_kinds(pre_tokenizers.BertPreTokenizer(), np.unique(folds.values))
    bits = kinds.astype(np.int32) * _KIND
    sorting = None
    strip = settings["strip_accents"]
    if settings["lowercase"] if strip is None else strip:
        unstripped = settings | {"strip_accents": False, "lowercase": False}
        clean = normalizers.BertNormalizer(**unstripped).normalize_str
        decompose = normalizers.NFD().normalize_str
        sorting = Sorting(probe_folds(lambda text: decompose(clean(text))), probe_ranks(decompose))
        bits |= sorting.bits
    return Folds(folds.splits, folds.values | bits[folds.values]), bits, sorting
