"""The proof that a graph gives the fast tokenizer's ids, text by text and code point by code point.

    proof = prove(graph, tokenizer, corpus(20_000, seed=0), max_length=128)
    proof.n_code_points             # 1,112,064: all there are

Bytes that aren't UTF-8 are read by both sides with Python's errors="replace".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.errors import ExportError, listed
from tfft.export.characters import chunks
from tfft.export.components import byte_symbols
from tfft.export.tokenizer import GraphTokenizer

_ROWS_AT_ONCE = 256
# Code points in a text of the check of them all.
_POINTS_AT_ONCE = 32
# Tokens, and characters, of the first difference.
_SHOWN = 200


@dataclass(frozen=True)
class Identity:
    """What was compared, without a difference.

    Attributes:
        n_texts: rows, of one text or of a pair.
        n_tokens: of all rows, without padding.
        n_code_points: how many went through the normalizer and the pre-tokenizer.
    """

    n_texts: int
    n_tokens: int
    n_code_points: int


def prove(
    graph: GraphTokenizer,
    tokenizer: Any,
    texts: Sequence[str | bytes],
    pairs: Sequence[str | bytes] | None = None,
    *,
    max_length: int,
    every_code_point: bool = True,
) -> Identity:
    """Compares all features of all texts.

    Args:
        every_code_point: goes through all of Unicode too, which takes some seconds: once will do.

    Raises:
        ExportError: shows the first text, or code point, that differs, and both answers.
    """
    n_code_points = check_code_points(graph, tokenizer) if every_code_point else 0
    n_sides = 1 if pairs is None else 2
    call = tf.function(
        graph, input_signature=[tf.TensorSpec([None], tf.string)] * n_sides, autograph=False
    )
    sides = [texts] if pairs is None else [texts, pairs]
    n_tokens = 0
    for begin in range(0, len(texts), _ROWS_AT_ONCE):
        rows = [each[begin : begin + _ROWS_AT_ONCE] for each in sides]
        expected = tokenizer(
            *([_as_text(each) for each in side] for side in rows),
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="np",
        )
        found = call(*(tf.constant([_as_bytes(each) for each in side]) for side in rows))
        _compare(rows, expected, {name: each.numpy() for name, each in found.items()})
        n_tokens += int(expected["attention_mask"].sum())
    return Identity(len(texts), n_tokens, n_code_points)


def check_code_points(graph: GraphTokenizer, tokenizer: Any) -> int:
    """Sends each one, between letters, through the normalizer and the pre-tokenizer.

    Returns:
        How many there are.

    Raises:
        ExportError: names the first that comes out otherwise, and how.
    """
    words = tf.function(
        lambda texts: _flat(graph.words(texts)),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    n_code_points = 0
    for chunk in chunks():
        groups = [
            chunk[begin : begin + _POINTS_AT_ONCE]
            for begin in range(0, len(chunk), _POINTS_AT_ONCE)
        ]
        texts = ["".join(f"a{each}b " for each in group) for group in groups]
        if _differ(graph, tokenizer, words, texts):
            for each in chunk:
                if _differ(graph, tokenizer, words, [f"a{each}b "]):
                    raise _wrong_character(graph, tokenizer, each)
            raise ExportError(
                f"the graph splits a text of U+{ord(chunk[0]):04X} to U+{ord(chunk[-1]):04X} "
                "otherwise than the tokenizer, and none of them alone"
            )
        n_code_points += len(chunk)
    return n_code_points


def _differ(graph: GraphTokenizer, tokenizer: Any, words: Any, texts: list[str]) -> bool:
    pieces = [_pieces(tokenizer.backend_tokenizer, each) for each in texts]
    characters, lengths, n_words = (each.numpy() for each in words(tf.constant(texts)))
    expected = "".join(word for row in pieces for word in row)
    return (
        n_words.tolist() != list(map(len, pieces))
        or lengths.tolist() != [len(word) for row in pieces for word in row]
        or characters.tobytes() != expected.encode("utf-32-le")
    )


def _flat(words: Any) -> tuple[Any, Any, Any]:
    return words.characters, words.ends - words.begins, words.row_splits[1:] - words.row_splits[:-1]


def _pieces(backend: Any, text: str) -> list[str]:
    """The words as the fast tokenizer makes them, in characters."""
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    if type(backend.pre_tokenizer).__name__ != "ByteLevel":
        return pieces
    values = {symbol: value for value, symbol in enumerate(byte_symbols())}
    return [bytes(values[each] for each in piece).decode() for piece in pieces]


def _wrong_character(graph: GraphTokenizer, tokenizer: Any, character: str) -> ExportError:
    text = f"a{character}b "
    found = graph.words(tf.constant([text])).as_strings().to_list()[0]
    return ExportError(
        f"U+{ord(character):04X} goes otherwise through the graph: of {text!r} the tokenizer makes "
        f"{_pieces(tokenizer.backend_tokenizer, text)}, the graph "
        f"{[each.decode(errors='replace') for each in found]}"
    )


def _compare(
    rows: Sequence[Sequence[str | bytes]],
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
) -> None:
    if all(np.array_equal(expected[name], each) for name, each in found.items()):
        return
    for row, texts in enumerate(zip(*rows, strict=True)):
        for name in found:
            theirs, ours = (_tokens(each, name, row) for each in (expected, found))
            if theirs != ours:
                raise ExportError(
                    f"the graph gives other {name} for {_shown(texts)}: the tokenizer "
                    f"[{listed(theirs, most=_SHOWN)}], the graph [{listed(ours, most=_SHOWN)}]"
                )
    raise ExportError(
        f"the graph pads otherwise than the tokenizer, as after {_shown(rows[0][:1])}"
    )


def _tokens(features: Mapping[str, np.ndarray], name: str, row: int) -> list[int]:
    """Of one row, without the padding."""
    return features[name][row][features["attention_mask"][row] == 1].tolist()


def _shown(texts: Sequence[str | bytes]) -> str:
    return " with ".join(repr(each[:_SHOWN]) for each in texts)


def _as_text(text: str | bytes) -> str:
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text
