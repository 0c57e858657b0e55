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
# becomes fi, U+00AA a, U+FF21 A, e with U+0301 \xe9, u with U+0308 \xfc, white space a space, and
# of U+200B and U+0001 nothing is left.
CHARSMAP = zlib.decompress(
    base64.b85decode(
        b"c-k$~dC*T)7zgm@_meS9?@WI(geGK{iITFF?3An#ks*>SjkJ*0zOSiN_I=B~lr3QhFG^V|qAZna?ECt;"
        b"#+~`x?{nvzx#yfa&y5En;=xF+%v451R=#wk)cw@CWb!;Tsmn*?d^#c{8Ot8=kjy9+q0F4t(5+xPM%0()"
        b"XI6{IasM6DD@9~e=e59sCJ}jLehQF}hgozu9goU_JVFs3qY#BDP6>))$tX=3N>YmTxzq84e4Mg8$y1cW"
        b"wxc4?Pyt7X%2eT5Y%iYUd8%UTQG=RP=LPCems-@O0WVSyM~;_i#7p=T(UfL1#*w21EosgxwB|Klr4_H!"
        b"jyANV18>lNRyx|tH|b1AI`KALd5bRe;2pZrop<R)&x`5kDL>#t-s62fqA$JaLw^P&4M0BzGlYQ*VmKoh"
        b"$}mPVhLMb7JRdWbaeT^WOyCo~;7ca*Ia8R*BqlS1nM`9kbC}C4W+#2aLgq1_#VkqshOb!83YM~r)vRG9"
        b"t60lAzUCV?@@>*LY+!R@YbrL$@7Tt6wvtse6+7iFzGnw}*qe;8n|=Jm5B$gh4)Qbm`IX-|#4r5LQ4Vv2"
        b"<5{Wrb5kmgssG><e{q77oaSHt<{!>vrs9nJkN-K(1<rDg%Ut0im$=Riu5yjr+~Fp-;@*!}P2+Xw6kF!U"
        b"mi4iHV%!Bx=$V2"
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

    backend = Tokenizer.from_str(json.dumps({"version": "1.0", **_albert(), **parts}))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",  # noqa: S106
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _albert() -> dict[str, Any]:
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


@pytest.mark.parametrize("pre_tokenizer", [METASPACE, SPLIT_AT_SPACES])
def test_hard_texts_and_every_code_point_have_the_same_ids(pre_tokenizer: dict[str, Any]) -> None:
    tokenizer = albert(pre_tokenizer=pre_tokenizer)
    texts = [*HARD, *corpus(1_000, seed=1)]
    assert proved(tokenizer, texts, every_code_point=True) > 3 * len(texts)


def test_pairs_have_the_same_ids() -> None:
    assert proved(albert(), corpus(300, seed=2), corpus(300, seed=3)) > 900


def test_of_equal_ways_the_one_with_the_longer_last_piece_is_taken() -> None:
    pieces = {"\u2581": -1.0, "a": -1.0, "aa": -2.0, "aaa": -3.0, "\u2581a": -2.0, "b": -1.0}
    vocab = [[name, 0.0] for name in SPECIALS] + [[name, score] for name, score in pieces.items()]
    model = json.loads(trained()) | {"vocab": vocab}
    texts = ["a", "aa", "aaa", "aaaaaaa", "aabaa", "baaab a", "cc", "acca"]
    assert proved(albert(model=model), texts) > 20


def test_a_word_longer_than_any_is_cut_where_no_token_of_it_is_read() -> None:
    assert proved(albert(), ["good" * 3_000, "a" * 5_000 + " film"]) == 2 * 48


def test_a_normalizer_that_composes_is_refused() -> None:
    with pytest.raises(ExportError) as caught:
        proved(albert(normalizer=normalizers_of(PRECOMPILED, COLLAPSES)), HARD)
    assert "makes one character of" in one_line(caught)


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
