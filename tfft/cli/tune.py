"""`tfft tune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import tune_options


@click.command()
@config_options(tune_options(), required=("data",))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The search's folder. Where DIR.partial holds this search, killed, it goes on.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace DIR if it is there, and another search's DIR.partial.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@verb
def tune(options: dict[str, Any], output: Path, overwrite: bool, as_json: bool) -> None:
    """Search the learning rate and other training options, and train the winner.

    Trials are scored on a tenth of train that none of them learns from. The validation split is
    scored once: by the winner, in DIR/best.

    \b
    Examples:
      tfft tune --data builtin/acceptability --output runs/rates
      tfft tune --data glue/cola --output runs/both --learning-rate 1e-5:1e-4 \\
        --space train.batch_size=8,16,32 --tuner bayesian --max-trials 12
      tfft tune --data glue/cola --output runs/range --tuner range
    """
    from tfft.api import merge_tune

    config, asked = merge_tune(options)
    from tfft import runs
    from tfft.cli.show import console_progress, show_tune

    with console_progress() as progress:
        result = runs.tune(config, asked, output=output, overwrite=overwrite, progress=progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    else:
        show_tune(result)
