"""`tfft predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.evaluate import LEARNED
from tfft.cli.options import config_options, verb


@click.command()
@click.argument("model", metavar="DIR")
@config_options("data", leave_out=(*LEARNED, "label_column"), required=("data",))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to write: csv, tsv, jsonl, json or parquet.",
)
@click.option(
    "--split",
    default=None,
    metavar="NAME",
    help="The split to predict.  [test where there is one, else validation]",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=16, metavar="N", help="Rows a step.  [16]"
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@verb
def predict(
    model: str,
    options: dict[str, Any],
    output: Path,
    split: str | None,
    batch_size: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a prediction for each row of the data, in its order.

    The columns are id, prediction, score, and a probability for each label.

    \b
    Example:
      tfft predict runs/acceptability-1 --data texts.csv --output predictions.csv
    """
    from tfft.api import merge_options

    data = merge_options(options).data
    from tfft import runs
    from tfft.cli.show import console_progress

    with console_progress() as progress:
        result = runs.predict(
            model,
            data,
            output=output,
            split=split,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    shares = ", ".join(f"{name} {count:,}" for name, count in result.counts.items())
    click.echo(f"{result.n_rows:,} rows of {result.split} in {result.output} ({shares})")
