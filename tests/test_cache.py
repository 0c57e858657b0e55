"""Tokens are made once, kept whole, and made again where what is kept can't be trusted."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import Told
from tiny import sentence

from tfft.data import cache, tokens
from tfft.data.encode import Encoded, encode
from tfft.folders import cache_folder
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.progress import shown_by
from tfft.tasks import TASKS


def rows(n_rows: int = 20, *, pairs: bool = False, word: str = "") -> Any:
    from datasets import Dataset

    texts = [f"{sentence(number)[0]} {word}" for number in range(n_rows)]
    more = {"text_pair": texts[::-1]} if pairs else {}
    return Dataset.from_dict(
        {"text": texts, **more, "label": [n % 2 for n in range(n_rows)], "row": list(range(n_rows))}
    )


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    return load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every time that texts are tokenised."""
    made: list[int] = []
    join = tokens.join

    def counted(*args: Any, **kwargs: Any) -> tokens.Tokens:
        made.append(1)
        return join(*args, **kwargs)

    monkeypatch.setattr("tfft.data.encode.join", counted)
    return made


def entries(root: Path) -> list[Path]:
    return [each for each in (root / "tokens").iterdir() if each.is_dir()]


def same(first: Encoded, second: Encoded) -> bool:
    return (
        first.features == second.features
        and first.n_cut == second.n_cut
        and all(
            np.array_equal(first.tokens.flat(name), second.tokens.flat(name))
            for name in first.features
        )
        and np.array_equal(first.lengths, second.lengths)
    )


@pytest.mark.parametrize("pairs", [False, True])
def test_a_second_run_reads_what_the_first_one_made(
    tmp_path: Path, tokenizer: Any, calls: list[int], pairs: bool
) -> None:
    data = rows(pairs=pairs)
    in_memory = encode(data, tokenizer, max_length=12)
    for _ in range(2):
        again = encode(data, tokenizer, max_length=12, cache=tmp_path)
        assert same(again, in_memory)
    assert len(calls) == 2  # in memory, and once for the cache
    assert again.n_cut > 0
    assert again.labels is not None
    assert again.labels.tolist() == data["label"][:]


def test_whatever_changes_the_tokens_is_another_entry(
    tmp_path: Path, tokenizer: Any, calls: list[int]
) -> None:
    encode(rows(), tokenizer, max_length=12, cache=tmp_path)
    encode(rows(), tokenizer, max_length=13, cache=tmp_path)
    encode(rows(word="else"), tokenizer, max_length=12, cache=tmp_path)
    encode(rows(pairs=True), tokenizer, max_length=12, cache=tmp_path)
    encode(rows(19), tokenizer, max_length=12, cache=tmp_path)
    tokenizer.add_tokens(["zzz"])
    encode(rows(), tokenizer, max_length=12, cache=tmp_path)
    assert len(calls) == 6


def test_labels_and_chunks_change_nothing(tmp_path: Path, tokenizer: Any, calls: list[int]) -> None:
    from datasets import concatenate_datasets

    data = rows(20)
    encode(data, tokenizer, max_length=12, cache=tmp_path)
    in_chunks = concatenate_datasets([data.select(range(7)), data.select(range(7, 20))])
    flipped = in_chunks.map(lambda row: {"label": 1 - row["label"]})
    again = encode(flipped, tokenizer, max_length=12, cache=tmp_path)
    assert len(calls) == 1
    assert again.labels is not None
    assert again.labels.tolist() == flipped["label"][:]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


BROKEN: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda entry: flip(entry / "tokens.arrow"),
    "cut off": lambda entry: os.truncate(entry / "tokens.arrow", 100),
    "empty": lambda entry: (entry / "tokens.arrow").write_bytes(b""),
    "no tokens": lambda entry: (entry / "tokens.arrow").unlink(),
    "no about": lambda entry: (entry / "about.json").unlink(),
    "about is no JSON": lambda entry: (entry / "about.json").write_text("{"),
    "about is a list": lambda entry: (entry / "about.json").write_text("[]"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_corrupt_entry_is_made_again_and_said(
    tmp_path: Path, tokenizer: Any, calls: list[int], how: str
) -> None:
    good = encode(rows(), tokenizer, max_length=12, cache=tmp_path)
    expected = encode(rows(), tokenizer, max_length=12)
    del good
    [entry] = entries(tmp_path)
    BROKEN[how](entry)
    with shown_by(Told()) as told:
        assert same(encode(rows(), tokenizer, max_length=12, cache=tmp_path), expected)
    [note] = told.notes
    assert "corrupt" in note
    assert "tokenised again" in note
    with shown_by(Told()) as told:
        assert same(encode(rows(), tokenizer, max_length=12, cache=tmp_path), expected)
    assert told.notes == []
    assert len(calls) == 3


def test_an_entry_of_another_version_is_made_again_and_said(
    tmp_path: Path, tokenizer: Any, calls: list[int]
) -> None:
    encode(rows(), tokenizer, max_length=12, cache=tmp_path)
    [entry] = entries(tmp_path)
    about = json.loads((entry / "about.json").read_text())
    about["made_by"]["tokenizers"] = "0.1"
    (entry / "about.json").write_text(json.dumps(about))
    with shown_by(Told()) as told:
        encode(rows(), tokenizer, max_length=12, cache=tmp_path)
    assert "tokenizers 0.1" in told.notes[0]
    assert len(calls) == 2


def test_a_full_disk_leaves_the_tokens_in_memory_and_nothing_behind(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tfft.data.tokens.write", full)
    with shown_by(Told()) as told:
        encoded = encode(rows(), tokenizer, max_length=12, cache=tmp_path)
    assert same(encoded, encode(rows(), tokenizer, max_length=12))
    [note] = told.notes
    assert "No space left on device" in note
    assert entries(tmp_path) == []


def test_a_cache_that_is_a_file_is_done_without(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "file").write_text("")
    with shown_by(Told()) as told:
        encoded = encode(rows(), tokenizer, max_length=12, cache=tmp_path / "file")
    assert len(encoded.lengths) == 20
    assert "can't be used" in told.notes[0]


def test_two_runs_at_once_tokenise_once(
    tmp_path: Path, tokenizer: Any, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, write = threading.Event(), tokens.write

    def slow(*args: Any) -> None:
        begun.set()
        time.sleep(0.2)  # the other one comes in meanwhile
        write(*args)

    monkeypatch.setattr("tfft.data.tokens.write", slow)
    results: list[Encoded] = []

    def run() -> None:
        results.append(encode(rows(), tokenizer, max_length=12, cache=tmp_path))

    first = threading.Thread(target=run)
    first.start()
    begun.wait(timeout=60)
    with shown_by(Told()) as told:
        run()
    first.join()
    assert same(*results)
    assert len(calls) == 1
    assert told.notes == ["another run is tokenising the same texts; waiting for it"]


def test_entries_that_nobody_uses_are_forgotten(
    tmp_path: Path, tokenizer: Any, calls: list[int]
) -> None:
    encode(rows(5), tokenizer, max_length=12, cache=tmp_path)
    [old] = entries(tmp_path)
    long_ago = time.time() - (cache.KEPT_DAYS + 1) * 86_400
    os.utime(old, (long_ago, long_ago))
    encode(rows(6), tokenizer, max_length=12, cache=tmp_path)
    assert not old.exists()
    assert len(entries(tmp_path)) == 1


def test_use_keeps_an_entry(tmp_path: Path, tokenizer: Any) -> None:
    encode(rows(5), tokenizer, max_length=12, cache=tmp_path)
    [entry] = entries(tmp_path)
    os.utime(entry, (0, 0))
    encode(rows(5), tokenizer, max_length=12, cache=tmp_path)
    assert time.time() - entry.stat().st_mtime < 3600


def test_the_cache_lies_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TFFT_CACHE", raising=False)
    assert cache_folder() == tmp_path / "tfft"
    monkeypatch.setenv("TFFT_CACHE", "~/elsewhere")
    assert cache_folder() == Path("~/elsewhere").expanduser()


def test_what_is_read_takes_no_memory_of_its_own(tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "tokens.arrow"
    tokens.write(encode(rows(1000, pairs=True), tokenizer, max_length=24).tokens, path)
    before = pa.total_allocated_bytes()
    mapped = tokens.read(path)
    arrays = [mapped.starts, *mapped.values.values()]
    assert pa.total_allocated_bytes() - before < min(each.nbytes for each in arrays)
    assert not any(each.flags.owndata for each in arrays)


def test_batches_out_of_the_file_are_those_out_of_memory(tmp_path: Path, tokenizer: Any) -> None:
    from tfft.config import RunConfig
    from tfft.data.loaders import open_split

    data = rows(37, pairs=True)
    for side in ("right", "left"):
        tokenizer.padding_side = side
        in_memory, mapped = (
            open_split(
                RunConfig.from_options({"train.batch_size": 5}),
                encode(data, tokenizer, max_length=24, cache=where),
                tokenizer,
                loader="bucketed",
                shuffle=True,
            )
            for where in (None, tmp_path)
        )
        for (one, labels), (other, others) in zip(in_memory.epoch(1), mapped.epoch(1), strict=True):
            np.testing.assert_array_equal(labels, others)
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
    assert one["token_type_ids"].numpy().any()  # a feature that isn't constant
