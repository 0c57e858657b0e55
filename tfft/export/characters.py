"""What a tokenizer's normalizer and pre-tokenizer do to each code point, found by asking them.

    folds = probe_folds(normalizer)
    folds.values[folds.splits[ord("É")] : folds.splits[ord("É") + 1]]       # [ord("e")]
    kinds = probe_kinds(pre_tokenizer, np.unique(folds.values))

Unicode's categories differ from one library, and one version of it, to the next: a table that was
made elsewhere would be wrong somewhere. Asking for all 1,112,064 takes two seconds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfft.backend import tf

N_CODE_POINTS = 0x110000
WORD, SPACE, ALONE = 0, 1, 2
_CHUNK = 2048
# Stands between two characters that are normalised in one call; no normalizer here changes it.
_FENCE = "\N{SNOWMAN}"


@dataclass(frozen=True)
class Folds:
    """What each code point becomes, one after the other.

    Attributes:
        splits: where those of each begin: int32 [N_CODE_POINTS + 1].
        values: code points: int32 [n].
    """

    splits: np.ndarray
    values: np.ndarray

    def extended(self, values: np.ndarray) -> Folds:
        """With one more row for each of `values`."""
        more = self.splits[-1] + np.arange(1, len(values) + 1, dtype=np.int32)
        return Folds(np.append(self.splits, more), np.append(self.values, values))

    def with_rows(self, rows: Sequence[np.ndarray]) -> Folds:
        """With more rows, of several values each."""
        more = self.splits[-1] + np.cumsum([len(each) for each in rows])
        return Folds(
            np.append(self.splits, more).astype(np.int32), np.concatenate([self.values, *rows])
        )

    def gather(self, rows: Any) -> tuple[Any, Any]:
        """In a graph: what these rows become, and where that of each begins: int32, both."""
        splits, values = self._tensors
        # Not by RaggedGather, which checks the whole table at each call: 1 ms of a text's 2.
        begins, ends = tf.gather(splits, rows), tf.gather(splits, rows + 1)
        found = tf.raw_ops.RaggedRange(starts=begins, limits=ends, deltas=1, Tsplits=tf.int32)
        return tf.gather(values, found.rt_dense_values), found.rt_nested_splits

    @cached_property
    def _tensors(self) -> tuple[Any, Any]:
        """Outside of the graphs that read them: else each place that does has a copy of its own."""
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self.splits), tf.constant(self.values)


def code_points(text: str) -> np.ndarray:
    """int32 [len(text)]."""
    return np.frombuffer(text.encode("utf-32-le"), np.int32)


def chunks(size: int = _CHUNK) -> Iterator[list[str]]:
    """Every character, without the surrogates, which no text in UTF-8 has."""
    for begin in range(0, N_CODE_POINTS, size):
        if not 0xD800 <= begin < 0xE000:
            yield list(map(chr, range(begin, begin + size)))


def ask_each(normalize: Callable[[str], str], chunk: list[str]) -> list[str]:
    """What each of some texts becomes, asked of all at once where they can be told apart."""
    pieces = normalize(_FENCE + _FENCE.join(chunk) + _FENCE).split(_FENCE)[1:-1]
    if len(pieces) != len(chunk):  # the fence itself is among them
        return list(map(normalize, chunk))
    return pieces


def probe_folds(normalize: Callable[[str], str]) -> Folds:
    """Asks what a text of each one character becomes."""
    lengths = np.zeros(N_CODE_POINTS, np.int32)
    folded = []
    for chunk in chunks():
        pieces = ask_each(normalize, chunk)
        begin = ord(chunk[0])
        lengths[begin : begin + len(chunk)] = list(map(len, pieces))
        folded.append("".join(pieces))
    splits = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return Folds(splits, code_points("".join(folded)))


def probe_kinds(pre_tokenizer: Any, among: np.ndarray) -> np.ndarray:
    """Of each of those code points: part of a WORD, SPACE, or a word of its own (ALONE).

    Returns:
        int8 [N_CODE_POINTS], WORD where nothing was asked.
    """
    kinds = np.zeros(N_CODE_POINTS, np.int8)
    for begin in range(0, len(among), _CHUNK):
        asked = among[begin : begin + _CHUNK]
        text = "".join(f"a{chr(each)}a " for each in asked)
        owners = np.zeros(len(text), np.int32)
        for _, (first, last) in pre_tokenizer.pre_tokenize_str(text):
            owners[first:last] = last - first
        # The length of the piece that the character is in: 0, 1, or 3 with its neighbours.
        length = owners[1::4]
        kinds[asked] = np.where(length == 0, SPACE, np.where(length == 1, ALONE, WORD))
    return kinds


def probe_classes(pre_tokenizer: Any) -> np.ndarray:
    """Of a byte-level pre-tokenizer: letter 0, number 1, white space 2, any other 3.

    Returns:
        int8 [N_CODE_POINTS].
    """
    classes = np.full(N_CODE_POINTS, 2, np.int8)
    rest = [each for chunk in chunks() for each in chunk]
    # Most are of the last class: they needn't be asked for the others.
    for number, like in ((3, "!"), (0, "a"), (1, "1")):
        missed = []
        for begin in range(0, len(rest), _CHUNK):
            asked = rest[begin : begin + _CHUNK]
            # Each stands after one of that class, and before a line's end.
            text = "".join(f"{like}{each}\n" for each in asked)
            begins = {first for _, (first, _) in pre_tokenizer.pre_tokenize_str(text)}
            for place, each in enumerate(asked):
                if 3 * place + 1 in begins:
                    missed.append(each)
                else:
                    classes[ord(each)] = number
        rest = missed
    return classes


def probe_ranks(decompose: Callable[[str], str]) -> np.ndarray:
    """The order in which canonical decomposition sorts combining characters: int16 [N_CODE_POINTS].

    0 of those that stay where they are; a character moves before one of a higher rank.
    """
    by_class = {unicodedata.combining(each): each for chunk in chunks() for each in chunk}
    marks = [by_class[each] for each in sorted(by_class) if each]
    lowest, highest = marks[0], marks[-1]
    ranks = np.zeros(N_CODE_POINTS, np.int16)
    for chunk in chunks():
        # Two that would change places if nothing stood between them.
        triples = [highest + each + lowest for each in chunk]
        pieces = decompose(_FENCE.join(triples)).split(_FENCE)
        if len(pieces) != len(chunk):
            pieces = list(map(decompose, triples))
        for each, triple, piece in zip(chunk, triples, pieces, strict=True):
            if piece != triple and sorted(piece) == sorted(triple):
                ranks[ord(each)] = 1 + sum(decompose(each + mark) == mark + each for mark in marks)
    return ranks
