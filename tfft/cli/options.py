"""Flags made from the config's own fields, and what all verbs share.

    @click.command()
    @config_options(choose_options("data", "model", "train"))
    @verb
    def fit(options, ...): ...

A flag's help, choices and default stand in `config.py` alone. `options` holds the flags that were
given, by name: what wasn't given keeps the default, or a TOML's value.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tfft.config import About
from tfft.errors import ConfigError, TfftError

Function = TypeVar("Function", bound=Callable[..., Any])
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def config_options(
    chosen: Mapping[str, About], *, required: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """The flags of these options; those given reach the command as the dict `options`."""

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def wrapper(*args: Any, **values: Any) -> Any:
            context = click.get_current_context()
            given = {
                name: value
                for name in chosen
                if (value := values.pop(name)) is not None
                and context.get_parameter_source(name) is not ParameterSource.DEFAULT
            }
            return command(*args, options=given, **values)

        for name, about in reversed(list(chosen.items())):
            wrapper = _flag(name, about, required=name in required)(wrapper)
        return wrapper  # type: ignore[return-value]

    return decorate


def _flag(name: str, about: About, *, required: bool) -> Callable[[Any], Any]:
    shown = about.help
    if about.default not in (None, "", (), False) and not about.choices:
        shown += f"  [{_written(about.default)}]"
    if about.type is bool:
        return click.option(f"--{name.replace('_', '-')}", name, is_flag=True, help=shown)
    kind: Any = click.Choice(list(about.choices)) if about.choices else about.type
    if about.choices and about.default:
        shown += f"  [{about.default}]"
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=kind,
        multiple=about.many,
        required=required,
        help=shown,
        metavar=_metavar(about),
    )


def _metavar(about: About) -> str | None:
    if about.metavar:
        return about.metavar
    if about.choices:
        return "NAME" if len(about.choices) > 8 else None
    return {int: "N", float: "X", str: "NAME"}[about.type]


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def verb(command: Function) -> Function:
    """Turns what the library raises into what a shell expects, and adds `--debug`."""

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapper(*args: Any, debug: bool, **values: Any) -> None:
        _quiet_libraries(debug=debug)
        try:
            command(*args, **values)
        except ConfigError as error:
            if debug:
                raise
            if error.options:  # a flag's fault; a file's names no options
                raise click.UsageError(str(error)) from None
            _stop(f"error: {error}", code=1)
        except TfftError as error:
            if debug:
                raise
            _stop(f"error: {error}", code=1)
        except KeyboardInterrupt as interrupt:
            told = str(interrupt) or "nothing was saved"
            _stop(f"interrupted: {told}", code=INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has enough; Python would complain once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _stop("", code=1)

    return wrapper  # type: ignore[return-value]


def _stop(message: str, *, code: int) -> None:
    if message:
        click.echo(" ".join(message.splitlines()), err=True)
    click.get_current_context().exit(code)


def _quiet_libraries(*, debug: bool) -> None:
    """Standard error is for our own lines: the libraries' warnings and bars stay away from it."""
    if debug:
        return
    import warnings

    warnings.simplefilter("ignore")
    quiet: Mapping[str, str] = {
        "HF_HUB_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "critical",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
