"""Raw text to scores: a bundle against transformers' pipelines, side by side.

    settings = Settings(data=("builtin/acceptability",), model="runs/cola")
    document = measure(Path("bundle"), settings, work=Path("work"), tell=print)

One process each; they take turns. What each says of the first texts is compared before it is timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import Settings, Tell, environ_of
from benchmarks.figures import Figure, paired_ratio, show, show_spread, table
from benchmarks.machine import about
from benchmarks.processes import Child, ChildError

BUNDLE, TOKENIZER = "bundle", "tokenizer in the graph"
# By name: the framework whose environment it has, the case, and what its job has beside the rest.
PATHS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    BUNDLE: ("tensorflow", "texts_bundle", {}),
    TOKENIZER: ("tensorflow", "texts_tokenizer", {}),
    "pipeline, PyTorch": ("torch", "texts_pipeline", {"framework": "pt"}),
    "pipeline, TensorFlow": ("tensorflow", "texts_pipeline", {"framework": "tf"}),
}
# transformers' pipelines ask for torch, TensorFlow's too.
BOTH = {"USE_TORCH": "AUTO", "USE_TF": "AUTO"}
SIZES = (1, 32)
# Float32, summed up in another order.
TOLERANCE = 1e-4


def measure(bundle: Path, settings: Settings, *, work: Path, tell: Tell) -> dict[str, Any]:
    """The milliseconds of a warm call, one median a round for each path and size.

    Args:
        settings: `model` is the run or the checkpoint that the bundle was made of.

    Raises:
        ChildError: a path can't be measured, or says something else than the bundle.
    """
    document: dict[str, Any] = {"machine": about(), "settings": asdict(settings), "data": {}}
    for rows, folder in settings.rows(work):
        job = {"data": rows.folder, "model": settings.model, "bundle": str(bundle)}
        with ExitStack() as stack:
            children, said = {}, {}
            for name, (framework, case, more) in PATHS.items():
                threads = {framework: settings.threads}
                child = Child.start(
                    case,
                    {**job, **more},
                    log=folder / f"{name}.log",
                    environ=environ_of(framework, threads, folder / "cache")
                    | (BOTH if more.get("framework") == "tf" else {}),
                )
                children[name] = stack.enter_context(child)
                said[name] = child.hear()["scores"]
                tell(f"{rows.name}: {name} is loaded")
            _check(said)
            document["data"][rows.name] = [_round(children) for _ in range(settings.rounds)]
    return document


def _check(said: Mapping[str, Any]) -> None:
    """Raises:
    ChildError: they aren't the same model's.
    """
    for name, scores in said.items():
        if scores is None:
            continue
        apart = np.abs(np.array(scores) - np.array(said[BUNDLE])).max()
        if not apart <= TOLERANCE:
            raise ChildError(f"{name}: its scores are {apart:.1e} from the bundle's")


def _round(children: Mapping[str, Child]) -> dict[str, dict[str, float]]:
    return {
        str(size): {name: child.ask(size=size)["ms"] for name, child in children.items()}
        for size in SIZES
    }


def markdown(document: Mapping[str, Any]) -> str:
    parts = [
        "# Raw text to scores",
        "A warm call of 1 and of 32 texts; how often the bundle answers while a path answers once.",
    ]
    for data, rounds in document["data"].items():
        rows = []
        for name in PATHS:
            row = [name]
            for size in map(str, SIZES):
                taken = [each[size][name] for each in rounds]
                ratio = paired_ratio(taken, [each[size][BUNDLE] for each in rounds])
                row += [show(Figure.of(taken), ",.2f"), show(ratio, ".2f")]
                row.append(show_spread(ratio, ".2f"))
            rows.append(row)
        header = ["path"]
        for size in SIZES:
            header += [f"ms, {size}", "÷ bundle", "least to most"]
        parts += [f"## {data}", table(header, rows)]
    return "\n\n".join(parts) + "\n"
