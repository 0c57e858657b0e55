"""What is reached, not how fast: tfft and Trainer, the same recipe, several seeds.

    document = quality(settings, seeds=(42, 1, 2), epochs=3, work=Path("work"), tell=print)

The recipe is tfft's: Adam at a constant rate, no decay, no clipping, an evaluation each epoch. Each
seed draws another head and another order; the frameworks draw them unlike, so it is the means that
are compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.compare import LEARNING_RATE, Settings, Tell, environ_of
from benchmarks.figures import NOTHING, table
from benchmarks.machine import about
from benchmarks.paths import PATHS
from benchmarks.processes import Child, ChildError

PAIR = ("tfft-bucketed", "trainer-grouped-fused")
# Trainer's own defaults are a falling rate and gradients clipped at 1.
SAME_RECIPE = {"lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 0.0}


def quality(
    settings: Settings, *, seeds: Sequence[int], epochs: int, work: Path, tell: Tell
) -> dict[str, Any]:
    from tfft.pretrained import open_checkpoint
    from tfft.tasks import TASKS

    model = str(open_checkpoint(settings.model, TASKS["single_label"]).folder)
    document: dict[str, Any] = {"machine": about(), "settings": asdict(settings), "data": {}}
    for rows, _ in settings.rows(work):
        job = {
            "data": rows.folder,
            "model": model,
            "n_labels": rows.n_labels,
            "batch_size": settings.batch_size,
            "max_length": settings.max_length,
            "epochs": epochs,
            "learning_rate": LEARNING_RATE,
            "arguments": SAME_RECIPE,
        }
        reached: dict[str, dict[str, list[float]]] = {}
        for seed in seeds:
            for name in settings.paths:
                log = work / f"{name}-{seed}.log"
                try:
                    metrics = _one_run(name, {**job, "seed": seed}, epochs, settings, log)
                except ChildError as error:
                    tell(f"  {name}, seed {seed}: {error}")
                    continue
                reached.setdefault(name, {})[str(seed)] = metrics
                told = ", ".join(f"{each:.3f}" for each in metrics)
                tell(f"  {rows.name}, {name}, seed {seed}: {told}")
        document["data"][rows.name] = {"rows": rows.to_json(), "by_epoch": reached}
    return document


def _one_run(
    name: str, job: Mapping[str, Any], epochs: int, settings: Settings, log: Path
) -> list[float]:
    """The validation metric after each epoch."""
    path = PATHS[name]
    threads = {path.framework: settings.threads}
    environ = environ_of(path.framework, threads, log.parent / "caches" / name)
    whole = {**job, **path.settings, "threads": settings.threads}
    with Child.start(path.case, whole, log=log, environ=environ) as child:
        child.hear()  # the first step
        return [child.ask(go="on")["metrics"][settings.metric] for _ in range(epochs)]


def markdown(document: Mapping[str, Any]) -> str:
    """The best epoch of every seed, and their mean."""
    metric = document["settings"]["metric"]
    parts = ["# Quality", f"The best epoch's `{metric}` on the validation rows, by seed."]
    for name, data in document["data"].items():
        by_epoch = data["by_epoch"]
        seeds = list(next(iter(by_epoch.values()), {}))
        rows = []
        for path, by_seed in by_epoch.items():
            best = [max(by_seed[seed]) if seed in by_seed else None for seed in seeds]
            known = [each for each in best if each is not None]
            cells = [NOTHING if each is None else f"{each:.3f}" for each in best]
            spread = statistics.stdev(known) if len(known) > 1 else None
            rows.append(
                (
                    *(path, *cells, f"{statistics.mean(known):.3f}"),
                    NOTHING if spread is None else f"{spread:.3f}",
                )
            )
        sizes = f"{data['rows']['n_train']:,} rows, {data['rows']['n_validation']:,} to evaluate"
        header = ("path", *(f"seed {seed}" for seed in seeds), "mean", "deviation")
        parts += [f"## {name}", f"{sizes}.", table(header, rows)]
    return "\n\n".join(parts) + "\n"
