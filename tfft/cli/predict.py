"""`tfft predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import predict_options
from tfft.errors import in_line, listed


@click.command()
@click.argument("model", metavar="DIR")
@config_options(predict_options(), required=("data",))
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
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@verb
def predict(
    model: str,
    options: dict[str, Any],
    output: Path,
    split: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a prediction for each row of the data, in its order.

    The columns are id, prediction, score, and a probability for each label. DIR is a run's folder,
    a checkpoint, or a hub id.

    \b
    Example:
      tfft predict runs/acceptability-1 --data texts.csv --output predictions.csv
    """
    from tfft.api import merge_options

    config = merge_options(options)
    from tfft import runs
    from tfft.cli.show import console_progress

    with console_progress() as progress:
        result = runs.predict(
            model,
            config,
            output=output,
            split=split,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    shares = listed(f"{in_line(name)} {count:,}" for name, count in result.counts.items())
    told = f" ({shares})" if shares else ""
    click.echo(f"{result.n_rows:,} rows of {result.split} in {result.output}{told}")
