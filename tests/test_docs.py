"""Every command and every Python block of the README and the docs runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome
from tiny import sentence

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
# The demo and the tests themselves aren't run from here but by CI (below, and as a whole).
SCRIPTS = ("scripts/demo", "scripts/test", "scripts/check")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "console")).splitlines()
    return [line.removeprefix("$ ").split("  #")[0].strip() for line in lines]


@pytest.fixture
def reader(tiny: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages speak of; a tiny checkpoint stands in for MiniLM."""
    monkeypatch.setattr("tfft.pretrained.minilm_folder", lambda: tiny)
    monkeypatch.chdir(tmp_path)
    rows = [sentence(number) for number in range(40)]
    table = {
        "reviews.csv": ["review,stars", *(f"{text},{label}" for text, label in rows)],
        "texts.csv": ["review", *(text for text, _ in rows)],
        "pairs.csv": ["left,right,same", *(f"{text},the film,{label}" for text, label in rows)],
    }
    for name, lines in table.items():
        Path(name).write_text("\n".join(lines) + "\n")
    Path("runs").mkdir()
    os.symlink(run, "runs/reviews-0")
    checkpoints = Path("runs/stopped.partial/checkpoints")
    checkpoints.mkdir(parents=True)
    os.symlink(run / "model", checkpoints / "epoch-1")
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_s_commands_and_python_run(
    page: Path, reader: Path, tfft_cli: Callable[..., Outcome], run: Path
) -> None:
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {})  # noqa: S102
    if not (reader / "runs" / "reviews").exists():
        os.symlink(run, "runs/reviews")
    for command in commands(page):
        words = shlex.split(command)
        if words[0] == "tfft":
            outcome = tfft_cli(*words[1:])
            assert outcome.code == 0, f"{command}\n{outcome.err}"
        else:
            assert words[0] in SCRIPTS, command
            assert os.access(ROOT / words[0], os.X_OK), command


@pytest.mark.slow
def test_the_demo_teaches_minilm_more_than_any_bag_of_words_knows() -> None:
    done = subprocess.run([ROOT / "scripts" / "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "matthews_correlation" in done.stdout
    metrics = json.loads((ROOT / "runs" / "demo" / "metrics.json").read_text())
    # 0.23 is the most that a linear model of n-grams reached, one of word trigrams.
    assert metrics["validation"]["matthews_correlation"] > 0.23 + 0.20
