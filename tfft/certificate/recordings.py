"""One framework's half: what it computed on the way, written to a folder.

    record(framework, job, folder, "pytorch")       # in either process, the same code
    recording = Recording(folder / "pytorch")
    recording.losses                # float64 [n_steps]
    with recording.gradients() as gradients:
        gradients["classifier.weight"]

A framework is what has the five methods of `Framework`; that the two halves do the same in the same
order is this file's matter, and no framework's own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from tfft.certificate.jobs import TRAIN, VALIDATION, Job, read_batches
from tfft.errors import TrainingError

GRADIENTS, EXACT = "gradients.safetensors", "exact-gradients.safetensors"


@dataclass(frozen=True)
class Forward:
    """A batch gone through the model as in evaluation.

    Attributes:
        loss: the mean over its rows.
        logits: float32 [rows, n_labels].
        hidden: after the embeddings and after each layer: float32 [rows, tokens, size].
    """

    loss: float
    logits: np.ndarray
    hidden: tuple[np.ndarray, ...]


class Framework(Protocol):
    """Tensors go by PyTorch's names and in its layout, whichever framework it is."""

    def forward(self, features: Mapping[str, np.ndarray], labels: np.ndarray) -> Forward: ...

    def gradients(
        self, features: Mapping[str, np.ndarray], labels: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Of the mean loss; nought of what the loss doesn't read."""

    def train_step(self, features: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
        """One step of the optimizer; the loss before it."""

    def parameters(self) -> dict[str, np.ndarray]: ...

    def versions(self) -> dict[str, str]: ...


def record(
    framework: Framework,
    job: Job,
    folder: Path,
    name: str,
    *,
    after_step: Callable[[int, float], None] = lambda n_rows, loss: None,
) -> None:
    """Runs the job of `folder` and writes what came of it to `folder/name`."""
    own = folder / name
    own.mkdir()
    inputs = job.inputs(folder)
    first_features, first_labels = next(read_batches(inputs / TRAIN))
    first = framework.forward(first_features, first_labels)
    hidden = {f"hidden/{number}": each for number, each in enumerate(first.hidden)}
    np.savez(own / "first.npz", logits=first.logits, **hidden)  # type: ignore[arg-type]
    start = {name: digest_of(array) for name, array in framework.parameters().items()}
    gradients = framework.gradients(first_features, first_labels)
    unread = [name for name, each in gradients.items() if not each.any()]
    if not job.drops:
        _save(gradients, own / GRADIENTS)
    del gradients
    losses, validation_loss = [], 0.0
    batches = islice(read_batches(inputs / TRAIN), job.n_steps)
    for number, (features, labels) in enumerate(batches, start=1):
        losses.append(framework.train_step(features, labels))
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"{name}: the loss is {losses[-1]} at step {number}, which can't be compared; try "
                "a lower --learning-rate"
            )
        after_step(len(labels), losses[-1])
        if number in job.snapshots and not job.drops:
            _save(framework.parameters(), own / _snapshot(number))
        if number == job.validate_after:
            validation_loss, logits, labels = _score(framework, inputs / VALIDATION)
            np.savez(own / "validation.npz", logits=logits, labels=labels)
    told = {
        "versions": framework.versions(),
        "first_loss": first.loss,
        "losses": losses,
        "validation_loss": validation_loss,
        "start": start,
        "unread": unread,
    }
    (own / "told.json").write_text(json.dumps(told), encoding="utf-8")


def _score(framework: Framework, path: Path) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean loss of the rows, their logits and their labels."""
    total, logits, labels = 0.0, [], []
    for batch_features, batch_labels in read_batches(path):
        done = framework.forward(batch_features, batch_labels)
        total += done.loss * len(batch_labels)
        logits.append(done.logits)
        labels.append(batch_labels)
    joined = np.concatenate(labels)
    return total / len(joined), np.concatenate(logits), joined


def digest_of(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _save(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    save_file({name: np.ascontiguousarray(each) for name, each in tensors.items()}, str(path))


def save_exact(gradients: Mapping[str, np.ndarray], own: Path) -> None:
    """Keeps the first batch's gradient as float64 has it, rounded to float32 at the end."""
    _save({name: each.astype(np.float32) for name, each in gradients.items()}, own / EXACT)


def _snapshot(step: int) -> str:
    return f"parameters-{step}.safetensors"


Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Recording:
    """One framework's half, read a tensor at a time."""

    folder: Path

    @cached_property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "told.json").read_text(encoding="utf-8"))
        return told

    @property
    def losses(self) -> np.ndarray:
        """Of each step: float64 [n_steps]."""
        return np.array(self.told["losses"])

    @cached_property
    def first(self) -> dict[str, np.ndarray]:
        """`logits`, and `hidden/0` and so on, of the first batch."""
        with np.load(self.folder / "first.npz") as arrays:
            return dict(arrays)

    @cached_property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits and labels."""
        with np.load(self.folder / "validation.npz") as arrays:
            return arrays["logits"], arrays["labels"]

    @contextmanager
    def gradients(self) -> Iterator[Tensors]:
        with _opened(self.folder / GRADIENTS) as tensors:
            yield tensors

    @contextmanager
    def exact_gradients(self) -> Iterator[Tensors]:
        with _opened(self.folder / EXACT) as tensors:
            yield tensors

    @contextmanager
    def parameters(self, step: int) -> Iterator[Tensors]:
        with _opened(self.folder / _snapshot(step)) as tensors:
            yield tensors


class _File(Mapping[str, np.ndarray]):
    """An open safetensors file as a mapping; a tensor is read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getitem__(self, name: str) -> np.ndarray:
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.keys())

    def __len__(self) -> int:
        return len(self._file.keys())


@contextmanager
def _opened(path: Path) -> Iterator[Tensors]:
    with safe_open(str(path), framework="numpy") as file:
        yield _File(file)
