"""`tfft evaluate`."""

from __future__ import annotations

import json
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import DataConfig

# A saved model knows these.
LEARNED = ("task", "train_split", "validation_split", "limit_train", "limit_validation")


@click.command()
@click.argument("model", metavar="DIR")
@config_options("data", leave_out=LEARNED, required=("data",))
@click.option(
    "--split",
    default=DataConfig.validation_split,
    metavar="NAME",
    help=f"The split to evaluate on.  [{DataConfig.validation_split}]",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=16, metavar="N", help="Rows a step.  [16]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@verb
def evaluate(
    model: str, options: dict[str, Any], split: str, batch_size: int, as_json: bool
) -> None:
    """The metrics of DIR, a run's folder or a checkpoint, on a split that has labels.

    \b
    Example:
      tfft evaluate runs/acceptability-1 --data builtin/acceptability
    """
    from tfft.api import merge_options

    data = merge_options(options).data
    from tfft import runs
    from tfft.cli.show import console_progress, figures_line

    with console_progress() as progress:
        result = runs.evaluate(model, data, split=split, batch_size=batch_size, progress=progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    else:
        click.echo(figures_line(result.split, result.figures))
