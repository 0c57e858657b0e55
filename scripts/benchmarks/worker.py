"""The child's end: `python -m benchmarks.worker CASE JOB`, which runs `cases/CASE.py`.

    def run(job: Job, turn: Turn) -> None:
        ...                                     # import; nothing is timed yet
        turn.start()
        ...                                     # work
        turn.tell(event="first step")           # one line to the parent; stands still until told on

`tell` adds `seconds`, the time worked since the last one, so a case need not look at a clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO

from benchmarks.machine import status

Job = dict[str, Any]


class Turn:
    """Whose turn it is, and a clock that runs in this child's alone."""

    def __init__(self, to_parent: TextIO) -> None:
        self._to_parent = to_parent
        self._worked = 0.0
        self._since = time.perf_counter()
        self._idle_cpu = 0.0

    def start(self) -> None:
        """From here on time counts."""
        self._worked, self._since = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Worked since the last `tell` or `start`."""
        return self._worked + time.perf_counter() - self._since

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        self._worked = self.seconds
        try:
            yield
        finally:
            self._since = time.perf_counter()

    def tell(self, **figures: Any) -> dict[str, Any]:
        """Tells, and waits for the answer; ends the process where none comes.

        Returns:
            The parent's command.
        """
        told = {"seconds": self.seconds, "idle_cpu": self._idle_cpu, "peak": status("VmHWM")}
        print(json.dumps(told | figures), file=self._to_parent, flush=True)
        worked, waited = time.process_time(), time.perf_counter()
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        waited = time.perf_counter() - waited
        # CPU used while standing still would be the other paths' loss.
        self._idle_cpu = (time.process_time() - worked) / waited if waited > 1.0 else 0.0
        self.start()
        command: dict[str, Any] = json.loads(line)
        return command


def main() -> None:
    case, job = sys.argv[1], json.loads(sys.argv[2])
    to_parent = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    import_module(f"benchmarks.cases.{case}").run(job, Turn(to_parent))


if __name__ == "__main__":
    main()
