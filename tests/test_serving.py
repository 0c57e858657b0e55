"""`tfft serve` as clients meet it: a server in a process of its own, on this machine."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from bundles import LABELS, make_bundle, score
from tiny import python

PREDICT = "/v1/models/films:predict"


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int
    line: str

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, Any]:
        status, body = self.ask("GET", path)
        return status, json.loads(body)

    def post(self, document: Any, path: str = PREDICT) -> tuple[int, Any]:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        status, answer = self.ask("POST", path, body)
        return status, json.loads(answer)

    def predict(self, *texts: str) -> list[float]:
        """Of each text the second label's score."""
        status, answer = self.post({"instances": list(texts)})
        assert status == 200, answer
        return [row["scores"][1] for row in answer["predictions"]]


@contextmanager
def serving(bundle: Path, *arguments: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tfft", "serve", str(bundle), "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(300, process.kill)
    timer.start()
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"on http://127\.0\.0\.1:(\d+)$", line.strip())
        assert found, line + process.stderr.read()
        yield Server(process, int(found[1]), line)
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "films", version=7)


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[Server]:
    with serving(bundle, "--max-rows", "2000", "--max-body-mib", "4") as started:
        yield started
        assert started.process.poll() is None, "a test has stopped the server"


def test_the_line_on_standard_error_says_what_is_served_and_where(server: Server) -> None:
    assert server.line == f"serving films, version 7, on http://127.0.0.1:{server.port}\n"


def test_texts_are_answered_by_rows_and_by_columns(server: Server) -> None:
    texts = ["a", "a fine film", ""]
    assert server.predict(*texts) == pytest.approx([score(text) for text in texts], abs=1e-6)
    status, answer = server.post({"inputs": {"text": texts}}, "/v1/models/films/versions/7:predict")
    assert status == 200
    assert answer["outputs"]["label"] == [LABELS[0], LABELS[1], LABELS[0]]


def test_the_tokens_signature_is_asked_by_its_name(server: Server) -> None:
    row = {"input_ids": [1, 2, 9], "attention_mask": [1, 1, 0]}
    status, answer = server.post({"signature_name": "tokens", "instances": [row]})
    assert status == 200
    assert answer["predictions"][0]["scores"][1] == pytest.approx(3 / 13, abs=1e-6)


def test_the_state_and_the_metadata_are_tensorflow_serving_s(server: Server) -> None:
    for path in ("/v1/models/films", "/v1/models/films/versions/7"):
        status, answer = server.get(path)
        assert status == 200
        assert answer["model_version_status"][0]["state"] == "AVAILABLE"
    status, answer = server.get("/v1/models/films/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "films", "signature_name": "", "version": "7"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "tokens"}
    text = signatures["serving_default"]["inputs"]["text"]
    assert text["dtype"] == "DT_STRING"
    assert text["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


def test_the_health_route_says_ok(server: Server) -> None:
    assert server.get("/healthz") == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{instances", "isn't JSON"),
        (b'{"instance": ["a"]}', "did you mean 'instances'?"),
        (b'{"instances": [1]}', "must have texts"),
        (b'{"instances": []}', "is empty"),
        (b'{"instances": ["\xff"]}', "isn't UTF-8"),
        (b'{"instances": ["a"], "inputs": ["a"]}', "not both"),
        (b'{"signature_name": "no", "instances": ["a"]}', "no signature 'no'"),
        (
            b'{"signature_name": "tokens", "inputs": '
            b'{"input_ids": [[1, 2], [3]], "attention_mask": [[1, 1], [1]]}}',
            "unlike lengths",
        ),
        (
            b'{"signature_name": "tokens", "inputs": '
            b'{"input_ids": [[10]], "attention_mask": [[1]]}}',
            "indices[0,0] = 10 is not in [0, 10)",
        ),
        (
            b'{"signature_name": "tokens", "inputs": '
            b'{"input_ids": [[1, 2]], "attention_mask": [[1, 1, 1]]}}',
            "Incompatible shapes",
        ),
        (json.dumps({"instances": ["a"] * 2001}).encode(), "2,001 rows, and 2,000 is the most"),
    ],
)
def test_a_bad_body_is_answered_and_the_server_goes_on(
    server: Server, body: bytes, told: str
) -> None:
    status, answer = server.post(body)
    assert (status, list(answer)) == (400, ["error"])
    assert told in answer["error"]
    assert server.predict("abc") == pytest.approx([score("abc")], abs=1e-6)


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", PREDICT, 400, "Malformed request: GET"),
        ("DELETE", PREDICT, 400, ":predict takes POST"),
        ("POST", "/v1/models/films", 400, "Malformed request: POST"),
        ("POST", "/v1/models/films:classify", 400, "only :predict is served"),
        ("POST", "/v1/models/films/versions/8:predict", 404, "Specific(films, 8)"),
        ("POST", "/v1/models/books:predict", 404, "Latest(books)"),
        ("GET", "/v1/models/books", 404, "films, version 7, is served"),
        ("GET", "/v1/models/films/versions/8", 404, "films, version 7, is served"),
        ("GET", "/v1/nothing", 400, "Malformed request"),
        ("GET", "/nothing", 404, "Not Found"),
        ("POST", "/healthz", 405, "Method Not Allowed"),
    ],
)
def test_a_wrong_address_or_method_is_answered(
    server: Server, method: str, path: str, status: int, told: str
) -> None:
    came, body = server.ask(method, path, b'{"instances": ["a"]}' if method == "POST" else None)
    assert came == status
    assert told in json.loads(body)["error"]


def test_a_text_of_10_mb_is_refused(server: Server) -> None:
    body = json.dumps({"instances": ["a" * 10_000_000]}).encode()
    assert server.post(body) == (
        413,
        {"error": "the body is longer than 4 MiB; send fewer rows at once"},
    )
    # Without a length, as a stream of chunks.
    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("POST", PREDICT, (b"a" * 100_000 for _ in range(100)), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_length_that_nobody_would_read_is_refused_at_once(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 120) as client:
        client.sendall(f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {10**12}\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_thousand_texts_at_once_are_answered_in_their_order(server: Server) -> None:
    texts = ["x" * (number % 97) for number in range(1000)]
    assert server.predict(*texts) == pytest.approx([score(text) for text in texts], abs=1e-6)


def test_many_clients_get_their_own_answers_whatever_their_neighbours_send(server: Server) -> None:
    def ask(number: int) -> bool:
        if number % 5 == 0:
            bad = {"input_ids": [[1, 10]], "attention_mask": [[1, 1]]}
            return server.post({"signature_name": "tokens", "inputs": bad})[0] == 400
        if number % 5 == 1:
            good = {"input_ids": [[1, number % 10]], "attention_mask": [[1, 1]]}
            status, answer = server.post({"signature_name": "tokens", "inputs": good})
            n = 1 + number % 10
            right = pytest.approx(n / (n + 10), abs=1e-6)
            return status == 200 and answer["outputs"]["scores"][0][1] == right
        text = "x" * number
        return server.predict(text) == pytest.approx([score(text)], abs=1e-6)

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(ask, range(300)))


def test_clients_that_go_away_harm_nobody(server: Server) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nContent-Length: 20\r\n\r\n".encode()
    for data in (
        head[:30],
        head,
        head + b'{"insta',
        head + b'{"instances": ["a"]}',
        b"\x16\x03\x01",
    ):
        with socket.create_connection(("127.0.0.1", server.port), 120) as client:
            client.sendall(data)
    assert server.predict("still here") == pytest.approx([score("still here")], abs=1e-6)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 10).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGTERM, 0, ""),
        (signal.SIGINT, 130, "interrupted: every request was answered\n"),
    ],
)
def test_a_stop_answers_who_is_inside_and_lets_nobody_in(
    bundle: Path, number: int, code: int, told: str
) -> None:
    body = b'{"instances": ["abc"]}'
    head = f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    with serving(bundle) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(120)
        client.sendall(head.encode())
        assert b"100 Continue" in client.recv(1000)  # its request is under way
        server.process.send_signal(number)
        while listens(server.port):
            time.sleep(0.05)
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.process.wait(60) == code
        assert server.process.stderr is not None
        assert server.process.stderr.read() == told


def run_cli(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tfft", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_told(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, told = run_cli(bundle, "--port", port)
    assert code == 1
    assert told.startswith(f"error: 127.0.0.1:{port} can't be listened on: Address already in use")


def test_an_address_that_is_not_this_machine_s_is_told(bundle: Path) -> None:
    code, told = run_cli(bundle, "--host", "203.0.113.1")  # of documentation, RFC 5737
    assert code == 1
    assert "can't be listened on" in told


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_a_broken_bundle_is_told_in_a_line(bundle: Path, tmp_path: Path, name: str) -> None:
    broken = Path(shutil.copytree(bundle, tmp_path / "films"))
    (broken / "7" / name).write_bytes(b"\x00broken")
    code, told = run_cli(broken, "--port", 0)
    assert code == 1
    assert told.startswith("error: ")
    assert told.endswith("export it again\n")
    assert len(told.splitlines()) == 1


def test_usage_errors_and_missing_bundles_are_told_before_tensorflow_wakes() -> None:
    code = """
import sys
from click.testing import CliRunner
from tfft.cli import main
outcomes = [
    CliRunner().invoke(main, ["serve", *arguments])
    for arguments in (["nowhere"], ["nowhere", "--port", "70000"], ["--help"])
]
print([outcome.exit_code for outcome in outcomes], "tensorflow" in sys.modules)
print(outcomes[0].stderr)
"""
    out = python(code)
    assert out.splitlines()[0] == "[1, 2, 0] False"
    assert out.splitlines()[1].startswith("error: nowhere: no such folder")


def test_a_folder_s_name_that_no_url_can_have_asks_for_another(tmp_path: Path) -> None:
    from tfft.config import ServeConfig
    from tfft.errors import ConfigError
    from tfft.serving.server import serve

    version = tmp_path / "a:b" / "1"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    with pytest.raises(ConfigError, match="choose one with --name"):
        serve(version.parent, ServeConfig(), ready=lambda told: None)


def test_what_serving_needs_is_named_where_it_is_missing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.config import ServeConfig
    from tfft.errors import TfftError
    from tfft.serving import server

    monkeypatch.setattr(server, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(TfftError, match=r'uvicorn; install them: pip install "tfft\[serve\]"'):
        server.serve(bundle, ServeConfig(), ready=lambda told: None)


def test_the_server_wakes_no_transformers_and_leaves_onednn_to_tensorflow(bundle: Path) -> None:
    code = """
import os, sys
os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
from pathlib import Path
from tfft.config import ServeConfig
from tfft.serving.bundle import open_bundle
from tfft.serving.server import open_service
open_service(open_bundle(Path(sys.argv[1])), ServeConfig())
print(sorted({"transformers", "torch", "datasets"} & set(sys.modules)))
print("TF_ENABLE_ONEDNN_OPTS" in os.environ)
"""
    assert python(code, str(bundle)).splitlines()[-2:] == ["[]", "False"]


def test_without_batching_the_answers_are_the_same(bundle: Path) -> None:
    with serving(bundle, "--no-batching", "--name", "mine") as server:
        assert "serving mine, version 7" in server.line
        status, answer = server.post({"instances": ["abc"]}, "/v1/models/mine:predict")
        assert status == 200
        assert answer["predictions"][0]["scores"][1] == pytest.approx(score("abc"), abs=1e-6)
