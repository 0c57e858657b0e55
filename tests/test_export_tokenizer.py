"""The tokenizer as a graph: its ids are the fast tokenizer's, and what it can't do it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import one_line
from tiny import VOCABULARY

from tfft.errors import ExportError

MORE = [*"日本中é́àßiss#[]<>", "##é", "café", "##ness", "unbe", "##liev", "##able", "ss", "##ss"]
HARD = [
    "",
    " ",
    "the film was very good",
    "Café CAFÉ cafe\u0301 İstanbul Straße",
    "unbelievableness unbe unbelievx " + "a" * 100 + " " + "a" * 101,
    "日本good中文bad",
    "a\x00b\x85c\u200bd\ufffde\u00ade\u2028f\u3000g",
    "[SEP] good[MASK]bad [sep] [SEP [[SEP]]",
    "a\u302e\U0001d165b a\u302e\u034f\U0001d165b a\u1100\u1161\u11a8 각",
    b"good\xff bad \xf0\x9f\x92",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary")
    (path / "vocab.txt").write_text("\n".join(dict.fromkeys([*VOCABULARY, *MORE])))
    return path


@pytest.fixture(scope="module")
def uncased(folder: Path) -> tuple[Any, Any]:
    return opened(bert(folder))


def bert(folder: Path, **options: Any) -> Any:
    from tfft.backend import transformers

    return transformers.BertTokenizerFast(str(folder / "vocab.txt"), **options)


def opened(tokenizer: Any, *, max_length: int = 32) -> tuple[Any, Any]:
    from tfft.export.tokenizer import open_tokenizer

    return open_tokenizer(tokenizer, max_length=max_length), tokenizer


def changed(tokenizer: Any, **parts: Any) -> Any:
    """With other parts of its tokenizer.json."""
    from tokenizers import Tokenizer

    from tfft.backend import transformers

    values = json.loads(tokenizer.backend_tokenizer.to_str()) | parts
    backend = Tokenizer.from_str(json.dumps(values))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")  # noqa: S106


def equal(graph: Any, tokenizer: Any, texts: list[Any], pairs: list[Any] | None = None) -> int:
    from tfft.export.identity import prove

    return prove(
        graph, tokenizer, texts, pairs, max_length=graph.max_length, every_code_point=False
    ).n_tokens


def test_hard_texts_have_the_same_ids(uncased: tuple[Any, Any]) -> None:
    assert equal(*uncased, HARD) > 2 * len(HARD)


def test_a_corpus_has_the_same_ids_as_texts_and_as_pairs(uncased: tuple[Any, Any]) -> None:
    from tfft.export.fuzz import corpus

    texts = corpus(1500, seed=1)
    assert equal(*uncased, texts) > 2 * len(texts)
    assert equal(*uncased, texts[:500], texts[-500:]) > 3 * 500


@pytest.mark.parametrize(
    "options",
    [
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
)
def test_other_settings_of_the_normalizer_are_followed(
    folder: Path, options: dict[str, Any]
) -> None:
    from tfft.export.fuzz import corpus

    assert equal(*opened(bert(folder, **options)), [*HARD, *corpus(300, seed=2)])


@pytest.mark.parametrize("kind", ["DistilBert", "Electra", "MPNet"])
def test_relatives_of_bert_have_the_same_ids(folder: Path, kind: str, tmp_path: Path) -> None:
    from tfft.backend import transformers
    from tfft.export.fuzz import corpus

    names = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"] if kind == "MPNet" else []
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*names, (folder / "vocab.txt").read_text()]))
    graph, tokenizer = opened(getattr(transformers, f"{kind}TokenizerFast")(str(path)))
    texts = [*HARD, "<s>good</s> <S> <mask>bad <\x00s> < s>", *corpus(300, seed=3)]
    assert equal(graph, tokenizer, texts)
    assert equal(graph, tokenizer, texts[:150], texts[150:300])
    assert list(graph.features) == tokenizer.model_input_names


@pytest.mark.parametrize("max_length", [4, 7, 8])
def test_pairs_are_cut_as_the_fast_tokenizer_cuts_them(folder: Path, max_length: int) -> None:
    lengths = (0, 1, 2, 3, 4, 5, 6, 9, 20)
    texts = [" a" * first for first in lengths for _ in lengths]
    pairs = [" b" * second for _ in lengths for second in lengths]
    assert equal(*opened(bert(folder), max_length=max_length), texts, pairs)
    assert equal(*opened(bert(folder), max_length=max_length), texts)


def test_no_rows_give_no_rows(uncased: tuple[Any, Any]) -> None:
    from tfft.backend import tf

    graph, _ = uncased
    for sides in ([[]], [[], []]):
        made = graph(*(tf.constant(each, tf.string) for each in sides))
        assert {name: each.shape for name, each in made.items()} == dict.fromkeys(
            graph.features, (0, 0)
        )


def test_it_lives_in_a_saved_model_of_core_operations(
    uncased: tuple[Any, Any], tmp_path: Path
) -> None:
    from tfft.backend import tf

    graph, tokenizer = uncased
    module = tf.Module()
    module.tokenizer = graph
    module.call = tf.function(graph, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    texts = [each for each in HARD if isinstance(each, str)]
    expected = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="np")
    found = loaded.call(tf.constant(texts))
    np.testing.assert_array_equal(found["input_ids"], expected["input_ids"])
    names = {node.op for node in loaded.call.concrete_functions[0].graph.as_graph_def().node}
    assert not {"PyFunc", "EagerPyFunc"} & names


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"normalizer": {"type": "NFKC"}}, "normalizer is NFKC"),
        ({"normalizer": None}, "normalizer is missing"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer is Whitespace"),
        (
            {"model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0}}},
            "model is WordLevel",
        ),
        (
            {"post_processor": {"type": "Sequence", "processors": []}},
            "post_processor is Sequence",
        ),
    ],
)
def test_a_component_that_is_not_reproduced_is_named(
    folder: Path, parts: dict[str, Any], named: str
) -> None:
    with pytest.raises(ExportError) as caught:
        opened(changed(bert(folder), **parts))
    assert named in one_line(caught)
    assert "signatures that take tokens" in one_line(caught)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"padding_side": "left"}, "padding_side is left"),
        ({"truncation_side": "left"}, "truncation_side is left"),
        ({"model_input_names": ["input_ids", "attention_mask", "bbox"]}, "names is bbox"),
    ],
)
def test_settings_that_are_not_reproduced_are_named(
    folder: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ExportError, match=named):
        opened(bert(folder, **options))


def test_added_tokens_that_are_not_reproduced_are_named(folder: Path) -> None:
    from tokenizers import AddedToken

    for token in (
        "two words",
        AddedToken("goods", single_word=True),
        AddedToken("[SEP]x", normalized=False),
        "aba",
    ):
        tokenizer = bert(folder)
        tokenizer.add_tokens([token])
        with pytest.raises(ExportError, match="added token") as caught:
            opened(tokenizer)
        assert str(token) in one_line(caught) or "[SEP]" in one_line(caught)


def test_an_added_token_is_found_inside_words(folder: Path) -> None:
    tokenizer = bert(folder)
    tokenizer.add_tokens(["ÉTA"])
    assert equal(*opened(tokenizer), ["l'éta Étas ETA e\u0301ta", "éta"])


def test_a_slow_tokenizer_is_refused(folder: Path) -> None:
    from tfft.backend import transformers

    with pytest.raises(ExportError, match="a fast tokenizer"):
        opened(transformers.BertTokenizer(str(folder / "vocab.txt")))


def test_no_room_for_text_is_refused(folder: Path) -> None:
    with pytest.raises(ExportError, match="2 tokens are special ones"):
        opened(bert(folder), max_length=2)
