"""The command line: one file a verb, each loaded when it is called.

    tfft fit --data builtin/acceptability

Nothing here computes: a verb turns flags into a config, calls its function in `runs`, and shows
what came back. Standard output carries results; the rest goes to standard error.
"""

from __future__ import annotations

from importlib import import_module

import click

VERBS = {
    "fit": "Train, evaluate on validation, save.",
    "evaluate": "The metrics of a saved run or checkpoint.",
    "predict": "Write a prediction for each row.",
    "tune": "Search the learning rate and other options.",
    "parity": "TensorFlow against PyTorch, step by step.",
    "convert": "The same model for the other framework, compared.",
    "export": "A SavedModel that takes raw text, proved before it is handed over.",
    "serve": "A bundle behind HTTP, with a page to try it.",
    "doctor": "Versions, devices, what is missing and how to get it.",
}


class _LazyGroup(click.Group):
    """Knows its verbs by name, so that `tfft --help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"tfft.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfft", prog_name="tfft", message="%(prog)s %(version)s")
def main() -> None:
    """Fine-tune Hugging Face models on TensorFlow with Keras.

    \b
    Try:
      tfft fit --data builtin/acceptability
      tfft evaluate runs/acceptability-1 --data builtin/acceptability
      tfft predict runs/acceptability-1 --data texts.csv --output predictions.csv
    """
