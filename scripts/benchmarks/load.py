"""Clients that ask a server of this machine over and over, each over one connection of its own.

shot = Shot.predict("cola", {"instances": ["a film"]})      # bytes made once, sent many times
measured = fire("127.0.0.1", 8501, [shot, ...], n_clients=16, seconds=3.0)
measured.per_s, measured.percentile(0.99), measured.wrong

Sockets and bytes, no HTTP library: it shares the cores with the server that it measures.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Shot:
    """A request and what must come back.

    Attributes:
        status: the expected one; None where the client goes away without reading an answer.
        right: whether an answer's body is as it should be.
    """

    kind: str
    data: bytes
    status: int | None = 200
    right: Callable[[bytes], bool] = lambda body: True

    @classmethod
    def post(cls, kind: str, path: str, body: bytes, **expected: Any) -> Shot:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        return cls(kind, head.encode() + body, **expected)

    @classmethod
    def predict(cls, name: str, document: Any, **expected: Any) -> Shot:
        body = json.dumps(document).encode()
        return cls.post("good", f"/v1/models/{name}:predict", body, **expected)


@dataclass
class Measured:
    """What came back.

    Attributes:
        latencies_s: of the answered requests, sorted at the end.
        wrong: what came instead of what should have; `kind: status body`.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return len(self.latencies_s) / self.seconds

    def percentile(self, part: float) -> float:
        """In milliseconds."""
        return (
            1000
            * self.latencies_s[min(len(self.latencies_s) - 1, int(part * len(self.latencies_s)))]
        )


def fire(
    host: str,
    port: int,
    shots: Sequence[Shot],
    *,
    n_clients: int,
    seconds: float,
    n_requests: int | None = None,
) -> Measured:
    """Every client sends its next request when the answer to the one before is there.

    Args:
        shots: taken in turn, over and over.
        seconds: nothing new is sent after them.
        n_requests: nor after so many.
    """
    turns = itertools.cycle(shots) if n_requests is None else _first(shots, n_requests)
    lock = threading.Lock()
    measured = Measured()
    start = time.perf_counter()

    def take() -> Shot | None:
        with lock:
            return next(turns, None) if time.perf_counter() < start + seconds else None

    def work() -> None:
        own = _Client(host, port)
        while (shot := take()) is not None:
            own.ask(shot)
        own.close()
        with lock:
            own.add_to(measured)

    threads = [threading.Thread(target=work) for _ in range(n_clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    measured.seconds = time.perf_counter() - start
    measured.latencies_s.sort()
    return measured


def _first(shots: Sequence[Shot], n_requests: int) -> Iterator[Shot]:
    return itertools.islice(itertools.cycle(shots), n_requests)


class _Client:
    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.connection: socket.socket | None = None
        self.measured = Measured()

    def ask(self, shot: Shot) -> None:
        counts = self.measured.counts
        counts[shot.kind] = counts.get(shot.kind, 0) + 1
        start = time.perf_counter()
        try:
            status, body = self._exchange(shot)
        except OSError as error:
            self.close()
            self.measured.wrong.append(f"{shot.kind}: {error!r}")
            return
        if shot.status is None:
            return
        self.measured.latencies_s.append(time.perf_counter() - start)
        if status != shot.status or not shot.right(body):
            self.measured.wrong.append(f"{shot.kind}: {status} {body[:200]!r}")

    def _exchange(self, shot: Shot) -> tuple[int, bytes]:
        if self.connection is None:
            self.connection = socket.create_connection(self.address, TIMEOUT_S)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.sendall(shot.data)
        if shot.status is None:
            self.close()
            return 0, b""
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        head = data[:end].lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = data[end + 4 :]
        while len(body) < length:
            body += self._receive()
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def _receive(self) -> bytes:
        assert self.connection is not None
        chunk = self.connection.recv(65536)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        return chunk

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def add_to(self, total: Measured) -> None:
        total.latencies_s += self.measured.latencies_s
        total.wrong += self.measured.wrong
        for kind, count in self.measured.counts.items():
            total.counts[kind] = total.counts.get(kind, 0) + count
