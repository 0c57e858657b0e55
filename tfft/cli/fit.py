"""`tfft fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.errors import ConfigError


@click.command()
@config_options("data", "model", "train")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run's folder.  [runs/<data>-<n>]",
)
@click.option("--overwrite", is_flag=True, help="Replace the run's folder if it is there.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A run.toml to start from; flags go first.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="SECTION.OPTION=VALUE",
    help="Any option by its place in a run.toml, such as train.epochs=1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json.")
@verb
def fit(
    options: dict[str, Any],
    output: Path | None,
    overwrite: bool,
    config: Path | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train, evaluate on validation after each epoch, keep the best, save.

    \b
    Examples:
      tfft fit --data builtin/acceptability
      tfft fit --data glue/cola --model bert-base-cased --epochs 3
      tfft fit --data reviews.csv --text-column review --label-column stars
      tfft fit --config runs/reviews-1/run.toml --set train.seed=43
    """
    from tfft.api import merge_options

    merged = merge_options(options, config=config, assignments=assignments)
    if not merged.data.source:
        raise ConfigError("missing option '--data': what to learn from", options=["data.source"])
    from tfft import runs
    from tfft.cli.show import console_progress, figures_line
    from tfft.folders import shown

    with console_progress() as progress:
        result = runs.fit(merged, output=output, overwrite=overwrite, progress=progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    click.echo(figures_line("validation", result.validation))
    click.echo(f"best epoch {result.best_epoch}, saved in {shown(result.output)}")
