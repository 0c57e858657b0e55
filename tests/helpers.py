"""What several test files share: small tables in files, and the one line that an error is."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tfft.config import DataConfig
from tfft.data.examples import Examples, load_training
from tfft.errors import ModelError, TfftError
from tfft.progress import Progress


def rows(n_rows: int = 20, *, labels: Sequence[Any] = (0, 1)) -> list[dict[str, Any]]:
    """`text` and `label`, the labels in turn."""
    return [{"text": f"text {n}", "label": labels[n % len(labels)]} for n in range(n_rows)]


def write_csv(path: Path, table: Iterable[Mapping[str, Any]], *, sep: str = ",") -> Path:
    """Cells as they are: quotes are the caller's."""
    table = list(table)
    lines = [sep.join(table[0]), *(sep.join(map(str, row.values())) for row in table)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_jsonl(path: Path, table: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in table), encoding="utf-8")
    return path


def load(source: Path, *, seed: int = 42, **options: Any) -> Examples:
    return load_training(DataConfig(source=str(source), **options), seed=seed)


def one_line(caught: pytest.ExceptionInfo[TfftError]) -> str:
    """An error's message, which is one line."""
    message = str(caught.value)
    assert message
    assert len(message.splitlines()) == 1
    return message


class Told(Progress):
    """Keeps the notes, for a test to read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    waiting = note


class Child:
    """`run_child` with a process that stays, since importing torch costs seconds."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __call__(self, module: str, job: Mapping[str, Any]) -> dict[str, Any]:
        if module not in self._processes:
            self._processes[module] = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process = self._processes[module]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        told: dict[str, Any] = json.loads(process.stdout.readline())
        if "error" in told:
            raise ModelError(told["error"])
        return told

    def close(self) -> None:
        for process in self._processes.values():
            process.communicate()
