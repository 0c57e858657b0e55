"""The tutorial runs, and learns, through our API."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "tutorial"


def tutorial(reviews: Path, tiny: Path, half: str) -> dict[str, str]:
    """What each section of that half prints, by its name."""
    command = [sys.executable, SCRIPT, "--data", reviews, "--model", tiny, "--half", half]
    done = subprocess.run(
        [*command, "--limit-train", "40"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = {"keras": "Keras", "pytorch": "PyTorch"}
    sections = re.split(rf"^{names[half]} with ", done.stdout, flags=re.MULTILINE)[1:]
    return {each.split("\n")[0]: each for each in sections}


def test_the_keras_half_of_the_tutorial_runs(reviews: Path, tiny: Path) -> None:
    sections = tutorial(reviews, tiny, "keras")
    assert list(sections) == ["NumPy", "prepare_tf_dataset", "to_tf_dataset"]
    for section in sections.values():
        # 40 rows in batches of 16: the third step is the ragged one.
        assert "3/3" in section
        assert "val_accuracy" in section


def test_the_pytorch_half_of_the_tutorial_runs(reviews: Path, tiny: Path) -> None:
    sections = tutorial(reviews, tiny, "pytorch")
    assert list(sections) == ["Trainer", "a loop of its own"]
    for section in sections.values():
        assert re.findall(r"^epoch (\d): .*'accuracy'", section, flags=re.MULTILINE) == [*"123"]
