"""A small hub on 127.0.0.1 that speaks what `huggingface_hub` and `datasets` really call.

    with serve() as hub:
        hub.add_data("org/reviews", {"README.md": card, "data/train-00000-of-00001.parquet": rows})
        hub.add_model("org/tiny", folder)
        hub.fail(r"resolve/.*parquet", status=503, times=1)
        hub.url, hub.log            # http://127.0.0.1:PORT, ["GET /api/datasets/org/reviews", ...]

Large files answer with a redirect to another host name, as the real hub's do, which must never see
a token. The shapes of the answers were found by logging the libraries' own requests.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

LARGE = (".parquet", ".safetensors", ".h5", ".bin")  # what the real hub keeps apart
TOKEN = "hf_aTokenThatOpensEverything"  # noqa: S105


def parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file.getvalue()


def card(configs: Mapping[str, Mapping[str, str]], *, labels: Sequence[str] = ()) -> bytes:
    """A data set's README.md, with YAML of `{config: {split: pattern}}` as real ones have it.

    Args:
        labels: the class names of the column `label`; then each config says its features.
    """
    lines = ["---", "license: other"]
    if labels:
        lines += ["dataset_info:"]
        for config in configs:
            lines += [f"- config_name: {config}", "  features:"]
            for column in ("premise", "hypothesis"):
                lines += [f"  - name: {column}", "    dtype: string"]
            lines += ["  - name: label", "    dtype:", "      class_label:", "        names:"]
            lines += [f"          '{number}': {name}" for number, name in enumerate(labels)]
    lines += ["configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, pattern in splits.items():
            lines += [f"  - split: {split}", f"    path: {pattern}"]
    return "\n".join([*lines, "---", "# A data set", ""]).encode()


@dataclass
class Repository:
    """Files by revision; `main` and its commit are two names of the same."""

    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: Mapping[str, bytes], *, revision: str = "main") -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(files.items()):
            digest.update(name.encode() + b"\0" + content)
        sha = digest.hexdigest()
        self.revisions[sha] = dict(files)
        self.commits[revision] = self.commits[sha] = sha
        return sha


@dataclass
class Fault:
    """What is answered instead, while it lasts, to requests that `pattern` is found in."""

    pattern: str
    times: int
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # bytes of the body, then the connection drops
    delay_s: float = 0.0  # before the answer begins
    stall_s: float = 0.0  # before it drops
    body: bytes = b"{}"


class Hub:
    """Repositories, faults, and a log of what was asked.

    Attributes:
        log: "METHOD path" of each request, in order of arrival.
        tokens: the `Authorization` headers that came.
        strangers: those that reached the host of the large files.
        ranges: the bytes that parts of a file were asked from.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.strangers: list[str] = []
        self.tokens: list[str] = []
        self.ranges: list[int] = []
        self.ignores_ranges = False
        self.renamed: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}"

    def add_data(self, name: str, files: Mapping[str, bytes], **options: Any) -> Repository:
        return self._add("datasets", name, files, **options)

    def add_model(self, name: str, files: Path | Mapping[str, bytes], **options: Any) -> Repository:
        if isinstance(files, Path):
            files = {each.name: each.read_bytes() for each in files.iterdir() if each.is_file()}
        return self._add("models", name, files, **options)

    def fail(self, pattern: str, *, times: int = 1000, **what: Any) -> None:
        self.faults.append(Fault(pattern, times, **what))

    def rename(self, kind: str, old: str, new: str) -> None:
        """From here on `old` is answered with where it went."""
        self.repositories[kind, new] = self.repositories.pop((kind, old))
        self.renamed[f"/{old}/"] = f"/{new}/"

    def forget(self) -> None:
        """What one test did is nothing to the next."""
        self.repositories.clear()
        self.renamed.clear()
        self.faults.clear()
        self.log.clear()
        self.strangers.clear()
        self.tokens.clear()
        self.ranges.clear()
        self.ignores_ranges = False

    def asked(self, pattern: str) -> int:
        return sum(re.search(pattern, each) is not None for each in self.log)

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def fault(self, request: str) -> Fault | None:
        with self._lock:
            for each in self.faults:
                if each.times > 0 and re.search(each.pattern, request):
                    each.times -= 1
                    return each
        return None

    def _add(self, kind: str, name: str, files: Mapping[str, bytes], **options: Any) -> Repository:
        repository = Repository(**options)
        repository.commit(files)
        self.repositories[kind, name] = repository
        return repository


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


_API = re.compile(
    r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+(/(?!revision/|tree/|paths-info/)[^/]+)?)(?P<rest>/.*)?"
)
_FILE = re.compile(
    r"/(?P<kind>datasets/)?(?P<name>[^/]+(/[^/]+)?)/resolve/(?P<rev>[^/]+)/(?P<path>.+)"
)
_INVALID = "Invalid credentials in Authorization header"


class _RefusedError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.form = parse_qs(self.rfile.read(length).decode())
            self.fault = hub.fault(f"{self.command} {self.path}")
            hub.log.append(f"{self.command} {self.path}")
            if self.fault is not None and self.fault.delay_s:
                time.sleep(self.fault.delay_s)
            if self.fault is not None and self.fault.status:
                return self._send(self.fault.status, self.fault.body, self.fault.headers)
            try:
                self._route(unquote(urlsplit(self.path).path))
            except _RefusedError as refused:
                headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
                headers["X-Repo-Commit"] = getattr(self, "sha", "")
                kept = {key: value for key, value in headers.items() if value}
                self._send(refused.status, json.dumps({"error": refused.message}).encode(), kept)
            return None

        def _route(self, path: str) -> None:
            if path.startswith("/cdn/"):
                hub.strangers.extend(self.headers.get_all("Authorization") or [])
                return self._send_file(hub.blobs[path.removeprefix("/cdn/")], {})
            for old, new in hub.renamed.items():
                if old in f"{path}/":
                    return self._send(
                        307, b"", {"Location": f"{self.path}/".replace(old, new)[:-1]}
                    )
            # A revision such as refs/pr/1 comes as one segment, its slashes quoted.
            raw = urlsplit(self.path).path
            if api := _API.fullmatch(raw):
                repository = self._open(api["kind"], unquote(api["name"]))
                return self._send_api(api["kind"], api["name"], repository, api["rest"] or "")
            if file := _FILE.fullmatch(raw):
                kind = "datasets" if file["kind"] else "models"
                repository = self._open(kind, file["name"])
                files = self._revision(repository, unquote(file["rev"]))
                name = unquote(file["path"])
                if name not in files:
                    raise _RefusedError(404, "EntryNotFound", "Entry not found")
                return self._send_resolved(name, files[name])
            raise _RefusedError(404, "", "Sorry, we can't find the page you are looking for.")

        def _open(self, kind: str, name: str) -> Repository:
            given = self.headers.get("Authorization", "")
            if given:
                hub.tokens.append(given)
            if given and given != f"Bearer {TOKEN}":
                raise _RefusedError(401, "", _INVALID)
            repository = hub.repositories.get((kind, name))
            if repository is None or (repository.private and not given):
                # Without a token the real hub doesn't tell one from the other.
                raise _RefusedError(404 if given else 401, "RepoNotFound", "Repository not found")
            if repository.gated and "/resolve/" in self.path:
                raise _RefusedError(
                    403 if given else 401, "GatedRepo", f"Access to {name} is restricted"
                )
            return repository

        def _revision(self, repository: Repository, name: str) -> dict[str, bytes]:
            if name not in repository.commits:
                raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {name}")
            self.sha = repository.commits[name]
            return repository.revisions[self.sha]

        def _send_api(self, kind: str, name: str, repository: Repository, rest: str) -> None:
            what, _, place = rest.removeprefix("/").partition("/")
            revision, _, folder = place.partition("/")
            files = self._revision(repository, unquote(revision) or "main")
            folder = unquote(folder)
            if what in ("", "revision"):
                found: Any = {
                    "id": name,
                    "sha": self.sha,
                    "private": repository.private,
                    "gated": "manual" if repository.gated else False,
                    "tags": [],
                    "downloads": 0,
                    "siblings": [{"rfilename": each} for each in sorted(files)],
                }
            elif what == "tree":
                found = _tree(files, folder, recursive="recursive=True" in self.path)
                if folder and not found:
                    raise _RefusedError(404, "EntryNotFound", f"{folder} does not exist")
            elif what == "paths-info":
                asked = [each.strip("/") for each in self.form.get("paths", [])]
                found = [each for each in _tree(files, "", recursive=True) if each["path"] in asked]
            else:
                raise _RefusedError(404, "", "no such endpoint")
            self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

        def _send_resolved(self, name: str, content: bytes) -> None:
            if not name.endswith(LARGE):
                etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
                return self._send_file(content, {"ETag": f'"{etag}"', "X-Repo-Commit": self.sha})
            etag = hashlib.sha256(content).hexdigest()
            hub.blobs[etag] = content
            elsewhere = hub.url.replace("127.0.0.1", "localhost")
            return self._send(
                302,
                b"Found",
                {
                    "Location": f"{elsewhere}/cdn/{etag}",
                    "X-Repo-Commit": self.sha,
                    "X-Linked-Etag": f'"{etag}"',
                    "X-Linked-Size": str(len(content)),
                },
            )

        def _send_file(self, content: bytes, headers: dict[str, str]) -> None:
            headers = {**headers, "Accept-Ranges": "bytes"}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked is None or hub.ignores_ranges:
                return self._send(200, content, headers)
            start = int(asked[1])
            hub.ranges.append(start)
            stop = int(asked[2]) + 1 if asked[2] else len(content)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            return self._send(206, content[start:stop], headers)

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if self.fault is None or self.fault.cut_after is None:
                self.wfile.write(body)
            else:
                self.wfile.write(body[: self.fault.cut_after])
                self.wfile.flush()
                time.sleep(self.fault.stall_s)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


def _tree(files: Mapping[str, bytes], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for name, content in sorted(files.items()):
        if not name.startswith(prefix):
            continue
        parts = name.removeprefix(prefix).split("/")
        for depth in range(1, len(parts)):
            inner = prefix + "/".join(parts[:depth])
            oid = hashlib.sha1(inner.encode(), usedforsecurity=False).hexdigest()
            if recursive or depth == 1:
                found[inner] = {"type": "directory", "oid": oid, "size": 0, "path": inner}
        if recursive or len(parts) == 1:
            oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            found[name] = {"type": "file", "oid": oid, "size": len(content), "path": name}
            if name.endswith(LARGE):
                sha256 = hashlib.sha256(content).hexdigest()
                found[name]["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return list(found.values())


# The libraries keep the endpoint and the cache's place in constants of their own.
def live_in(home: Path, endpoint: str, monkeypatch: Any) -> None:
    """From here on this process' hub is `endpoint`, and its cache is in `home`."""
    import datasets.config
    from huggingface_hub import constants, file_download, hf_api, hf_file_system
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(hf_api.api, "endpoint", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", str(home / "downloads"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    hf_file_system.HfFileSystem.clear_instance_cache()
    _http.reset_sessions()
