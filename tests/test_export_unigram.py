"""SentencePiece's unigram tokenizers as a graph: their ids are the fast tokenizer's."""

from __future__ import annotations

import base64
import json
import zlib
from functools import cache
from typing import Any

import pytest
from helpers import one_line
from tiny import WORDS

from tfft.errors import ExportError
from tfft.export.fuzz import corpus

# What SentencePiece makes of some rules: an automaton and its strings, as in a checkpoint. U+FB01
# becomes fi, U+00AA a, U+FF21 A, U+0340 U+0300, e with U+0301 \xe9, u with U+0308 \xfc, white space
# a space, and of U+200B and U+0001 nothing is left.
CHARSMAP = zlib.decompress(
    base64.b85decode(
        b"c-kG)cWhQ=6bImQKQN@EO-%e3q=sQtloD{DGV0#S7DN$At3{TY;;Q=9S*(L0OB^j!r3F+}98eszp;cOD"
        b"6$kFRH8?8b_PO5V$?v@P-sFAH&AHJvB61_WvPoV<YmZDM>I!vtnXW6-`q+q^ArX1$vx6cImU%}+D6`cg"
        b"(?!G~B3qb=s<DdPOk~fF=$5`eG@>RaqTc;3)`!}x7d`07nvP8LmiZh;KMto4eL0e&D8QC+3<K!T(KO^|"
        b"VvsCkAjfe$gK_LQk&`$9EyOT}b25$=r*JAGDB=vx<TOs_9M0t|v=kR`A?I;EqZrLa_!KdY@r*&sF_BBS"
        b"m<e3QWF~PbS1^^!nL-IyQe2yfVmXbgxr$O|GK=ZV;99O@HrFtR>nZEZM47yao4J7-xs}@}=N4|~j&uO1"
        b";BM~WPVVAfs;Fcx5AY!OaX$-K$UNq=m?b>KA|7TrOIgNaJkBFL$_iFeO$|@-6tz4-J*!zo9Z&O2IybE4"
        b"IiBZP*6|`Q@dE4Fz(!u?6<+1FbZ*$h=2TM>ugf>sLNiUY79{bO+)4{?vW@Mul_$|Acd?rt?BpHx(9YYu"
        b"&j-BAdwj&l?Bzo~Z%^X0mLxt=f6AA9MF(H-E#L7q->@&6#6I~wKkzfZ@FPF5pWo=@SN`Bn4)8nw@GpPy"
        b"cl`h36&bve(rB!U#)fEK8m-y*4^@GjWB"
    )
)
SPECIALS = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
HARD = [
    "",
    " ",
    "the film was very good",
    "  two  spaces\t\ttabs\r\nlines \xa0 ",
    "Caf\xe9 CAFE\u0301 \u0130stanbul \ufb01lm \xaa\u0301 \uff21\uff22",
    "``so'' ```code``` ''''' ` '",
    "\u2581a \u2581\u2581 b\u2581c",
    "zero\u200bwidth a\x01b \u65e5\u672c\u65e5\u672cgood",
    "[SEP] good [MASK]bad  [MASK] [sep] [SEP",
    "a\u302e\U0001d165b a\U0001d165\u302eb",
    "unknown \u0416\u0416\u0416 \u0416x\u0416",
    "u\u0308 u\u0308\u0301 e\u0301\u0301 e\u0301\u200d \u0600e\u0301 \x01\u0340\u0301",
    "\u0301e \u0340\u0301e \xaa\u200d \ufb01\u0301 E\u0301\u0940",
    b"good\xff bad \xf0\x9f\x92",
]


@cache
def trained() -> str:
    """A vocabulary with scores, learned from texts of every kind: the model of a tokenizer.json."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=list(SPECIALS), unk_token=SPECIALS[1], show_progress=False
    )
    texts = [each for each in corpus(1_000, seed=5) if isinstance(each, str) and each.isascii()]
    tokenizer.train_from_iterator([*texts, " ".join(WORDS)] * 2, trainer)
    return json.dumps(json.loads(tokenizer.to_str())["model"])


def replaced(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def normalizers_of(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


COLLAPSES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
PRECOMPILED = {
    "type": "Precompiled",
    "precompiled_charsmap": base64.b64encode(CHARSMAP).decode(),
}
METASPACE = {
    "type": "Metaspace",
    "replacement": "\u2581",
    "prepend_scheme": "always",
    "split": True,
}
SPLIT_AT_SPACES = {
    "type": "Sequence",
    "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE],
}


def albert(**parts: Any) -> Any:
    """As ALBERT's fast tokenizer is made, with some parts of its tokenizer.json changed."""
    from tokenizers import Tokenizer

    from tfft.backend import transformers

    backend = Tokenizer.from_str(json.dumps({"version": "1.0", **albert_parts(), **parts}))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",  # noqa: S106
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def albert_parts() -> dict[str, Any]:
    model = json.loads(trained())
    ids = {piece: number for number, (piece, _) in enumerate(model["vocab"])}

    def special(name: str, type_id: int = 0) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": type_id}}

    a, b = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    single = [special("[CLS]"), a, special("[SEP]")]
    return {
        "added_tokens": [
            {
                "id": ids[name],
                "content": name,
                "single_word": False,
                "special": True,
                "lstrip": name == "[MASK]",
                "rstrip": False,
                "normalized": False,
            }
            for name in SPECIALS
        ],
        "normalizer": normalizers_of(
            replaced("``", '"'),
            replaced("''", '"'),
            *({"type": name} for name in ("NFKD", "StripAccents", "Lowercase")),
            PRECOMPILED,
            COLLAPSES,
        ),
        "pre_tokenizer": METASPACE,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, b, special("[SEP]", 1)],
            "special_tokens": {
                name: {"id": name, "ids": [ids[name]], "tokens": [name]}
                for name in ("[CLS]", "[SEP]")
            },
        },
        "model": model,
    }


def proved(tokenizer: Any, *sides: list[Any], every_code_point: bool = False) -> int:
    """How many tokens were compared."""
    from tfft.export.identity import prove
    from tfft.export.tokenizer import open_tokenizer

    graph = open_tokenizer(tokenizer, max_length=48)
    return prove(
        graph, tokenizer, *sides, max_length=48, every_code_point=every_code_point
    ).n_tokens


def strips(*, left: bool) -> dict[str, Any]:
    return {"type": "Strip", "strip_left": left, "strip_right": True}


# What differs from ALBERT's in the tokenizer.json of each.
FAMILIES = {
    "albert": {},
    "albert, as on the hub": {"pre_tokenizer": SPLIT_AT_SPACES},
    "xlm-roberta": {
        "normalizer": normalizers_of(
            PRECOMPILED, strips(left=False), COLLAPSES | {"content": "\u2581"}
        )
    },
    "deberta-v2": {
        "normalizer": normalizers_of(
            {"type": "Lowercase"}, strips(left=True), PRECOMPILED, COLLAPSES
        ),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [METASPACE]},
    },
}


@pytest.mark.parametrize("family", FAMILIES)
def test_hard_texts_and_every_code_point_have_the_same_ids(family: str) -> None:
    texts = [*HARD, *corpus(1_000, seed=1)]
    assert proved(albert(**FAMILIES[family]), texts, every_code_point=True) > 3 * len(texts)


def test_pairs_have_the_same_ids() -> None:
    assert proved(albert(), corpus(300, seed=2), corpus(300, seed=3)) > 900


def test_of_equal_ways_the_one_with_the_longer_last_piece_is_taken() -> None:
    pieces = {"\u2581": -1.0, "a": -1.0, "aa": -2.0, "aaa": -3.0, "\u2581a": -2.0, "b": -1.0}
    vocab = [[name, 0.0] for name in SPECIALS] + [[name, score] for name, score in pieces.items()]
    model = json.loads(trained()) | {"vocab": vocab}
    texts = ["a", "aa", "aaa", "aaaaaaa", "aabaa", "baaab a", "cc", "acca"]
    assert proved(albert(model=model), texts) > 20


def test_words_of_thousands_of_characters_have_the_same_ids() -> None:
    assert proved(albert(), ["good" * 3_000, "a" * 5_001 + " film"]) == 2 * 48


@pytest.mark.parametrize("normalized", [False, True])
def test_a_token_takes_white_space_with_it(normalized: bool) -> None:
    tokens = albert_parts()["added_tokens"]
    [mask] = [each for each in tokens if each["content"] == "[MASK]"]
    mask |= {"normalized": normalized, "rstrip": True}
    texts = ["a  [MASK]  b", "[MASK]", " [mask] x", "\t[MASK][MASK] [SEP] "]
    for family in FAMILIES.values():
        assert proved(albert(added_tokens=tokens, **family), texts) > 12


NO_UNKNOWN = {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]]}


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"normalizer": normalizers_of({"type": "NFKC"})}, "normalizer is NFKC"),
        ({"normalizer": normalizers_of(replaced("ab", "c"))}, "normalizer is Replace"),
        ({"pre_tokenizer": METASPACE | {"prepend_scheme": "first"}}, "another Metaspace"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]}},
            "pre_tokenizer is Whitespace",
        ),
        ({"model": NO_UNKNOWN, "added_tokens": []}, "without unk_id"),
    ],
)
def test_a_part_that_is_not_reproduced_is_named(parts: dict[str, Any], named: str) -> None:
    with pytest.raises(ExportError) as caught:
        proved(albert(**parts), HARD)
    assert named in one_line(caught)
    assert "signatures that take tokens" in one_line(caught)
