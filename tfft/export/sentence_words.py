"""SentencePiece's normalizer and Metaspace, as fast tokenizers have them, in a graph.

    splitter = SentenceSplitter(components)
    words = splitter(tf.constant(["It''s  Café"]))      # ▁it"s, ▁cafe

What happens to each character (decomposition, case, accents, SentencePiece's own map of characters)
is one table, asked of the normalizer itself. A map that makes one character of several is refused:
ALBERT's does nothing of the kind, since it takes texts apart and strips their accents first.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.added import AddedTokens, only
from tfft.export.byte_words import SPACE, classes
from tfft.export.characters import N_CODE_POINTS, Folds, probe_folds, probe_ranks
from tfft.export.components import Components, refused
from tfft.export.folding import MOVES, Folding, Sorting
from tfft.export.words import Words, counted, join_words

BLANK, METASPACE = ord(" "), ord("▁")
_DECOMPOSE = ("NFD", "NFKD")
_OF_EACH = (*_DECOMPOSE, "StripAccents", "Lowercase", "Nmt", "Precompiled")
_SPACES = {"Regex": " {2,}"}


@dataclass(frozen=True)
class Steps:
    """What is done to a text before the vocabulary.

    Attributes:
        doubled: a character that two of become one other: (``, ").
        of_each: the normalizers that go by single characters, in tokenizer.json's words.
        collapses: whether a run of spaces becomes one.
        splits: whether it is split at white space, none of which is left.
    """

    doubled: tuple[tuple[int, int], ...]
    of_each: tuple[tuple[str, bytes], ...]
    collapses: bool
    splits: bool


def read_steps(components: Components) -> Steps:
    """Raises:
    ExportError: names the first one that the graph doesn't reproduce.
    """
    doubled, of_each, collapses = [], [], False
    for each in _parts(components.normalizer, "normalizers"):
        kind = each["type"]
        if kind in _OF_EACH and not collapses:
            of_each.append((kind, base64.b64decode(each.get("precompiled_charsmap") or "")))
        elif kind == "Replace" and each["pattern"] == _SPACES and each["content"] in " ▁":
            collapses = True
        elif kind == "Replace" and not of_each and _is_doubled(each):
            doubled.append((ord(each["pattern"]["String"][0]), ord(each["content"])))
        else:
            raise refused("normalizer", kind, "ALBERT's")
    splitters = _parts(components.pre_tokenizer, "pretokenizers")
    kinds = [each["type"] for each in splitters]
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise refused("pre_tokenizer", " and ".join(kinds) or "missing", "Metaspace")
    metaspace = splitters[-1]
    if metaspace["replacement"] != chr(METASPACE) or metaspace.get("prepend_scheme") != "always":
        raise refused("pre_tokenizer", "another Metaspace", "one that always sets ▁ before a text")
    if normalized := [each for each in components.added_tokens if each.normalized]:
        raise refused("added token", f"{normalized[0].content!r}, normalized", "one that isn't")
    return Steps(tuple(doubled), tuple(of_each), collapses, len(splitters) == 2)


def _parts(values: Mapping[str, Any] | None, name: str) -> Sequence[Mapping[str, Any]]:
    if values is None:
        return []
    parts: Sequence[Mapping[str, Any]] = values[name] if values["type"] == "Sequence" else [values]
    return parts


def _is_doubled(replace: Mapping[str, Any]) -> bool:
    pattern = replace["pattern"].get("String", "")
    return len(pattern) == 2 and pattern[0] == pattern[1] and len(replace["content"]) == 1


class SentenceSplitter:
    """Texts -> words, each of which begins with ▁, or with what a text begins with."""

    def __init__(self, components: Components) -> None:
        self._steps = read_steps(components)
        folds, sorting, is_space = _tables(self._steps.of_each)
        self._added = AddedTokens(components.added_tokens, is_space)
        marks = np.arange(self._added.n_marks, dtype=np.int32) + N_CODE_POINTS
        if self._steps.splits:
            folds = _with_blanks(folds, is_space)
        self._folding = Folding(folds, sorting).extended(marks, marks)

    def __call__(self, texts: Any) -> Words:
        """Args: texts: string [n_rows]; what isn't UTF-8 in them is U+FFFD."""
        characters, row_splits = self._added.cut(texts)
        for one, other in self._steps.doubled:
            characters, row_splits = _undoubled(characters, row_splits, one, other)
        characters, row_splits = self._folding(characters, row_splits)
        characters = tf.bitwise.bitwise_and(characters, MOVES - 1)
        if self._steps.collapses or self._steps.splits:
            is_blank = characters == BLANK
            before = tf.concat([[False], is_blank], 0)[: tf.size(characters)]
            characters, row_splits = only(characters, ~(is_blank & before), row_splits)
        if self._steps.splits:
            # Of white space what stands before a word is left, and that word's own ▁ will do.
            after = tf.concat([characters[1:], [self._added.edge]], 0)[: tf.size(characters)]
            is_lost = (characters == BLANK) & ((after >= N_CODE_POINTS) | (after == METASPACE))
            characters, row_splits = only(characters, ~is_lost, row_splits)
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


def _undoubled(characters: Any, row_splits: Any, one: int, other: int) -> tuple[Any, Any]:
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


def _with_blanks(folds: Folds, is_space: np.ndarray) -> Folds:
    points = folds.values & (MOVES - 1)
    return Folds(folds.splits, np.where(is_space[points], np.int32(BLANK), folds.values))


@cache
def _tables(of_each: tuple[tuple[str, bytes], ...]) -> tuple[Folds, Sorting | None, np.ndarray]:
    """The table of characters, what sorts, and what is white space: bool [N_CODE_POINTS].

    Raises:
        ExportError: the normalizer makes one character of several.
    """
    from tokenizers import normalizers

    parts = [
        normalizers.Precompiled(values) if kind == "Precompiled" else getattr(normalizers, kind)()
        for kind, values in of_each
    ]
    normalize = normalizers.Sequence(parts).normalize_str
    if pair := _composed(normalize):
        raise refused("normalizer", f"one that makes one character of {pair!r}", "ALBERT's")
    folds, sorting = probe_folds(normalize), None
    if decomposes := [kind for kind, _ in of_each if kind in _DECOMPOSE]:
        decompose = getattr(normalizers, decomposes[0])().normalize_str
        sorting = Sorting(probe_folds(decompose), probe_ranks(decompose))
        # What it may move is told by what a character was, and by what becomes of its parts.
        folds = Folds(folds.splits, folds.values | sorting.bits[folds.values])
    return folds, sorting, classes() == SPACE


def _composed(normalize: Callable[[str], str]) -> str | None:
    """Two characters of which it makes something else than of each by itself."""
    for point in range(N_CODE_POINTS):
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            one, other = (chr(int(each, 16)) for each in parts)
            if normalize(one + other) != normalize(one) + normalize(other):
                return one + other
    return None
