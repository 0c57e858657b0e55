"""What `compare` measured -> Markdown; pure.

markdown(json.loads(Path("bench.json").read_text()))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.figures import (
    NOTHING,
    Figure,
    paired_ratio,
    seconds_to,
    show,
    show_spread,
    table,
)

# The load average a core from which figures are not to be trusted.
BUSY = 0.4
FORMULA = (
    "GFLOP/s: 6 × weights without embeddings × tokens trained on, and 2 × of tokens evaluated, "
    "padding included, by the seconds of a whole epoch. Attention's own products aren't counted."
)


def markdown(document: Mapping[str, Any]) -> str:
    parts = ["# Benchmark", _machine(document)]
    settings = document["settings"]
    for name, each in document["data"].items():
        parts.append(_data_line(name, each["rows"], settings))
        if each["input"]:
            parts += ["### Input pipeline alone", input_table(each["input"])]
        if each["paths"]:
            peak = document["probe"]["peak_gflops"]
            parts += [
                "### Training: whole epochs with their evaluation",
                epoch_table(each, settings, peak),
                FORMULA,
                "### Start, memory and quality",
                start_table(each, settings),
                *_stages(each["paths"], settings["against"]),
                *_failures(each["paths"]),
            ]
    parts.append(f"Measured in {document['seconds']:,.0f} s.")
    return "\n\n".join(parts) + "\n"


def input_table(inputs: Mapping[str, Any]) -> str:
    rows = []
    for name, each in inputs.items():
        mine = Figure.of(each["rates"])
        ratios = [
            paired_ratio(each["rates"], inputs[other]["rates"]) if other in inputs else None
            for other in ("tfft-prepare", "tutorial-prepare")
        ]
        rows.append(
            (
                *(name, show(mine, ",.0f"), show_spread(mine, ",.0f"), _padding(each["tokens"])),
                *map(_times, ratios),
            )
        )
    header = (
        "loader",
        "examples/s",
        "least to most",
        "padding",
        "÷ tfft-prepare",
        "÷ tutorial-prepare",
    )
    return table(header, rows)


def epoch_table(data: Mapping[str, Any], settings: Mapping[str, Any], peak: float | None) -> str:
    against, n_rows = settings["against"], data["rows"]["n_train"]
    base = data["paths"].get(against, {"epochs": []})["epochs"]
    rows = []
    for name, each in _measured(data["paths"]):
        rates = Figure.of([n_rows / seconds for seconds in each["epochs"]])
        speed = gflops(each)
        rows.append(
            (
                name,
                show(rates),
                show_spread(rates),
                _times(paired_ratio(each["epochs"], base), spread=True),
                show(Figure.of(each["epochs"])),
                _padding(each["about"]["train_tokens"]),
                show(speed, ",.0f"),
                NOTHING if speed is None or peak is None else f"{speed / peak:.0%}",
                show(Figure.of(each["waits"]), ".1%"),
            )
        )
    header = (
        *("path", "examples/s", "least to most", f"{against} is faster by", "s an epoch"),
        *("padding", "GFLOP/s", "of peak", "waits for input"),
    )
    return table(header, rows)


def start_table(data: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    metric, quality = settings["metric"], settings["quality"]
    rows = []
    for name, each in _measured(data["paths"]):
        metrics = [figures.get(metric) for figures in each["metrics"]]
        reached = None
        if metrics:
            first = Figure.of(each["starts"]).median + each["first_epoch"]
            reached = seconds_to(quality, metrics, [first, *each["epochs"]])
        known = [value for value in metrics if value is not None]
        rows.append(
            (
                name,
                show(Figure.of(each["fits"])),
                show(Figure.of(each["starts"])),
                show(Figure.of(each["agains"])),
                show(each["anonymous_mib"] or None, ",.0f"),
                show(each["peak_mib"] or None, ",.0f"),
                show(each["gpu_peak_mib"], ",.0f"),
                show(max(known) if known else None, ".3f"),
                show(reached),
            )
        )
    header = (
        *("path", "fit to step 1, s", "data to step 1, s", "again, s"),
        *("anonymous MiB", "peak MiB", "GPU MiB", f"best {metric}", f"s to {quality:g}"),
    )
    return table(header, rows)


def gflops(measured: Mapping[str, Any]) -> float | None:
    """The median epoch's arithmetic by its time."""
    seconds: Figure | None = Figure.of(measured["epochs"])
    about = measured["about"]
    if seconds is None:
        return None
    passes = 6 * about["train_tokens"]["padded"] + 2 * about["validation_tokens"]["padded"]
    return float(about["body_size"] * passes / seconds.median / 1e9)


def _machine(document: Mapping[str, Any]) -> str:
    machine, probe, settings = (document[key] for key in ("machine", "probe", "settings"))
    versions = ", ".join(f"{name} {each}" for name, each in machine["versions"].items())
    gpus = "; ".join(machine["gpus"]) or "no GPU"
    threads = ", ".join(
        f"{name} {'default' if each is None else each} (of {', '.join(probe['tried'][name])})"
        for name, each in probe["threads"].items()
    )
    peaks = ", ".join(
        f"{name} {max(each['gflops'] for each in tried.values()):,.0f} GFLOP/s"
        for name, tried in probe["tried"].items()
    )
    return "\n".join(
        (
            f"- machine: {machine['cpu']}, {machine['cores']} cores, "
            f"{machine['memory_gib']:g} GiB; {gpus}; load {machine['load_average']:.1f} before",
            f"- versions: Python {machine['python']}, {versions}",
            f"- threads: {threads}",
            f"- matrix product, float32: {peaks}",
            f"- model: {settings['model']}; {settings['rounds']} rounds, seed {settings['seed']}",
            *_warnings(machine),
        )
    )


def _warnings(machine: Mapping[str, Any]) -> list[str]:
    if machine["load_average"] < BUSY * machine["cores"]:
        return []
    return [
        "- **the machine was busy with other work**: figures are low, PyTorch's most of all, whose "
        "threads wait for each other in a loop"
    ]


def _data_line(name: str, rows: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    return (
        f"## {name}\n\n{rows['n_train']:,} rows to train on, {rows['n_validation']:,} to evaluate; "
        f"batches of {settings['batch_size']}, at most {settings['max_length']} tokens."
    )


def _stages(paths: Mapping[str, Any], name: str) -> list[str]:
    """Where the time before a fit's first step went, the first time and the second."""
    each = paths.get(name)
    if not each or not each["stages"]:
        return []
    lines = [
        f"- {what}: {', '.join(f'{stage} {seconds:.1f} s' for stage, seconds in lasted)}"
        for what, lasted in (
            ("first fit", stage_seconds(each["stages"], each["starts"][-1])),
            ("again", stage_seconds(each["stages_again"], (each["agains"] or [0.0])[-1])),
        )
        if lasted
    ]
    return [f"What `{name}` does before its first step ends:", "\n".join(lines)]


def stage_seconds(stages: list[tuple[str, float]], end: float) -> list[tuple[str, float]]:
    """How long each stage lasted, from when each began."""
    ends = [*(began for _, began in stages[1:]), end]
    return [(name, over - began) for (name, began), over in zip(stages, ends, strict=True)]


def _failures(paths: Mapping[str, Any]) -> list[str]:
    lines = [f"- {name}: {each['why_not']}" for name, each in paths.items() if each["why_not"]]
    return ["Not measured:", "\n".join(lines)] if lines else []


def _measured(paths: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, each) for name, each in paths.items() if each["about"]]


def _padding(tokens: Mapping[str, int]) -> str:
    return f"{1 - tokens['real'] / tokens['padded']:.0%}"


def _times(ratio: Figure | None, *, spread: bool = False) -> str:
    if ratio is None:
        return NOTHING
    around = f" ({show_spread(ratio, '.2f')})" if spread and ratio.n > 1 else ""
    return f"{ratio.median:,.2f}×{around}"
