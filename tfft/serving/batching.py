"""Requests that come together go through the model together.

    batcher = Batcher(model.run, max_batch=16, timeout_s=0.005, n_workers=2)
    outputs = await batcher.submit("serving_default", {"text": texts}, n_rows=len(texts))

A batch of 8 short texts takes four times as long as one text: most of a call is reading the
weights. So a worker that is free waits a moment for others, but only where others were there a
moment ago: a client that is alone is answered at once. The rows under way are shared out, so that
no worker runs a single row while its neighbour has all the rest.

Only what has the same signature and, beyond the rows, the same lengths is put together. Where a
batch fails, each of its requests is run alone, and only the one at fault is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tfft.errors import RequestError

Arrays = Mapping[str, np.ndarray]
Run = Callable[[str, Arrays], dict[str, np.ndarray]]
# Where a request is shared out among workers that idle, the fewest rows that are worth a call.
_LEAST_ROWS = 4


@dataclass(eq=False)
class _Part:
    """Some rows of a request."""

    signature: str
    arrays: Arrays
    n_rows: int
    arrived: float
    answer: asyncio.Future[dict[str, np.ndarray]]
    kind: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        shapes = (array.shape[1:] for array in self.arrays.values())
        self.kind = (self.signature, *shapes)


class Batcher:
    """Lives in one event loop; `run` is called in threads."""

    def __init__(
        self,
        run: Run,
        *,
        max_batch: int,
        timeout_s: float,
        n_workers: int,
        max_waiting: int,
        together: bool = True,
    ) -> None:
        """Starts no thread yet.

        Args:
            max_batch: the most rows of a call.
            timeout_s: the longest that a part waits while a worker is free.
            max_waiting: the most rows under way.
            together: False has each part go alone.
        """
        self._run = run
        self._max_batch = max_batch
        self._timeout_s = timeout_s if together else 0.0
        self._max_waiting = max_waiting
        self._together = together
        self._n_workers = n_workers
        self._threads = ThreadPoolExecutor(n_workers, thread_name_prefix="model")
        self._waiting: deque[_Part] = deque()
        self._n_free = n_workers
        self._n_open = 0  # rows that wait or run
        self._crowd = 0  # rows that were open when the last batch was done
        self._done_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, signature: str, arrays: Arrays, n_rows: int) -> dict[str, np.ndarray]:
        """The outputs for these rows.

        Raises:
            RequestError: too much is waiting (503), or as `run`.
        """
        if self._n_open + n_rows > self._max_waiting:
            raise RequestError(
                f"{self._n_open:,} rows are under way, and {self._max_waiting:,} is the most; "
                "try again later",
                status=503,
            )
        loop = asyncio.get_running_loop()
        parts = [
            _Part(signature, each, n, loop.time(), loop.create_future())
            for each, n in self._share_out(arrays, n_rows)
        ]
        self._waiting.extend(parts)
        self._n_open += n_rows
        self._start(loop)
        if len(parts) == 1:
            return await parts[0].answer
        answers = await asyncio.gather(*(part.answer for part in parts))
        return {name: np.concatenate([each[name] for each in answers]) for name in answers[0]}

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _share_out(self, arrays: Arrays, n_rows: int) -> list[tuple[Arrays, int]]:
        """Parts of like sizes: no longer than a batch, and where it is worth it, one a worker."""
        n_parts = max(-(-n_rows // self._max_batch), min(self._n_workers, n_rows // _LEAST_ROWS))
        if n_parts <= 1 or not all(array.ndim for array in arrays.values()):
            return [(arrays, n_rows)]
        edges = [n_rows * number // n_parts for number in range(n_parts + 1)]
        return [
            ({name: array[start:end] for name, array in arrays.items()}, end - start)
            for start, end in pairwise(edges)
        ]

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gives free workers what there is, unless it is worth waiting for more."""
        while self._n_free and self._waiting:
            share = -(-max(self._crowd, self._n_open) // self._n_workers)
            wanted = min(share, self._max_batch) if self._together else 0
            batch = self._next(wanted)
            n_rows = sum(part.n_rows for part in batch)
            due = max(batch[0].arrived, self._done_at) + self._timeout_s
            if n_rows < wanted and loop.time() < due:
                if self._timer is None:
                    self._timer = loop.call_at(due, self._ring, loop)
                return
            for part in batch:
                self._waiting.remove(part)
            self._n_free -= 1
            work = loop.run_in_executor(self._threads, run_batch, self._run, batch)
            work.add_done_callback(partial(self._finish, loop, batch))

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._start(loop)

    def _next(self, wanted: int) -> list[_Part]:
        """The oldest part, with those of its kind up to the rows that are wanted."""
        oldest = self._waiting[0]
        batch, n_rows = [oldest], oldest.n_rows
        for part in self._waiting:
            if part is oldest or part.kind != oldest.kind:
                continue
            if n_rows + part.n_rows > wanted:
                break
            batch.append(part)
            n_rows += part.n_rows
        return batch

    def _finish(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Part], done: asyncio.Future[Any]
    ) -> None:
        self._crowd = self._n_open
        self._n_open -= sum(part.n_rows for part in batch)
        self._n_free += 1
        self._done_at = loop.time()
        answers = [done.exception()] * len(batch) if done.exception() else done.result()
        for part, answer in zip(batch, answers, strict=True):
            if part.answer.done():
                continue  # nobody waits any more
            if isinstance(answer, BaseException):
                part.answer.set_exception(answer)
            else:
                part.answer.set_result(answer)
        self._start(loop)


def run_batch(run: Run, batch: Sequence[_Part]) -> list[dict[str, np.ndarray] | Exception]:
    """Each part's outputs, or what was raised for it."""
    if len(batch) > 1:
        try:
            return _run_together(run, batch)
        except Exception:  # noqa: S110 - whoever is at fault is told below, and nobody else
            pass
    return [_run_alone(run, part) for part in batch]


def _run_together(run: Run, batch: Sequence[_Part]) -> list[dict[str, np.ndarray] | Exception]:
    names = batch[0].arrays
    arrays = {name: np.concatenate([part.arrays[name] for part in batch]) for name in names}
    outputs = run(batch[0].signature, arrays)
    edges = np.cumsum([0, *(part.n_rows for part in batch)]).tolist()
    if not all(array.ndim and len(array) == edges[-1] for array in outputs.values()):
        raise ValueError("an output hasn't a row for each of the input's")
    return [
        {name: array[start:end] for name, array in outputs.items()}
        for start, end in pairwise(edges)
    ]


def _run_alone(run: Run, part: _Part) -> dict[str, np.ndarray] | Exception:
    try:
        return run(part.signature, part.arrays)
    except Exception as error:
        return error
