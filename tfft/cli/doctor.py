"""`tfft doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import groupby

import click

import tfft
from tfft.cli.options import verb
from tfft.doctor.findings import STATES, Finding
from tfft.errors import TfftError, listed

COLOURS = {"ok": "green", "note": "cyan", "optional": "cyan", "warning": "yellow", "error": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@verb
def doctor(as_json: bool) -> None:
    """Versions, devices, what is missing and the line that installs it.

    Exit code 1 says that something needed is missing or broken. Nothing is asked of the network.

    \b
    Example:
      tfft doctor
    """
    from tfft.doctor import examine

    if sys.stderr.isatty():
        click.echo("importing TensorFlow ...", err=True)
    report = examine()
    if as_json:
        told = {"tfft": tfft.__version__, **report.to_json()}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(report.findings)
    if not report.is_ready:
        n_faults = len(report.to_mend)
        names = listed(each.name for each in report.to_mend)
        things = "thing" if n_faults == 1 else "things"
        raise TfftError(f"{n_faults} {things} to mend: {names}")


def _show(findings: Sequence[Finding]) -> None:
    """A line a finding, aligned, and below it the line that mends it."""
    click.echo(f"tfft {tfft.__version__}")
    states = max(map(len, STATES))
    names = max(len(each.name) for each in findings)
    for area, group in groupby(findings, key=lambda each: each.area):
        click.echo(f"\n{area}")
        for each in group:
            state = click.style(f"{each.state:<{states}}", fg=COLOURS[each.state])
            click.echo(f"  {state}  {each.name:<{names}}  {each.message}")
            if each.command:
                click.echo(f"  {'':<{states}}  {'':<{names}}  try: {each.command}")
