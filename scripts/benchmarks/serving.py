"""`tfft serve` under load: micro-batching on and off, side by side, then many requests, some bad.

document = measure(Path("bundle"), LoadSettings(), work=Path("work"), tell=print)

Both servers run, one of them works at a time. Only 127.0.0.1 is asked.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.figures import Figure, paired_ratio, show, show_spread, table
from benchmarks.load import Measured, Shot, fire
from benchmarks.machine import about
from benchmarks.processes import SCRIPTS, ChildError

Tell = Callable[[str], None]
HOST = "127.0.0.1"
MODES: Mapping[str, tuple[str, ...]] = {"with": (), "without": ("--no-batching",)}
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0
# A text's scores may differ with its neighbours: float32 sums in another order.
TOLERANCE = 1e-4
PERCENTILES = (0.5, 0.95, 0.99)
# One in so many of the long run's requests is bad.
BAD_EVERY = 10


@dataclass(frozen=True)
class LoadSettings:
    """How long, and with how many clients.

    Attributes:
        seconds: of each reading, one a round for each number of clients and each mode.
        n_requests: of the long run.
    """

    clients: tuple[int, ...] = (1, 4, 16)
    rounds: int = 3
    seconds: float = 3.0
    n_requests: int = 10_000
    n_texts: int = 200
    limit_s: float = 300.0


@dataclass(frozen=True)
class Server:
    name: str
    version: int
    port: int


def measure(bundle: Path, settings: LoadSettings, *, work: Path, tell: Tell) -> dict[str, Any]:
    """Every reading, and the long run.

    Raises:
        ChildError: a server doesn't start, or doesn't take texts.
    """
    rounds: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = {
            mode: stack.enter_context(serving(bundle, arguments, log=work / f"{mode}.log"))
            for mode, arguments in MODES.items()
        }
        tell("both servers listen")
        examples = read_examples(settings.n_texts, inputs_of(servers["with"]))
        good = {mode: good_shots(server, examples) for mode, server in servers.items()}
        for number in range(settings.rounds):
            rounds.append(_round(servers, good, settings))
            tell(f"round {number + 1} of {settings.rounds}")
        tell(f"{settings.n_requests:,} requests, one in {BAD_EVERY} of them bad")
        soak = _soak(servers["with"], good["with"], settings)
    return {
        "machine": about(),
        "bundle": bundle.name,
        "settings": asdict(settings),
        "rounds": rounds,
        "soak": soak,
    }


def _round(
    servers: Mapping[str, Server], good: Mapping[str, Sequence[Shot]], settings: LoadSettings
) -> dict[str, Any]:
    """Each number of clients, each mode in turn."""
    return {
        str(n_clients): {
            mode: _summary(
                fire(HOST, server.port, good[mode], n_clients=n_clients, seconds=settings.seconds)
            )
            for mode, server in servers.items()
        }
        for n_clients in settings.clients
    }


def _soak(server: Server, good: Sequence[Shot], settings: LoadSettings) -> dict[str, Any]:
    shots = mixed(good, bad_shots(server))
    measured = fire(
        HOST,
        server.port,
        shots,
        n_clients=max(settings.clients),
        seconds=settings.limit_s,
        n_requests=settings.n_requests,
    )
    return {**_summary(measured), "kinds": measured.counts, "wrong_ones": measured.wrong[:10]}


def _summary(measured: Measured) -> dict[str, Any]:
    if not measured.latencies_s:
        raise ChildError(f"no request was answered: {measured.wrong[0]}")
    return {
        "n_requests": sum(measured.counts.values()),
        "seconds": measured.seconds,
        "requests_per_s": measured.per_s,
        "milliseconds": {
            f"p{round(100 * each)}": measured.percentile(each) for each in PERCENTILES
        },
        "n_wrong": len(measured.wrong),
    }


@contextmanager
def serving(bundle: Path, arguments: Sequence[str], *, log: Path) -> Iterator[Server]:
    """`tfft serve` in a process of its own, until the block ends."""
    paths = [str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfft", "serve", str(bundle), "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    timer = threading.Timer(START_TIMEOUT_S, process.kill)
    timer.start()
    try:
        yield _listening(process, log)
    finally:
        timer.cancel()
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _listening(process: subprocess.Popen[str], log: Path) -> Server:
    """Waits for the line that says so; what comes after it goes into the log."""
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"serving (\S+), version (\d+), on http://[\d.]+:(\d+)", line)
    if found is None:
        raise ChildError(line.strip() or "the server ended before it listened")
    stream = process.stderr
    threading.Thread(target=lambda: log.write_text(stream.read()), daemon=True).start()
    return Server(found[1], int(found[2]), int(found[3]))


def inputs_of(server: Server) -> list[str]:
    """What its default signature takes.

    Raises:
        ChildError: no texts.
    """
    url = f"http://{HOST}:{server.port}/v1/models/{server.name}/metadata"
    with urlopen(url, timeout=30) as answer:
        document = json.load(answer)
    signatures = document["metadata"]["signature_def"]["signature_def"]
    names = sorted(signatures["serving_default"]["inputs"])
    if names not in (["text"], ["text", "text_pair"]):
        raise ChildError(f"{server.name} takes {', '.join(names)}, and this sends texts")
    return names


def read_examples(n_texts: int, names: Sequence[str]) -> list[dict[str, str]]:
    """Sentences of builtin/acceptability; the same ones every time."""
    path = SCRIPTS.parent / "tfft" / "builtin" / "acceptability" / "validation.csv"
    with path.open(newline="") as lines:
        texts = [row["sentence"] for row in csv.DictReader(lines)][:n_texts]
    return [dict.fromkeys(names, text) for text in texts]


def good_shots(server: Server, examples: Sequence[Mapping[str, str]]) -> list[Shot]:
    """A request an example; its answer must be the one that it gets when it is asked alone."""
    shots = [Shot.predict(server.name, {"instances": [each]}) for each in examples]
    answers: list[bytes] = []

    def keep(body: bytes) -> bool:
        answers.append(body)
        return True

    alone = [Shot(each.kind, each.data, each.status, keep) for each in shots]
    measured = fire(
        HOST, server.port, alone, n_clients=1, seconds=START_TIMEOUT_S, n_requests=len(alone)
    )
    if measured.wrong:
        raise ChildError(f"a text isn't answered: {measured.wrong[0]}")
    return [
        Shot(shot.kind, shot.data, shot.status, _same_as(answer))
        for shot, answer in zip(shots, answers, strict=True)
    ]


def _same_as(expected: bytes) -> Callable[[bytes], bool]:
    (wanted,) = json.loads(expected)["predictions"]

    def right(body: bytes) -> bool:
        if body == expected:
            return True
        rows = json.loads(body).get("predictions", [])
        return len(rows) == 1 and _near(rows[0], wanted)

    return right


def _near(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_near(one[each], other[each]) for each in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_near, one, other))
    # The label follows from the scores, and two that are alike may change places.
    return isinstance(one, str) or abs(one - other) <= TOLERANCE


def bad_shots(server: Server) -> list[Shot]:
    """What must be answered by an error, and do no harm to others."""
    path = f"/v1/models/{server.name}"

    def bad(kind: str, body: bytes, status: int | None = 400, where: str = path) -> Shot:
        return Shot.post(kind, f"{where}:predict", body, status=status, right=_is_error)

    long = b'{"instances":["' + b"a" * 10 * 2**20 + b'"]}'
    return [
        bad("not JSON", b"{instances"),
        bad("a number for a text", b'{"instances":[1]}'),
        bad("an empty list", b'{"instances":[]}'),
        bad("a wrong key", b'{"instance":["a"]}'),
        bad("not UTF-8", b'{"instances":["\xff"]}'),
        bad("an unknown signature", b'{"signature_name":"no","instances":["a"]}'),
        bad("a version that isn't there", b'{"instances":["a"]}', 404, f"{path}/versions/999"),
        Shot.post("a client that goes away", f"{path}:predict", b'{"inputs":["a"]}', status=None),
        Shot("half a request", f"POST {path}:predict HTTP/1.1\r\nHost: a\r\n".encode(), None),
        bad("10 MiB", long, 413),
    ]


def _is_error(body: bytes) -> bool:
    return set(json.loads(body)) == {"error"}


def mixed(good: Sequence[Shot], bad: Sequence[Shot]) -> list[Shot]:
    """All of them, a bad one after every `BAD_EVERY - 1` good ones."""
    shots: list[Shot] = []
    for number, shot in enumerate(bad * -(-len(good) // (len(bad) * (BAD_EVERY - 1)))):
        start = number * (BAD_EVERY - 1)
        shots += [good[each % len(good)] for each in range(start, start + BAD_EVERY - 1)]
        shots.append(shot)
    return shots


def markdown(document: Mapping[str, Any]) -> str:
    rows = []
    for clients in document["rounds"][0]:
        each_round = [one[clients] for one in document["rounds"]]
        per_s = {mode: [one[mode]["requests_per_s"] for one in each_round] for mode in MODES}
        ratio = paired_ratio(per_s["with"], per_s["without"])
        ms = {mode: _milliseconds([one[mode] for one in each_round]) for mode in MODES}
        wrong = sum(one[mode]["n_wrong"] for one in each_round for mode in MODES)
        rows.append(
            (
                clients,
                *(show(Figure.of(per_s[mode])) for mode in MODES),
                show(ratio, ".2f"),
                show_spread(ratio, ".2f"),
                *ms.values(),
                str(wrong),
            )
        )
    header = (
        *("clients", "requests/s with", "without", "ratio", "least to most"),
        *("ms with (p50, p95, p99)", "without", "wrong"),
    )
    soak = document["soak"]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(soak["kinds"].items()))
    parts = [
        f"# tfft serve, {document['bundle']}: with micro-batching and without",
        table(header, rows),
        f"{soak['n_requests']:,} requests in {soak['seconds']:.0f} s, {soak['n_wrong']:,} answered "
        f"otherwise than they should be: {kinds}.",
        *(f"- {each}" for each in soak["wrong_ones"]),
    ]
    return "\n\n".join(parts) + "\n"


def _milliseconds(rounds: Sequence[Mapping[str, Any]]) -> str:
    names = rounds[0]["milliseconds"]
    figures = (Figure.of([each["milliseconds"][name] for each in rounds]) for name in names)
    return ", ".join(show(each) for each in figures)
