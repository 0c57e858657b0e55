"""Raw text to scores, a bundle against transformers' pipelines: the comparison and its table."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfft
from benchmarks import texts
from benchmarks.compare import Settings
from benchmarks.processes import ChildError


def test_a_ratio_says_how_often_the_bundle_answers_while_a_path_answers_once() -> None:
    rounds = [
        {size: dict.fromkeys(texts.PATHS, 30.0) | {"bundle": ms} for size in ("1", "32")}
        for ms in (10.0, 15.0, 60.0)
    ]
    page = texts.markdown({"data": {"cola": rounds}})
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line[:1] == "|"}
    cells = [each.strip() for each in rows["pipeline, PyTorch"].split("|")]
    assert cells[2:8] == ["30.00", "2.00", "0.50 to 3.00"] * 2


@pytest.mark.slow
def test_every_path_says_the_same_of_the_first_texts_and_is_timed(
    run: Path, reviews: Path, tmp_path: Path
) -> None:
    tfft.export(run, output=tmp_path / "bundle", fuzz_texts=120)
    settings = Settings(data=(str(reviews),), model=str(run), rounds=1)
    (tmp_path / "work").mkdir()
    document = texts.measure(tmp_path / "bundle", settings, work=tmp_path / "work", tell=print)
    [[measured]] = document["data"].values()
    assert set(measured) == {"1", "32"}
    for taken in measured.values():
        assert set(taken) == set(texts.PATHS)
        assert min(taken.values()) > 0.0


def test_another_model_s_scores_are_refused() -> None:
    same = {"bundle": [[0.25, 0.75]], "tokenizer in the graph": None}
    texts._check(same | {"pipeline, PyTorch": [[0.25001, 0.74999]]})
    with pytest.raises(ChildError, match="pipeline, PyTorch: its scores are"):
        texts._check(same | {"pipeline, PyTorch": [[0.75, 0.25]]})
