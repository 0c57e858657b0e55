"""The load test of scripts/bench: its requests, its checks, and its table."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.load import Shot, fire
from benchmarks.serving import (
    BAD_EVERY,
    MODES,
    Server,
    bad_shots,
    good_shots,
    markdown,
    mixed,
)


class Handler(BaseHTTPRequestHandler):
    """Answers a text with its length, and anything else with an error."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            (row,) = json.loads(body)["instances"]
            status, answer = 200, {"predictions": [{"scores": [len(row["text"])]}]}
        except Exception:
            status, answer = 400, {"error": "no"}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield Server("films", 1, http.server_address[1])
        http.shutdown()


def test_every_request_is_sent_once_and_its_answer_checked(server: Server) -> None:
    good = good_shots(server, [{"text": "a" * n} for n in range(7)])
    measured = fire("127.0.0.1", server.port, good, n_clients=4, seconds=60.0, n_requests=50)
    assert measured.counts == {"good": 50}
    assert len(measured.latencies_s) == 50
    assert measured.wrong == []
    assert measured.per_s > 0
    assert measured.percentile(0.0) <= measured.percentile(0.5) <= measured.percentile(1.0)


def test_a_wrong_answer_is_counted(server: Server) -> None:
    (one, other) = good_shots(server, [{"text": "a"}, {"text": "bb"}])
    mistaken = Shot("good", one.data, 200, other.right)
    refused = Shot("good", b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1")
    measured = fire(
        "127.0.0.1", server.port, [mistaken, refused], n_clients=1, seconds=60.0, n_requests=2
    )
    assert len(measured.wrong) == 2
    assert "400" in measured.wrong[1]


def test_a_server_that_is_gone_is_counted_as_wrong() -> None:
    measured = fire("127.0.0.1", 1, [Shot("good", b"x")], n_clients=2, seconds=60.0, n_requests=2)
    assert len(measured.wrong) == 2
    assert measured.latencies_s == []


def test_one_in_so_many_requests_is_bad_and_every_kind_occurs(server: Server) -> None:
    good = [Shot("good", b"") for _ in range(20)]
    bad = bad_shots(server)
    shots = mixed(good, bad)
    assert [shot.kind for shot in shots[: BAD_EVERY - 1]] == ["good"] * (BAD_EVERY - 1)
    assert {shot.kind for shot in shots[BAD_EVERY - 1 :: BAD_EVERY]} == {each.kind for each in bad}
    assert sum(shot.kind == "good" for shot in shots) == len(shots) * (BAD_EVERY - 1) / BAD_EVERY


def test_the_table_has_the_ratio_and_what_went_wrong() -> None:
    def reading(per_s: float) -> dict[str, Any]:
        ms = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
        return {"requests_per_s": per_s, "milliseconds": ms, "n_wrong": 0}

    rounds = [{"16": dict(zip(MODES, map(reading, (300.0, 100.0)), strict=True))}] * 2
    soak = {
        "n_requests": 10,
        "seconds": 1.0,
        "n_wrong": 1,
        "kinds": {"good": 9, "not JSON": 1},
        "wrong_ones": ["good: 500 b''"],
    }
    page = markdown({"bundle": "films", "rounds": rounds, "soak": soak})
    assert "3.00" in page
    assert "1 answered otherwise than they should be: 9 good, 1 not JSON" in page
    assert "- good: 500 b''" in page
