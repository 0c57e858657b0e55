"""The proof of identity finds what is wrong with a graph, and says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import one_line
from tiny import VOCABULARY

from tfft.errors import ExportError


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tfft.backend import transformers

    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY))
    return transformers.BertTokenizerFast(str(path))


def opened(tokenizer: Any) -> Any:
    from tfft.export.tokenizer import open_tokenizer

    return open_tokenizer(tokenizer, max_length=16)


def test_every_code_point_is_compared(tokenizer: Any) -> None:
    from tfft.export.identity import prove

    proof = prove(opened(tokenizer), tokenizer, ["a good film", "bad"], max_length=16)
    assert (proof.n_texts, proof.n_tokens) == (2, 5 + 3)
    assert proof.n_code_points == 0x110000 - 0x800


def test_a_wrong_row_of_the_vocabulary_is_found(tokenizer: Any, tmp_path: Path) -> None:
    from tfft.export.identity import prove

    swapped = [
        "bad" if each == "good" else "good" if each == "bad" else each for each in VOCABULARY
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(swapped))
    wrong = type(tokenizer)(str(tmp_path / "vocab.txt"))
    with pytest.raises(ExportError) as caught:
        prove(
            opened(wrong), tokenizer, ["the", "a good film"], max_length=16, every_code_point=False
        )
    message = one_line(caught)
    ids = tokenizer.convert_tokens_to_ids
    assert "'a good film'" in message
    assert f"[2, {ids('a')}, {ids('good')}, {ids('film')}, 3]" in message
    assert f"[2, {ids('a')}, {ids('bad')}, {ids('film')}, 3]" in message


def test_a_lost_accent_rule_is_found(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfft.export import bert_words, identity
    from tfft.export.characters import probe_folds

    def keeps_it(normalize: Any) -> Any:
        return probe_folds(lambda text: normalize(text.replace("Ŵ", "w\u2603")))

    monkeypatch.setattr(bert_words, "probe_folds", keeps_it)
    with pytest.raises(ExportError, match="U\\+0174 goes otherwise through the graph") as caught:
        identity.check_code_points(opened(tokenizer), tokenizer)
    assert "['awb']" in one_line(caught)


def test_bytes_that_are_no_text_are_compared_as_replacement_characters(tokenizer: Any) -> None:
    from tfft.export.identity import prove

    graph = opened(tokenizer)
    proof = prove(graph, tokenizer, [b"good\xff\xc3"], max_length=16, every_code_point=False)
    assert proof.n_tokens == 3
    wrong = type(graph.model.table)([], longest=100)
    graph.model.table = wrong
    with pytest.raises(ExportError, match=r"b'good\\\\xff'"):
        prove(graph, tokenizer, [b"good\xff"], max_length=16, every_code_point=False)


def test_a_corpus_is_the_same_for_a_seed_and_has_bytes_that_are_no_text() -> None:
    from tfft.export.fuzz import corpus

    texts = corpus(2000, seed=7)
    assert len(texts) == 2000
    assert texts == corpus(2000, seed=7)
    assert texts != corpus(2000, seed=8)
    assert len(set(texts)) > 1500
    broken = [each for each in texts if isinstance(each, bytes)]
    assert any("\ufffd" in each.decode(errors="replace") for each in broken)
    whole = "".join(each for each in texts if isinstance(each, str))
    for expected in ("[SEP]", "<mask>", "\u200d", "\u0301", "\x00", "Ａ", "ß", "日", "a" * 3, "😀"):
        assert expected in whole
    assert "" in texts
    assert max(map(len, whole.split())) > 100
