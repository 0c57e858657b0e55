"""PyTorch's half, in a process of its own, which imports no TensorFlow.

    run_pytorch([folder, ...], on_step=...)     # writes each FOLDER/pytorch

Both frameworks in one process would share their threads' settings and one transformers, which
imports the classes of one of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from tfft.errors import TrainingError

MODULE = "tfft.pytorch.recorder"
# What TensorFlow's side sets for itself.
NOT_FOR_PYTORCH = ("USE_TF", "USE_TORCH", "TF_USE_LEGACY_KERAS")


def run_pytorch(
    folders: Sequence[Path],
    *,
    on_step: Callable[[Path, int, float], None] = lambda folder, n_rows, loss: None,
) -> None:
    """Runs the jobs of these folders, one after the other.

    Args:
        on_step: called with the folder, the rows of the batch and its loss.

    Raises:
        TrainingError: the process ended with an error, whose last line is told.
    """
    environment = {name: text for name, text in os.environ.items() if name not in NOT_FOR_PYTORCH}
    command = [sys.executable, "-m", MODULE, *map(str, folders)]
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(  # noqa: S603 - our own module
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child,
    ):
        try:
            for line in child.stdout or ():
                told = json.loads(line)
                on_step(folders[told["job"]], told["n_rows"], told["loss"])
        except BaseException:
            child.kill()
            raise
        if code := child.wait():
            errors.seek(0)
            raise TrainingError(f"PyTorch's process {_ended(code)}: {_last_line(errors.read())}")


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else "failed"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ")[:300] if lines else "it said nothing"
