"""The parent's end of a child process: one line of JSON each way, and only one child at work.

    with Child.start("fit_tfft", job, log=Path("tfft.log")) as child:
        first = child.hear()            # blocks until it tells something, and then stands still
        child.say({"go": "on"})         # and now it works again

What the child holds in memory is watched while it works.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import status

SCRIPTS = Path(__file__).resolve().parent.parent


class ChildError(Exception):
    """A path that can't be measured; says why."""


@dataclass
class Child:
    """A running case.

    Attributes:
        deadline: on the monotonic clock; who has told nothing by then is given up.
        peak_anonymous: the most RssAnon seen (mapped files don't count), in MiB.
    """

    process: subprocess.Popen[str]
    log: Path
    deadline: float | None = None
    peak_anonymous: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(
        cls,
        case: str,
        job: Mapping[str, Any],
        *,
        log: Path,
        python: str = sys.executable,
        environ: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> Child:
        paths = [str(SCRIPTS), str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")]
        with log.open("w") as errors:
            process = subprocess.Popen(
                [python, "-m", "benchmarks.worker", case, json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
                | dict(environ or {}),
            )
        child = cls(process, log, deadline)
        threading.Thread(target=child._watch, daemon=True).start()
        return child

    def hear(self) -> dict[str, Any]:
        """What it tells next.

        Raises:
            ChildError: it has ended, and the end of its log says why; or its time is up.
        """
        assert self.process.stdout is not None
        if self.deadline is not None:
            left = max(0.0, self.deadline - time.monotonic())
            # A child tells one line and waits, so none is left over in Python's own buffer.
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise ChildError("given up: no time left")
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            lines = [each for each in self.log.read_text().splitlines() if each.strip()]
            last = lines[-1] if lines else f"it ended with code {code}"
            raise ChildError(last.strip()[:300])
        heard: dict[str, Any] = json.loads(line)
        return heard

    def say(self, command: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `hear` tells why it ended

    def ask(self, **command: Any) -> dict[str, Any]:
        self.say(command)
        return self.hear()

    def close(self) -> None:
        self._done.set()
        self.process.kill()  # nothing of it is kept
        self.process.communicate()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.peak_anonymous = max(self.peak_anonymous, status("RssAnon", self.process.pid))
