"""Byte-level BPE as a graph: the ids of RoBERTa's and GPT-2's fast tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import one_line
from test_export_tokenizer import changed, equal, opened

from tfft.errors import ExportError

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
HARD = [
    "",
    " ",
    "  the film",
    "it's 'story ''s 's's !'s 's\t's they'LL we'll9 'l",
    "a  b\n\nc \n d\t\te   ",
    "12three four5 ½²x९",
    "good<mask> bad  <mask>  <s>film</s> </s",
    "Café 日本 👩\u200d👧 \u00a0x\u3000y \u200b",
    "x" * 200,
    b"good\xff bad \xf0\x9f\x92",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    from tokenizers import ByteLevelBPETokenizer

    path = tmp_path_factory.mktemp("bytes")
    texts = ["the film was very good, it wasn't bad", "they'll say it's 12 or 13!", "日本 café"] * 9
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=340, special_tokens=SPECIAL, show_progress=False)
    vocabulary, merges = trained.save_model(str(path))
    return vocabulary, merges


def roberta(files: tuple[str, str], **options: Any) -> Any:
    from tfft.backend import transformers

    return transformers.RobertaTokenizerFast(*files, **options)


def gpt2(files: tuple[str, str]) -> Any:
    from tfft.backend import transformers

    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "</s>")
    return transformers.GPT2TokenizerFast(*files, **special | {"unk_token": "<unk>"})


@pytest.fixture(scope="module")
def graph(files: tuple[str, str]) -> tuple[Any, Any]:
    return opened(roberta(files))


def test_hard_texts_and_a_corpus_have_the_same_ids(graph: tuple[Any, Any]) -> None:
    from tfft.export.fuzz import corpus

    assert equal(*graph, [*HARD, *corpus(500, seed=4)])
    assert equal(*graph, HARD, HARD[::-1])


def test_every_code_point_is_split_as_the_fast_tokenizer_splits_it(
    graph: tuple[Any, Any],
) -> None:
    from tfft.export.identity import check_code_points

    assert check_code_points(*graph) == 0x110000 - 0x800


def test_a_space_is_set_before_a_text_where_the_tokenizer_does(files: tuple[str, str]) -> None:
    from tfft.export.fuzz import corpus

    tokenizer = roberta(files, add_prefix_space=True)
    assert equal(*opened(tokenizer), [*HARD, *corpus(200, seed=5)])


def test_gpt2_s_has_no_special_tokens_around_a_text(files: tuple[str, str]) -> None:
    from tfft.export.fuzz import corpus

    assert equal(*opened(gpt2(files)), [*HARD, *corpus(200, seed=6)])


def test_a_lost_merge_is_found(files: tuple[str, str], tmp_path: Path) -> None:
    vocabulary, merges = files
    lines = Path(merges).read_text().splitlines()
    (tmp_path / "merges.txt").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    wrong, _ = opened(roberta((vocabulary, str(tmp_path / "merges.txt"))))
    with pytest.raises(ExportError, match="the graph gives other input_ids"):
        equal(wrong, roberta(files), HARD)


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizer is NFC"),
        ({"pre_tokenizer": {"type": "WhitespaceSplit"}}, "pre_tokenizer is WhitespaceSplit"),
        ({"pre_tokenizer": BYTE_LEVEL | {"use_regex": False}}, "use_regex is false"),
    ],
)
def test_a_component_that_is_not_reproduced_is_named(
    files: tuple[str, str], parts: dict[str, Any], named: str
) -> None:
    with pytest.raises(ExportError) as caught:
        opened(changed(roberta(files), **parts))
    assert named in one_line(caught)
