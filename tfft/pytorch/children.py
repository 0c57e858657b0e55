"""PyTorch's side in a process of its own, since TensorFlow's process never imports torch.

    run_child("tfft.pytorch.unpickle", {"pickles": [...], "output": "model.safetensors"})
    answer(main)        # in that module: jobs from standard input, results to standard output

What goes wrong in the child comes out here, as the same one line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfft.errors import ModelError, TfftError
from tfft.pytorch.backend import check_installed

Job = Mapping[str, Any]


def run_child(module: str, job: Job) -> dict[str, Any]:
    """What the module's `main` made of the job; both go through JSON.

    Raises:
        TfftError: torch isn't installed, or what the child raised.
    """
    check_installed()
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(  # noqa: S603 - our own module, by name
        # -P: what lies in the current folder is no module.
        [sys.executable, "-P", "-m", module],
        input=json.dumps(job),
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = done.stderr.strip().splitlines()
        why = lines[-1][:200] if lines else f"exit code {done.returncode}"
        raise TfftError(f"PyTorch's process broke off: {why}") from None
    if "error" in told:
        raise ModelError(told["error"])
    return told


def answer(main: Callable[[Job], Job]) -> None:
    """Does the jobs of standard input, one a line; each has one line on standard output."""
    for line in sys.stdin:
        try:
            told = main(json.loads(line))
        except TfftError as error:
            told = {"error": str(error)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
