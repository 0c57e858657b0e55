"""What both frameworks are to do: a folder with the start, the batches and a short note.

    job = Job(task="single_label", ..., train=config.train, n_steps=32, ...)
    job.write(folder)                   # folder/job.json
    write_batches(folder / TRAIN, batches)
    job = Job.read(folder)              # in either framework's process
    for features, labels in read_batches(job.inputs(folder) / TRAIN): ...

The folder is all that passes between the two processes: no framework's object goes in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tfft.config import TrainConfig

# Features int32 [rows, tokens] by name, and labels as the task has them.
Batch = tuple[dict[str, np.ndarray], np.ndarray]

JOB, CHECKPOINT, TRAIN, VALIDATION = "job.json", "checkpoint", "train.npz", "validation.npz"
TENSORFLOW, PYTORCH = "tensorflow", "pytorch"


@dataclass(frozen=True)
class Job:
    """All but the weights and the batches.

    Attributes:
        train: the optimizer's recipe, and the seed of dropout.
        keras_epsilon: `train.epsilon` is added as Keras does it, before the bias correction.
        n_steps: of the whole run, which may go over the training rows more than once.
        snapshots: the steps after which the parameters are kept.
        validate_after: the step after which validation is scored.
        drops: whether dropout is on; gradients are then no two times the same, and not kept.
        of: where checkpoint and batches lie, from the job's folder.
    """

    task: str
    label_names: tuple[str, ...]
    pad_token_id: int | None
    train: TrainConfig
    n_steps: int
    snapshots: tuple[int, ...]
    validate_after: int
    device: str = "cpu"
    keras_epsilon: bool = False
    drops: bool = False
    of: str = "."

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JOB).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Job:
        values = json.loads((folder / JOB).read_text(encoding="utf-8"))
        values |= {name: tuple(values[name]) for name in ("label_names", "snapshots")}
        return cls(**values | {"train": TrainConfig(**values["train"])})

    def inputs(self, folder: Path) -> Path:
        return folder / self.of


def write_batches(path: Path, batches: Iterable[Batch]) -> int:
    """Keeps the batches as they are; how many there were."""
    arrays: dict[str, np.ndarray] = {}
    n_batches = 0
    for features, labels in batches:
        named = {**features, "labels": labels}
        arrays |= {f"{n_batches}/{name}": array for name, array in named.items()}
        n_batches += 1
    # An argument of savez's own is called `file`; a batch's arrays have a number before their name.
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return n_batches


def read_batches(path: Path) -> Iterator[Batch]:
    """The batches in their order, one held at a time."""
    with np.load(path) as arrays:
        names: list[list[str]] = []
        for key in arrays.files:
            number, _, name = key.partition("/")
            if int(number) == len(names):
                names.append([])
            names[int(number)].append(name)
        for number, of_batch in enumerate(names):
            batch = {name: arrays[f"{number}/{name}"] for name in of_batch}
            labels = batch.pop("labels")
            yield batch, labels


def sha256_of(path: Path) -> str:
    """Of the batches' names, shapes, types and numbers, whatever the file around them."""
    digest = hashlib.sha256()
    for features, labels in read_batches(path):
        for name, array in {**features, "labels": labels}.items():
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def switch_dropout_off(checkpoint: Path) -> None:
    """Sets every probability of dropping something to nought, by whatever name an architecture has.

    In the config that both frameworks read, so that neither has to be run as in evaluation.
    """
    path = checkpoint / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            values[name] = 0.0
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
