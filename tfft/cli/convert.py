"""`tfft convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfft.cli.options import config_options, verb
from tfft.config import choose_options
from tfft.heads import FRAMEWORKS, HEADS
from tfft.results import ConvertResult


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--to",
    type=click.Choice(FRAMEWORKS),
    required=True,
    help="pytorch writes model.safetensors, which transformers 5 reads; tensorflow tf_model.h5.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where to write config, weights and tokenizer files.",
)
@click.option(
    "--head",
    type=click.Choice(list(HEADS)),
    metavar="NAME",
    help=f"The class to take it for: {', '.join(HEADS)}.  [what the config's architectures name]",
)
@config_options(choose_options("model.allow_pickle"))
@click.option("--overwrite", is_flag=True, help="Replace DIR if a verb of tfft wrote it.")
@click.option("--json", "as_json", is_flag=True, help="Print what was compared as JSON.")
@verb
def convert(
    source: str,
    to: str,
    output: Path,
    head: str | None,
    options: dict[str, Any],
    overwrite: bool,
    as_json: bool,
) -> None:
    """The same model for the other framework, compared before it is called done.

    SOURCE is a run's folder, a checkpoint of either framework (safetensors, tf_model.h5, or a
    weights file of Keras beside a config.json), or a hub id.

    \b
    Example:
      tfft convert runs/acceptability-1 --to tensorflow --output acceptability-tf
    """
    from tfft import runs
    from tfft.cli.show import console_progress

    with console_progress() as progress:
        result = runs.convert(
            source,
            to=to,
            output=output,
            head=head,
            overwrite=overwrite,
            progress=progress,
            **options,
        )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    for line in _lines(result):
        click.echo(line)


def _lines(result: ConvertResult) -> list[str]:
    lines = [
        f"{result.architecture} for {result.to} in {result.output}: {result.n_tensors} tensors, "
        f"{result.n_parameters:,} parameters, each the same to the bit when read again"
    ]
    if result.left_out:
        lines.append(
            f"left out, since {result.architecture} has no place for them: "
            f"{', '.join(result.left_out)}"
        )
    if result.largest_difference is None:
        lines.append(
            "PyTorch isn't installed: names and shapes were compared, and what TensorFlow reads "
            'again; the logits weren\'t. With pip install "tfft[torch]" they are'
        )
    else:
        lines.append(
            f"logits of {result.n_sequences} texts: TensorFlow's and PyTorch's differ by "
            f"{result.largest_difference:.2g} at most (the largest is {result.largest_output:.3g}, "
            f"the tolerance {result.tolerance:g})"
        )
    return lines
