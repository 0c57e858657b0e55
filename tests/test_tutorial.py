"""The tutorial runs, and learns, through our API."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "tutorial"


def test_both_keras_sections_of_the_tutorial_run(reviews: Path, tiny: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--data", reviews, "--model", tiny, "--limit-train", "40"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    sections = re.split(r"^Keras with ", done.stdout, flags=re.MULTILINE)[1:]
    assert [each.split()[0] for each in sections] == [
        "NumPy",
        "prepare_tf_dataset",
        "to_tf_dataset",
    ]
    for section in sections:
        # 40 rows in batches of 16: the third step is the ragged one.
        assert "3/3" in section
        assert "val_accuracy" in section
