"""PyTorch's half of `tfft parity`: a program of its own, which knows nothing but job folders.

    python -m tfft.pytorch.recorder FOLDER...

A line of JSON for each step goes to standard output, and FOLDER/pytorch is written. Several jobs
share the seconds that importing torch takes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tfft import backend
from tfft.certificate.jobs import PYTORCH, TRAIN, Job, read_batches
from tfft.certificate.recordings import record, save_exact
from tfft.errors import TfftError


def main(folders: Sequence[str]) -> None:
    backend.choose("pytorch")
    for number, name in enumerate(folders):
        run(Path(name), number)


def run(folder: Path, number: int) -> None:
    from tfft.pytorch.framework import PyTorch

    job = Job.read(folder)
    framework = PyTorch(folder, job)

    def after_step(n_rows: int, loss: float) -> None:
        told = {"job": number, "n_rows": n_rows, "loss": loss}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    record(framework, job, folder, PYTORCH, after_step=after_step)
    if not job.drops:
        batch = next(read_batches(job.inputs(folder) / TRAIN))
        # Of the start, which training has left behind.
        save_exact(PyTorch(folder, job).exact_gradients(*batch), folder / PYTORCH)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except TfftError as error:
        sys.exit(f"error: {error}")
