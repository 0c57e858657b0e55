"""`tfft evaluate`."""

from __future__ import annotations

import json
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import DataConfig, evaluate_options


@click.command()
@click.argument("model", metavar="DIR")
@config_options(evaluate_options(), required=("data",))
@click.option(
    "--split",
    default=DataConfig.validation_split,
    metavar="NAME",
    help=f"The split to evaluate on; of MNLI, both validation splits.  "
    f"[{DataConfig.validation_split}]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@verb
def evaluate(model: str, options: dict[str, Any], split: str, as_json: bool) -> None:
    """The metrics of DIR, a run's folder or a checkpoint, on a split that has labels.

    DIR may be a hub id too. Labels are matched by name.

    \b
    Example:
      tfft evaluate runs/acceptability-1 --data builtin/acceptability
    """
    from tfft.api import merge_options

    config = merge_options(options)
    from tfft import runs
    from tfft.cli.show import console_progress, figures_line

    with console_progress() as progress:
        result = runs.evaluate(model, config, split=split, progress=progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    else:
        for name, figures in {result.split: result.figures, **result.more}.items():
            click.echo(figures_line(name, figures))
