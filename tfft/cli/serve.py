"""`tfft serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import ServeConfig, options_of


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), metavar="BUNDLE")
@config_options(options_of("serve"))
@verb
def serve(bundle: Path, options: dict[str, Any]) -> None:
    """Serve a bundle of tfft export by TensorFlow Serving's REST contract, with a page to try it.

    BUNDLE's newest version is served until SIGTERM or Ctrl-C; requests under way are answered
    first. For trying out and small deployments.

    \b
    Examples:
      tfft serve cola-bundle
      curl -d '{"instances": ["a fine film"]}' http://127.0.0.1:8501/v1/models/cola-bundle:predict
    """
    config = ServeConfig.from_options(options)
    from tfft.serving import server

    server.serve(bundle, config, ready=lambda told: click.echo(f"serving {told}", err=True))
