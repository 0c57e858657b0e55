"""The workers of `--workers N`: processes on this machine, each with its part of the cores.

    with started(2, port=40123, config=config, asked=asked) as crew:
        crew.ended(), crew.alive()

A worker is `tfft tune` with Keras Tuner's variables, as it would be on another machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfft.config import RunConfig, TuneConfig
from tfft.errors import ConfigError, TfftError, TrainingError
from tfft.tuning.roles import ID, IP, PORT

# How long a worker that was asked to end may take.
GRACE_S = 10.0


@dataclass
class Crew:
    """The processes by their names."""

    processes: dict[str, subprocess.Popen[bytes]]
    logs: dict[str, Path]
    _known: set[str] = field(default_factory=set)

    def ended(self) -> list[str]:
        """Those that have ended since it was asked last."""
        new = [
            name
            for name, process in self.processes.items()
            if name not in self._known and process.poll() is not None
        ]
        self._known.update(new)
        return new

    def alive(self) -> bool:
        return any(process.poll() is None for process in self.processes.values())

    def last_words(self) -> TfftError:
        """What the worker that ended last has to say."""
        name = list(self.processes)[-1]
        said = self.logs[name].read_text(encoding="utf-8", errors="replace").strip().splitlines()
        told = said[-1] if said else f"it ended ({self.processes[name].returncode})"
        kind = ConfigError if self.processes[name].returncode == 2 else TrainingError
        return kind(f"every worker has ended; {name}: {told.removeprefix('error: ')}")


@contextmanager
def started(n_workers: int, *, port: int, config: RunConfig, asked: TuneConfig) -> Iterator[Crew]:
    """Starts them, and ends those that are left when the block is."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / "search.json"
        path.write_text(json.dumps(as_document(config, asked)), encoding="utf-8")
        crew = Crew({}, {})
        try:
            for number in range(n_workers):
                name = f"worker{number}"
                crew.logs[name] = folder / f"{name}.log"
                own = cores[number::n_workers] if len(cores) >= n_workers else []
                crew.processes[name] = _start(name, port, path, crew.logs[name], own)
            yield crew
        finally:
            _end(crew)


def as_document(config: RunConfig, asked: TuneConfig) -> dict[str, Any]:
    return {"config": config.as_options(), "tune": dict(vars(asked))}


def from_document(document: dict[str, Any]) -> tuple[RunConfig, TuneConfig]:
    """What `as_document` wrote; it was checked when it was made."""
    sections: dict[str, dict[str, Any]] = {}
    for place, value in document["config"].items():
        section, _, name = place.partition(".")
        sections.setdefault(section, {})[name] = tuple(value) if isinstance(value, list) else value
    from tfft.config import SECTIONS

    config = RunConfig(**{name: kind(**sections[name]) for name, kind in SECTIONS.items()})
    tune: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document["tune"].items()
    }
    return config, TuneConfig(**tune)


def _start(
    name: str, port: int, path: Path, log: Path, cores: list[int]
) -> subprocess.Popen[bytes]:
    environment = os.environ | {ID: name, IP: "127.0.0.1", PORT: str(port)}
    command = [sys.executable, "-m", "tfft.tuning.worker", str(path), *map(str, cores)]
    with log.open("wb") as written:
        return subprocess.Popen(  # noqa: S603 - our own command line
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=written,
            start_new_session=True,  # a terminal's Ctrl-C reaches it through us
        )


def _end(crew: Crew) -> None:
    for process in crew.processes.values():
        if process.poll() is None:
            process.terminate()
    for process in crew.processes.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        if process.poll() is None:
            process.kill()
            process.wait()
