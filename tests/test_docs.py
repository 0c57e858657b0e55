"""Every command and every Python block of the README and the docs runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome
from hub import Hub, card, parquet
from tiny import sentence

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
# The demo, the benchmark and the tests themselves aren't run from here but by CI (below, in a
# file of their own, and as a whole).
SCRIPTS = ("scripts/demo", "scripts/test", "scripts/check", "scripts/bench")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "console")).splitlines()
    return [line.removeprefix("$ ").split("  #")[0].strip() for line in lines]


ROWS = [sentence(number) for number in range(40)]
TOPICS = ("sports|politics", "politics", "", "arts|sports", "arts")


@pytest.fixture
def reader(
    tiny: Path, run: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with what the pages speak of; a tiny checkpoint stands in for MiniLM.

    The hub is one of this process, with a few rows under the names of the real data sets.
    """
    monkeypatch.setattr("tfft.pretrained.minilm_folder", lambda: tiny)
    prove_less(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_tables()
    add_to_hub(hub, run / "model")
    Path("runs").mkdir()
    checkpoints = Path("runs/stopped.partial/checkpoints")
    checkpoints.mkdir(parents=True)
    os.symlink(run / "model", checkpoints / "epoch-1")
    return tmp_path


def prove_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an export proves of the tokenizer at length is proved in the tokenizer's own tests."""
    from tfft.export import identity, texts

    whole = texts.corpus
    monkeypatch.setattr(texts, "corpus", lambda n_texts, *, seed: whole(100, seed=seed))
    monkeypatch.setattr(identity, "check_code_points", lambda graph, tokenizer: 0)


def write_tables() -> None:
    """The files of the pages, in the current folder."""
    texts = list(enumerate(ROWS))
    table = {
        "reviews.csv": ["review,stars", *(f"{text},{label}" for text, label in ROWS)],
        "texts.csv": ["review", *(text for text, _ in ROWS)],
        "pairs.csv": ["left,right,same", *(f"{text},the film,{label}" for text, label in ROWS)],
        "scores.csv": [
            "sentence1,sentence2,score",
            *(f"{text},the film,{number % 11 / 2}" for number, (text, _) in texts),
        ],
        "news.csv": [
            "text,topics",
            *(f"{text},{TOPICS[number % 5]}" for number, (text, _) in texts),
        ],
        "topics.jsonl": [
            json.dumps({"text": text, "labels": TOPICS[number % 5].split("|")})
            for number, (text, _) in texts
        ],
        "comments.csv": [
            "comment,toxic,obscene,threat",
            *(f"{text},{n % 2},{int(n % 3 == 0)},{int(n % 7 == 0)}" for n, (text, _) in texts),
        ],
        "gaps.csv": [
            "text,label",
            *(f"{text if n % 9 else ''},{label if n % 11 else ''}" for n, (text, label) in texts),
        ],
        "films/train.csv": ["text,label", *(f"{text},{label}" for text, label in ROWS)],
        "films/dev.csv": ["text,label", *(f"{text},{label}" for text, label in ROWS[:9])],
        "films/test.csv": ["text,label", *(f"{text},-1" for text, _ in ROWS[:9])],
    }
    Path("films").mkdir()
    for name, lines in table.items():
        Path(name).write_text("\n".join(lines) + "\n")


def add_to_hub(hub: Hub, model: Path) -> None:
    rows = [{"text": text, "label": int(label)} for text, label in ROWS]
    add_splits(hub, "imdb", "plain_text", {"train": rows, "test": rows[:9]})
    glue = {"README.md": card({name: splits_of(name) for name in ("cola", "sst2", "mnli")})}
    for name in ("cola", "sst2"):
        table = [{"sentence": text, "label": int(label)} for text, label in ROWS]
        glue |= files_of(name, dict.fromkeys(splits_of(name), table))
    pairs = [
        {"premise": text, "hypothesis": "the film", "label": number % 3}
        for number, (text, _) in enumerate(ROWS)
    ]
    glue |= files_of("mnli", dict.fromkeys(splits_of("mnli"), pairs))
    hub.add_data("nyu-mll/glue", glue)
    files = {each.name: each.read_bytes() for each in model.iterdir()}
    names = {"0": "NEGATIVE", "1": "POSITIVE"}
    config = json.loads(files["config.json"]) | {"id2label": names}
    config["label2id"] = {name: int(number) for number, name in names.items()}
    files["config.json"] = json.dumps(config).encode()
    hub.add_model("distilbert/distilbert-base-uncased-finetuned-sst-2-english", files)


def add_splits(hub: Hub, name: str, config: str, splits: Mapping[str, Any]) -> None:
    paths = {split: f"{config}/{split}-*" for split in splits}
    hub.add_data(name, {"README.md": card({config: paths}), **files_of(config, splits)})


def splits_of(config: str) -> dict[str, str]:
    """Split -> its files, as GLUE has them."""
    kinds = ("_matched", "_mismatched") if config == "mnli" else ("",)
    names = ["train", *(f"validation{kind}" for kind in kinds)]
    return {name: f"{config}/{name}-*" for name in names}


def files_of(config: str, splits: Mapping[str, Any]) -> dict[str, bytes]:
    return {
        f"{config}/{name}-00000-of-00001.parquet": parquet(rows) for name, rows in splits.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_s_commands_and_python_run(
    page: Path, reader: Path, tfft_cli: Callable[..., Outcome], run: Path
) -> None:
    makes_it = any('output="runs/reviews"' in block for block in blocks(page, "python"))
    if not makes_it:
        os.symlink(run, "runs/reviews")
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {})  # noqa: S102
    for command in commands(page):
        words = shlex.split(command)
        if words[0] == "tfft":
            outcome = tfft_cli(*words[1:])
            assert outcome.code == 0, f"{command}\n{outcome.err}"
        else:
            assert words[0] in SCRIPTS, command
            assert os.access(ROOT / words[0], os.X_OK), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_s_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        assert not anchor or anchor in anchors, link


@pytest.mark.slow
def test_the_demo_teaches_minilm_more_than_any_bag_of_words_knows() -> None:
    done = subprocess.run([ROOT / "scripts" / "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "matthews_correlation" in done.stdout
    metrics = json.loads((ROOT / "runs" / "demo" / "metrics.json").read_text())
    # 0.23 is the most that a linear model of n-grams reached, one of word trigrams.
    assert metrics["validation"]["matthews_correlation"] > 0.23 + 0.20
