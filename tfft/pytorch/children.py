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
_TENSORFLOW_S_OWN = ("USE_TF", "USE_TORCH", "TF_USE_LEGACY_KERAS")


def run_child(module: str, job: Job) -> dict[str, Any]:
    """What the module's `main` made of the job; both go through JSON.

    Raises:
        TfftError: torch isn't installed, or what the child raised.
    """
    check_installed()
    done = subprocess.run(  # noqa: S603 - our own module, by name
        command_of(module),
        input=json.dumps(job),
        env=child_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        why = last_line(done.stderr) or f"exit code {done.returncode}"
        raise TfftError(f"PyTorch's process broke off: {why}") from None
    if "error" in told:
        raise ModelError(told["error"])
    return told


def command_of(module: str) -> list[str]:
    """-P: what lies in the current folder is no module."""
    return [sys.executable, "-P", "-m", module]


def child_environ() -> dict[str, str]:
    """The environment, with this very tfft, and without what TensorFlow's side set for itself.

    PyTorch's side sets its own.
    """
    kept = {name: text for name, text in os.environ.items() if name not in _TENSORFLOW_S_OWN}
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path}


def last_line(text: str) -> str:
    """Of what a child told on standard error; empty where it told nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ")[:300] if lines else ""


def answer(main: Callable[[Job], Job]) -> None:
    """Does the jobs of standard input, one a line; each has one line on standard output."""
    for line in sys.stdin:
        try:
            told = main(json.loads(line))
        except TfftError as error:
            told = {"error": str(error)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
