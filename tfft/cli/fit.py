"""`tfft fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import choose_options
from tfft.errors import ConfigError


@click.command()
@config_options(choose_options("data", "model", "train"))
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
    help="A run.toml to start from; --set and flags override it.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="SECTION.OPTION=VALUE",
    help="Any option by its place in a run.toml, such as train.epochs=1.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan, and train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json (or the plan) as JSON.")
@verb
def fit(
    options: dict[str, Any],
    output: Path | None,
    overwrite: bool,
    config: Path | None,
    assignments: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train, evaluate on validation after each epoch, keep the best, save.

    \b
    Examples:
      tfft fit --data builtin/acceptability
      tfft fit --data glue/cola --model bert-base-cased --epochs 3
      tfft fit --data reviews.csv --text-column review --label-column stars --dry-run
      tfft fit --data glue/cola --framework pytorch --seed 43
      tfft fit --config runs/reviews-1/run.toml --set train.seed=43
    """
    from tfft.api import merge_options

    merged = merge_options(options, config=config, assignments=assignments)
    if not merged.data.source:
        raise ConfigError("missing option '--data': what to learn from", options=["data.source"])
    from tfft import runs
    from tfft.cli.show import console_progress, figures_line, show_plan
    from tfft.folders import shown

    if dry_run:
        with console_progress() as progress:
            plan = runs.plan(merged, progress=progress)
        if as_json:
            click.echo(json.dumps(plan.to_json(), indent=2, ensure_ascii=False))
        else:
            show_plan(plan)
        return
    with console_progress() as progress:
        result = runs.fit(merged, output=output, overwrite=overwrite, progress=progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    for name, figures in {"validation": result.validation, **result.more_validation}.items():
        click.echo(figures_line(name, figures))
    click.echo(f"best epoch {result.best_epoch}, saved in {shown(result.output)}")
