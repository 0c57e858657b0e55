"""SentencePiece's normalizer and Metaspace, as fast tokenizers have them, in a graph.

    splitter = SentenceSplitter(components)
    words = splitter(tf.constant(["It''s  Café"]))      # ▁it"s, ▁cafe

What a normalizer does to each character (decomposition, case, accents, SentencePiece's own map of
characters) is a table, asked of the normalizer itself; consecutive ones are one table.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import groupby
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.added import AddedTokens, only
from tfft.export.byte_words import SPACE, classes
from tfft.export.characters import N_CODE_POINTS, Folds, probe_folds, probe_ranks
from tfft.export.clusters import Clusters, composes
from tfft.export.components import Components, refused
from tfft.export.folding import MOVES, Folding, Sorting
from tfft.export.words import Words, counted, join_words

BLANK, METASPACE = ord(" "), ord("▁")
_DECOMPOSE = ("NFD", "NFKD")
_OF_EACH = (*_DECOMPOSE, "StripAccents", "Lowercase", "Nmt", "Precompiled")
_SPACES = {"Regex": " {2,}"}

# Characters, and where each row's begin -> the same, normalised: int32, all.
Step = Callable[[Any, Any], tuple[Any, Any]]


class SentenceSplitter:
    """Texts -> words, each of which begins with ▁, or is a token.

    Args:
        backend: the `tokenizers.Tokenizer`.

    Raises:
        ExportError: names the first part that the graph doesn't reproduce.
    """

    def __init__(self, backend: Any, components: Components) -> None:
        self._splits = _splits_at_spaces(components)
        self._added = AddedTokens(components.added_tokens, classes() == SPACE, backend.normalizer)
        self._steps = list(self._read_steps(components))

    def __call__(self, texts: Any) -> Words:
        """Args: texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD."""
        characters, row_splits = self._added.cut(texts)
        for step in self._steps:
            characters, row_splits = step(characters, row_splits)
        characters, row_splits = self._added.cut_normalized(characters, row_splits)
        if self._splits:
            characters, row_splits = self._split(characters, row_splits)
        characters, row_splits = self._added.prefixed(
            characters, row_splits, but_before=(BLANK, METASPACE)
        )
        characters = tf.where(characters == BLANK, METASPACE, characters)
        is_mark = characters >= N_CODE_POINTS
        after_mark = tf.concat([[True], is_mark], 0)[: tf.size(characters)]
        is_begin = (characters == METASPACE) | is_mark | after_mark
        is_kept = characters != self._added.edge
        kept = tf.where(is_kept)[:, 0]
        return join_words(
            tf.gather(characters, kept),
            tf.gather(is_begin, kept),
            tf.gather(counted(is_kept), row_splits),
        )

    def _split(self, characters: Any, row_splits: Any) -> tuple[Any, Any]:
        """Of white space what stands before a word is left, and that word's own ▁ will do."""
        is_space = tf.gather(self._added.is_space, characters)
        characters = tf.where(is_space, BLANK, characters)
        characters, row_splits = _collapsed(characters, row_splits)
        after = tf.concat([characters[1:], [self._added.edge]], 0)[: tf.size(characters)]
        is_lost = (characters == BLANK) & ((after >= N_CODE_POINTS) | (after == METASPACE))
        return only(characters, ~is_lost, row_splits)

    def _read_steps(self, components: Components) -> Iterator[Step]:
        """The normalizer's parts, those of single characters together."""
        parts = _parts(components.normalizer, "normalizers")
        for of_each, group in groupby(parts, key=lambda part: part["type"] in _OF_EACH):
            if of_each:
                yield from self._folds(tuple(map(_named, group)))
                continue
            for part in group:
                yield self._other(part)

    def _other(self, part: Mapping[str, Any]) -> Step:
        if part["type"] == "Strip":
            sides = {"left": part["strip_left"], "right": part["strip_right"]}
            return partial(self._added.stripped, **sides)
        if part["type"] == "Replace":
            pattern = part["pattern"].get("String", "")
            if part["pattern"] == _SPACES and part["content"] in (" ", chr(METASPACE)):
                return partial(_collapsed, to=ord(part["content"]))
            if len(pattern) == 2 and pattern[0] == pattern[1] and len(part["content"]) == 1:
                return partial(_undoubled, one=ord(pattern[0]), other=ord(part["content"]))
        raise refused("normalizer", part["type"], "those of SentencePiece's families")

    def _folds(self, parts: tuple[tuple[str, bytes], ...]) -> Iterator[Step]:
        """One table, or where SentencePiece's map makes one character of several, three steps."""
        normalize = _normalizer(parts)
        if not composes(normalize):
            yield self._fold(parts, [])
            return
        if "Precompiled" not in (kinds := [kind for kind, _ in parts]):
            raise refused("normalizer", " and ".join(kinds), "one that composes no characters")
        place = kinds.index("Precompiled")
        if place:
            yield self._fold(parts[:place], [])
        clusters = _clusters(parts[place], self._added.n_marks)
        yield clusters
        yield self._fold(parts[place:], clusters.rows)

    def _fold(self, parts: tuple[tuple[str, bytes], ...], rows: Sequence[np.ndarray]) -> Step:
        """By the parts' table, with rows for the marks and what clusters become."""
        folds, sorting = _tables(parts)
        marks = np.arange(self._added.n_marks, dtype=np.int32) + N_CODE_POINTS
        folding = Folding(folds, sorting).extended(marks, marks)
        if rows:
            folding = Folding(folding.table.with_rows(rows), sorting)

        def fold(characters: Any, row_splits: Any) -> tuple[Any, Any]:
            values, row_splits = folding(characters, row_splits)
            return tf.bitwise.bitwise_and(values, MOVES - 1), row_splits

        return fold


def _splits_at_spaces(components: Components) -> bool:
    """Whether the text is split at all white space, before ▁ is set.

    Raises:
        ExportError: it is split otherwise.
    """
    splitters = _parts(components.pre_tokenizer, "pretokenizers")
    kinds = [each["type"] for each in splitters]
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise refused("pre_tokenizer", " and ".join(kinds) or "missing", "Metaspace")
    metaspace = splitters[-1]
    if metaspace["replacement"] != chr(METASPACE) or metaspace.get("prepend_scheme") != "always":
        raise refused("pre_tokenizer", "another Metaspace", "one that always sets ▁ before a text")
    return len(splitters) == 2


def _parts(values: Mapping[str, Any] | None, name: str) -> Sequence[Mapping[str, Any]]:
    if values is None:
        return []
    parts: Sequence[Mapping[str, Any]] = values[name] if values["type"] == "Sequence" else [values]
    return parts


def _named(part: Mapping[str, Any]) -> tuple[str, bytes]:
    """Its type, and SentencePiece's map."""
    return part["type"], base64.b64decode(part.get("precompiled_charsmap") or "")


def _collapsed(characters: Any, row_splits: Any, *, to: int = BLANK) -> tuple[Any, Any]:
    """With `to` for several spaces."""
    is_blank = characters == BLANK
    before = tf.concat([[False], is_blank], 0)[: tf.size(characters)]
    after = tf.concat([is_blank[1:], [False]], 0)[: tf.size(characters)]
    characters = tf.where(is_blank & after, to, characters)
    return only(characters, ~(is_blank & before), row_splits)


def _undoubled(characters: Any, row_splits: Any, *, one: int, other: int) -> tuple[Any, Any]:
    """Each two of `one`, from the beginning of a run, become `other`."""

    def changed() -> tuple[Any, Any]:
        n = tf.size(characters)
        is_one = characters == one
        goes_on = is_one & tf.concat([[False], is_one], 0)[:n]
        run = tf.cumsum(tf.cast(~goes_on, tf.int32)) - 1
        begins = tf.cast(tf.where(~goes_on)[:, 0], tf.int32)
        is_odd = (tf.range(n) - tf.gather(begins, run)) % 2 == 1
        is_second = goes_on & is_odd
        is_first = tf.concat([is_second[1:], [False]], 0)[:n]
        return only(tf.where(is_first, other, characters), ~is_second, row_splits)

    return tf.cond(tf.reduce_any(characters == one), changed, lambda: (characters, row_splits))


def _normalizer(parts: tuple[tuple[str, bytes], ...]) -> Callable[[str], str]:
    from tokenizers import normalizers

    made = [
        normalizers.Precompiled(values) if kind == "Precompiled" else getattr(normalizers, kind)()
        for kind, values in parts
    ]
    normalize: Callable[[str], str] = normalizers.Sequence(made).normalize_str
    return normalize


@cache
def _clusters(part: tuple[str, bytes], n_marks: int) -> Clusters:
    return Clusters(_normalizer((part,)), n_marks=n_marks)


@cache
def _tables(parts: tuple[tuple[str, bytes], ...]) -> tuple[Folds, Sorting | None]:
    """What each character becomes, and what sorts them."""
    folds = probe_folds(_normalizer(parts))
    decomposes = [each for each in parts if each[0] in _DECOMPOSE]
    if not decomposes:
        return folds, None
    decompose = _normalizer((decomposes[0],))
    sorting = Sorting(probe_folds(decompose), probe_ranks(decompose))
    return Folds(folds.splits, folds.values | sorting.bits[folds.values]), sorting
