"""What a fast tokenizer is made of, read from its tokenizer.json, or refused by name.

    parts = read_components(tokenizer)
    parts.model["type"]             # WordPiece
    parts.template(pair=True)       # [CLS] A [SEP] B [SEP]

Whatever isn't known here to be reproduced is refused: a graph that is nearly right is wrong.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tfft.errors import ExportError, listed

FEATURES = ("input_ids", "token_type_ids", "attention_mask")
INSTEAD = "the signatures that take tokens can be exported, with the tokenizer left outside"


@dataclass(frozen=True)
class Piece:
    """A part of what the model reads: a text, or special tokens.

    Attributes:
        text: "A", "B", or "" of special tokens.
        ids: of special tokens.
    """

    text: str
    ids: tuple[int, ...]
    type_id: int


@dataclass(frozen=True)
class AddedToken:
    """A token whose literal is found in the text before anything else is done to it.

    Attributes:
        normalized: found in the normalised text.
        lstrip, rstrip: takes the white space beside it with it.
    """

    content: str
    id: int
    normalized: bool
    lstrip: bool
    rstrip: bool

    def found_as(self, normalizer: Any) -> str:
        """The literal that is looked for."""
        if not self.normalized or normalizer is None:
            return self.content
        return str(normalizer.normalize_str(self.content))


@dataclass(frozen=True)
class Components:
    """tokenizer.json, where each part is one that the graph reproduces."""

    normalizer: Mapping[str, Any] | None
    pre_tokenizer: Mapping[str, Any]
    model: Mapping[str, Any]
    added_tokens: tuple[AddedToken, ...]
    single: tuple[Piece, ...]
    pair: tuple[Piece, ...]
    features: tuple[str, ...]
    pad_id: int
    pad_type_id: int


def read_components(tokenizer: Any) -> Components:
    """Checks every part of it.

    Raises:
        ExportError: names the first one that the graph doesn't reproduce.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise refused("tokenizer", type(tokenizer).__name__, "a fast tokenizer")
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    model = parts["model"]
    kind = model.get("type")
    if kind not in _PIPELINES:
        raise refused("model", kind, listed(_PIPELINES))
    for part in ("normalizer", "pre_tokenizer"):
        allowed = _PIPELINES[kind][part]
        found = (parts[part] or {}).get("type")
        if found not in allowed:
            names = listed(each or "none" for each in allowed)
            raise refused(part, found or "missing", f"{names} with {kind}")
    _check_model(model)
    if not (parts["pre_tokenizer"] or {}).get("use_regex", True):
        raise refused("pre_tokenizer.use_regex", "false", "ByteLevel with its regular expression")
    for side in ("padding_side", "truncation_side"):
        if getattr(tokenizer, side) != "right":
            raise refused(side, getattr(tokenizer, side), "right")
    features = tuple(tokenizer.model_input_names)
    if unknown := [name for name in features if name not in FEATURES]:
        raise refused("model_input_names", unknown[0], listed(FEATURES))
    if "attention_mask" not in features:
        raise refused("model_input_names", listed(features), "those with an attention_mask")
    tokens = tuple(map(_added_token, parts["added_tokens"]))
    normalizer = tokenizer.backend_tokenizer.normalizer
    if shared := _overlapping([each.found_as(normalizer) for each in tokens]):
        raise refused("added tokens", f"{shared!r} beside one like it", "those that don't overlap")
    single, pair = _templates(parts["post_processor"], tokenizer)
    return Components(
        normalizer=parts["normalizer"],
        pre_tokenizer=parts["pre_tokenizer"] or {},
        model=model,
        added_tokens=tokens,
        single=single,
        pair=pair,
        features=features,
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
    )


@cache
def byte_symbols() -> tuple[str, ...]:
    """The character that stands for each byte in a byte-level vocabulary: 256 of them."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(256)
    return tuple(chr(each if each in visible else next(others)) for each in range(256))


_PIPELINES: dict[str, dict[str, tuple[str | None, ...]]] = {
    "WordPiece": {"normalizer": ("BertNormalizer",), "pre_tokenizer": ("BertPreTokenizer",)},
    "BPE": {"normalizer": (None,), "pre_tokenizer": ("ByteLevel",)},
    # What is in the sequence, `sentence_words` looks at.
    "Unigram": {
        "normalizer": (None, "Sequence"),
        "pre_tokenizer": ("Metaspace", "Sequence"),
    },
}


def _check_model(model: Mapping[str, Any]) -> None:
    if model["type"] == "BPE":
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
            if model.get(name):
                raise refused(f"model.{name}", model[name], "BPE without it")
        if missing := [each for each in byte_symbols() if each not in model["vocab"]]:
            raise refused("model.vocab", f"without {missing[0]!r}", "one with all 256 bytes")
    elif model["type"] == "Unigram":
        if model.get("byte_fallback") or model["unk_id"] is None:
            raise refused("model", "a Unigram with byte_fallback, or without unk_id", "others")
    elif model["unk_token"] not in model["vocab"]:
        raise refused("model.unk_token", model["unk_token"], "a token of the vocabulary")


def _added_token(values: Mapping[str, Any]) -> AddedToken:
    content = values["content"]
    if values["single_word"]:
        raise refused("added token", f"{content!r} with single_word", "one without it")
    if not content or any(each.isspace() for each in content):
        raise refused("added token", repr(content), "one without white space")
    return AddedToken(
        content, values["id"], values["normalized"], values["lstrip"], values["rstrip"]
    )


def _templates(
    processor: Mapping[str, Any] | None, tokenizer: Any
) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """What a text and a pair are set into."""
    a, b = Piece("A", (), 0), Piece("B", (), 1)
    kind = (processor or {"type": None})["type"]
    if processor is None or kind == "ByteLevel":
        return (a,), (a, b)
    if kind in ("BertProcessing", "RobertaProcessing"):
        cls, sep = ((int(processor[name][1]),) for name in ("cls", "sep"))
        begin, end = Piece("", cls, 0), Piece("", sep, 0)
        if kind == "BertProcessing":
            return (begin, a, end), (begin, a, end, b, Piece("", sep, 1))
        return (begin, a, end), (begin, a, end, end, Piece("B", (), 0), end)
    if kind == "TemplateProcessing":
        single, pair = (_template(processor, name) for name in ("single", "pair"))
        if [each.text for each in single if each.text] == ["A"] and [
            each.text for each in pair if each.text
        ] == ["A", "B"]:
            return single, pair
        raise refused("post_processor", "a template", "one with each text once, in their order")
    raise refused("post_processor", kind, "BertProcessing, RobertaProcessing, TemplateProcessing")


def _template(processor: Mapping[str, Any], name: str) -> tuple[Piece, ...]:
    pieces = []
    for each in processor[name]:
        (kind, values), *_ = each.items()
        if kind == "Sequence":
            pieces.append(Piece(values["id"], (), values["type_id"]))
        else:
            ids = processor["special_tokens"][values["id"]]["ids"]
            pieces.append(Piece("", tuple(ids), values["type_id"]))
    return tuple(pieces)


def refused(part: str, found: object, reproduced: str) -> ExportError:
    """What to raise for a part that the graph doesn't reproduce."""
    return ExportError(
        f"the tokenizer's {part} is {found}, and the graph reproduces {reproduced}; {INSTEAD}"
    )


def n_special(pieces: Sequence[Piece]) -> int:
    """How many special tokens a template has."""
    return sum(len(each.ids) for each in pieces)


def _overlapping(contents: Sequence[str]) -> str | None:
    """One of them that another can share characters with, or None."""
    for one in contents:
        for other in contents:
            if one != other and one in other:
                return one
            if any(one.endswith(other[:n]) for n in range(1, min(len(one), len(other)))):
                return one
    return None
