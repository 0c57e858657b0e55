"""`tfft export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import export_options
from tfft.results import ExportResult, FormatCheck


@click.command()
@click.argument("model", metavar="DIR")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="BUNDLE",
    help="The bundle's folder; the versions that it has stay.",
)
@config_options(export_options())
@click.option("--json", "as_json", is_flag=True, help="Print check.json.")
@verb
def export(model: str, output: Path, options: dict[str, Any], as_json: bool) -> None:
    """A SavedModel that takes raw text, in TensorFlow's own ops, proved before it is handed over.

    DIR is a run's folder, a checkpoint with a trained head, or a hub id. A clean process with
    TensorFlow alone compares the bundle with the live model on the run's own data; one that fails
    isn't left behind.

    \b
    Example:
      tfft export runs/acceptability-1 --output bundles/acceptability
    """
    from tfft.api import merge_export

    config, asked = merge_export(options)
    from tfft import runs
    from tfft.cli.show import console_progress

    with console_progress() as progress:
        result = runs.export(model, config, asked, output=output, progress=progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    lines = _lines_of(result, output) if isinstance(result, FormatCheck) else _lines(result)
    for line in lines:
        click.echo(line)


def _lines_of(check: FormatCheck, output: Path) -> list[str]:
    kind = check.quantize or "float32"
    latency = ", ".join(f"{ms:.1f} ms for {size}" for size, ms in check.latency_ms.items())
    return [
        f"{check.format} ({kind}) in {output}: {check.n_bytes / 1e6:.1f} MB",
        *_changed(check, "the format"),
        f"a warm call: {latency}",
    ]


def _changed(check: FormatCheck, by: str) -> list[str]:
    changes = ", ".join(
        f"{name} {check.live_metrics[name]:.4f} {change:+.4f}"
        for name, change in check.metric_changes.items()
    )
    return [
        f"logits of {check.n_texts:,} texts: they differ from the live model's by "
        f"{check.largest_difference:.2g} at most (the largest is {check.largest_logit:.3g}, the "
        f"tolerance {check.tolerance:.2g})",
        *([f"the live model's metrics, and what {by} changes: {changes}"] if changes else []),
    ]


def _lines(result: ExportResult) -> list[str]:
    latency = result.latency
    batches = ", ".join(f"{latency[f'batch_{size}_ms']:.1f} ms for {size}" for size in (1, 8, 32))
    n_texts = next(iter(result.found["answers"].values()))["n_texts"]
    lines = [
        f"version {result.version} in {result.output} ({result.n_bytes / 1e6:.1f} MB): "
        f"{', '.join(result.found['signatures'])}",
        f"scores of {n_texts:,} texts: the bundle's and the live model's differ by "
        f"{result.largest_difference:.2g} at most (the tolerance is {result.tolerance:.3g})",
        *(_changed(result.small, f"{result.small.quantize}") if result.small else ()),
        f"{len(result.found['ops'])} ops, all of TensorFlow itself ({result.found['tensorflow']})",
        f"loaded in {latency['cold_load_s']:.1f} s, first call {latency['first_call_s']:.1f} s, "
        f"then {batches}",
    ]
    if result.tokenizer is None:
        lines.insert(1, f"no signature for texts: {result.why_no_text}")
    else:
        counts = (
            f"{count:,} {name.removeprefix('n_').replace('_', ' ')}"
            for name, count in result.tokenizer.items()
        )
        lines.insert(1, f"tokens in the graph are the tokenizer's own: {', '.join(counts)}")
    return lines
