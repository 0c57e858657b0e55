"""Memory against rows: each loader on a small and on a large file, every batch read, then steps.

for line in memory((100_000, 2_000_000), loaders=("bucketed",), ...): print(line)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare import environ_of
from benchmarks.data import write_reviews
from benchmarks.figures import table
from benchmarks.processes import Child

# Short, so that a step is small beside the data, which is what is measured.
MAX_LENGTH = 64
LONGEST_WORDS = 100


def measure(n_rows: int, loader: str, *, model: str, n_steps: int, work: Path) -> dict[str, Any]:
    """Anonymous memory (RssAnon) in MiB after each phase, and the seconds that it took.

    Raises:
        ChildError: it can't be measured.
    """
    path = work / f"{n_rows}.csv"
    if not path.exists():
        write_reviews(path, n_rows, longest=LONGEST_WORDS)
    job = {
        "data": str(path),
        "model": model,
        "loader": loader,
        "max_length": MAX_LENGTH,
        "n_steps": n_steps,
    }
    environ = environ_of("tensorflow", {}, work / f"cache-{loader}-{n_rows}")
    log = work / f"{loader}-{n_rows}.log"
    with Child.start("memory", job, log=log, environ=environ) as child:
        phases = [child.hear(), *(child.ask(go="on") for _ in range(3))]
    names = ("model", "tokens", "batches", "steps")
    return {
        "n_rows": n_rows,
        "loader": loader,
        "peak_anonymous_mib": child.peak_anonymous,
        "peak_mib": phases[-1]["peak"],
        **{
            name: {"seconds": phase["seconds"], "anonymous_mib": phase["anonymous"]}
            for name, phase in zip(names, phases, strict=True)
        },
    }


def memory(
    sizes: Sequence[int], loaders: Sequence[str], *, model: str, n_steps: int, work: Path
) -> Iterator[dict[str, Any]]:
    for n_rows in sorted(sizes):
        for loader in loaders:
            yield measure(n_rows, loader, model=model, n_steps=n_steps, work=work)


def markdown(measured: Sequence[dict[str, Any]], *, n_steps: int) -> str:
    """Growth is against the same loader's smallest file."""
    smallest: dict[str, float] = {}
    rows = []
    for each in measured:
        peak = each["peak_anonymous_mib"]
        before = smallest.setdefault(each["loader"], peak)
        phases = [each[name] for name in ("tokens", "batches", "steps")]
        rows.append(
            (
                each["loader"],
                f"{each['n_rows']:,}",
                *(f"{phase['seconds']:,.1f}" for phase in phases),
                f"{each['model']['anonymous_mib']:,.0f}",
                *(f"{phase['anonymous_mib']:,.0f}" for phase in phases),
                f"{peak:,.0f}",
                f"{peak - before:+,.0f}",
            )
        )
    header = (
        *("loader", "rows", "tokens s", "batches s", f"{n_steps} steps s", "model MiB"),
        *("tokens MiB", "batches MiB", "steps MiB", "most MiB", "grown by"),
    )
    told = "Anonymous memory after each phase; mapped files aren't in it."
    return "\n\n".join(("# Memory", told, table(header, rows))) + "\n"
