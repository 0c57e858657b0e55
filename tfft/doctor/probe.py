"""TensorFlow as the verbs will meet it, imported in a process of its own.

    with Probe(os.environ) as probe:
        ...                            # meanwhile
        seen = probe.result()
    seen.gpus, seen.faults

An import may raise, hang, or end its process: here each is a finding.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfft.doctor.findings import Finding
from tfft.doctor.packages import Lookup, installed
from tfft.errors import first_line

# TensorFlow's import takes 5 s from a warm disk; a cold one on a network may take minutes.
PATIENCE_S = 300.0
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from tfft.doctor.probe import main; main(sys.argv[2:])"
)


@dataclass(frozen=True)
class Seen:
    """What came of the imports.

    Attributes:
        gpus: the names of the GPUs that TensorFlow sees; None where it could not say.
        faults: step (`tensorflow`, `keras`, `xla`) -> why it failed, in one line.
    """

    gpus: tuple[str, ...] | None = None
    faults: Mapping[str, str] = field(default_factory=dict)


class Probe:
    """The running child; leaving the block ends it."""

    def __init__(self, environ: Mapping[str, str], *, keras: bool = True) -> None:
        self.steps = ["tensorflow", *(["keras"] if keras else [])]
        # TensorFlow reads the flags when XLA first compiles, and an unknown one ends the process.
        self.steps += ["xla"] if environ.get("XLA_FLAGS") else []
        self._deadline_s = time.monotonic() + PATIENCE_S
        # Not the current folder: it is on a verb's path only where it is on ours.
        command = [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), *self.steps]
        self._process: subprocess.Popen[str] | None = subprocess.Popen(  # noqa: S603
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    @classmethod
    def skipped(cls) -> Probe:
        """One that starts nothing and saw nothing: there is no TensorFlow to import."""
        probe = cls.__new__(cls)
        probe.steps, probe._process = [], None
        return probe

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def result(self) -> Seen:
        if self._process is None:
            return Seen()
        try:
            out, err = self._process.communicate(timeout=self._deadline_s - time.monotonic())
        except subprocess.TimeoutExpired:
            return Seen(faults={"tensorflow": f"no answer within {PATIENCE_S:.0f} s"})
        return read(self.steps, out, err, self._process.returncode)


def read(steps: list[str], out: str, err: str, code: int) -> Seen:
    """What the child's lines say; the first step without a line is where it ended."""
    answers = [json.loads(line) for line in out.splitlines() if line.startswith('{"step":')]
    by_step = {each["step"]: each for each in answers}
    faults = {name: each["fault"] for name, each in by_step.items() if "fault" in each}
    missing = [step for step in steps if step not in by_step]
    if missing and not faults:
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = ": ".join(filter(None, (ended, _last_words(err))))
        faults[missing[0]] = f"the process ended ({said})"
    gpus = by_step.get("tensorflow", {}).get("gpus")
    return Seen(gpus=None if gpus is None else tuple(gpus), faults=faults)


def _last_words(err: str) -> str:
    """TensorFlow's fatal line without its time and place, or the last line of all."""
    lines = err.strip().splitlines() or [""]
    fatal = [line for line in lines if re.match(r"F\d{4} ", line)] or lines[-1:]
    return re.sub(r"^F\d{4} .*?\] ", "", fatal[0])[:200]


def check_imports(seen: Seen, lookup: Lookup = installed) -> list[Finding]:
    """A finding for each import that failed."""
    findings = []
    for step, package in (("tensorflow", "tensorflow"), ("keras", "tf-keras")):
        if step in seen.faults:
            found = lookup(package)
            version = f"=={found.version}" if found is not None else ""
            command = f"pip install --force-reinstall --no-deps {package}{version}"
            message = f"its import fails: {seen.faults[step]}"
            findings.append(Finding("imports", package, "error", message, command))
    return findings


# What follows runs in the child.


def main(steps: list[str]) -> None:
    """A line of JSON a step, on standard output; a failed import ends it."""
    known: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        "tensorflow": _tensorflow,
        "keras": _keras,
        "xla": _xla,
    }
    for step in steps:
        try:
            answer: Mapping[str, Any] = known[step]()
        except Exception as error:
            # The backend's own line points here; what it wraps says why.
            answer = {"fault": _told(error.__cause__ or error)}
        sys.stdout.write(f"{json.dumps({'step': step, **answer})}\n")
        sys.stdout.flush()
        if "fault" in answer:  # the next would fail of the same
            break
    # TensorFlow's threads may take their time, and nothing is left to tidy.
    os._exit(0)


def _tensorflow() -> dict[str, Any]:
    from tfft.backend import tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(each) for each in gpus]
    return {
        "gpus": [each.get("device_name", gpu.name) for gpu, each in zip(gpus, details, strict=True)]
    }


def _keras() -> dict[str, Any]:
    from tfft.backend import keras

    return {"version": keras.__version__}


def _xla() -> dict[str, Any]:
    from tfft.backend import tf

    tf.function(lambda number: number + 1, jit_compile=True)(tf.constant(1))
    return {}


def _told(error: BaseException) -> str:
    """One line; TensorFlow's own ImportError is a whole traceback, whose end says why."""
    lines = str(error).strip().splitlines()
    if lines and lines[0].startswith("Traceback"):
        ends = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
        if ends:
            return ends[-1][:200]
    return f"{type(error).__name__}: {first_line(error)}"
