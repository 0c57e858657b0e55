"""The proof of identity finds what is wrong with a graph, and says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
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


def test_a_lost_accent_rule_is_found(tokenizer: Any) -> None:
    from tfft.export.characters import Folds
    from tfft.export.identity import check_code_points

    graph = opened(tokenizer)
    folding = graph._splitter._folding
    values = folding.table.values.copy()
    values[folding.table.splits[ord("Ŵ")]] = ord("ŵ")
    graph._splitter._folding = replace(folding, table=Folds(folding.table.splits, values))
    with pytest.raises(ExportError, match=r"U\+0174 goes otherwise through the graph") as caught:
        check_code_points(graph, tokenizer)
    assert "makes ['awb'], the graph ['aŵb']" in one_line(caught)


def test_bytes_that_are_no_text_are_compared_as_replacement_characters(tokenizer: Any) -> None:
    from tfft.export.identity import prove

    graph = opened(tokenizer)
    proof = prove(graph, tokenizer, [b"good\xff\xc3"], max_length=16, every_code_point=False)
    assert proof.n_tokens == 3
    wrong = type(graph.model.table)([(np.array([0]), False, 0)], longest=100)
    graph.model.table = wrong
    with pytest.raises(ExportError) as caught:
        prove(graph, tokenizer, [b"good\xff"], max_length=16, every_code_point=False)
    assert r"other input_ids for b'good\xff': the tokenizer" in one_line(caught)


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
