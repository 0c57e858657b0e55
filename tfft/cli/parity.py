"""`tfft parity`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import parity_options
from tfft.errors import TfftError


@click.command()
@config_options(parity_options(), required=("data",))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Where to write the figures; a page with the curves comes beside it.  [parity.json]",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE and the page if they are there.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@verb
def parity(options: dict[str, Any], output: Path | None, overwrite: bool, as_json: bool) -> None:
    """The same start and the same batches through TensorFlow and PyTorch, compared.

    Exit code 1 says that they differ by more than the tolerances, and where first.

    \b
    Examples:
      tfft parity --data builtin/acceptability --limit-train 512
      tfft parity --data glue/cola --model bert-base-cased --recipe tutorial
    """
    from tfft.api import merge_parity

    config, asked = merge_parity(options)
    from tfft import runs
    from tfft.cli.show import console_progress, show_parity
    from tfft.folders import shown

    output = output or runs.PARITY_FILE
    with console_progress() as progress:
        result = runs.parity(config, asked, output=output, overwrite=overwrite, progress=progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    else:
        show_parity(result)
        click.echo(f"figures in {shown(output)}, curves in {shown(output.with_suffix('.html'))}")
    if not result.passed:
        raise TfftError(result.verdict)
