"""PyTorch's half, in a process of its own, which imports no TensorFlow.

    run_pytorch([folder, ...], on_step=...)     # writes each FOLDER/pytorch

Both frameworks in one process would share their threads' settings and one transformers, which
imports the classes of one of them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from tfft.errors import TrainingError
from tfft.pytorch.children import child_environ, command_of, last_line

MODULE = "tfft.pytorch.recorder"


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
    command = [*command_of(MODULE), *map(str, folders)]
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(  # noqa: S603 - our own module
            command, env=child_environ(), stdout=subprocess.PIPE, stderr=errors, text=True
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
            why = last_line(errors.read()) or "it said nothing"
            raise TrainingError(f"PyTorch's process {_ended(code)}: {why}")


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else "failed"
