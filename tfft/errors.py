"""What can go wrong, as one tree.

    TfftError
    ├── ConfigError     an option, a TOML file, an output folder
    ├── DataError       what was read, or could not be
    ├── ModelError      a checkpoint, its tokenizer, its head
    ├── TrainingError   a run that cannot go on
    ├── ExportError     a bundle that cannot be made
    └── RequestError    what a client asked a server for, and cannot have

Each message is one line that says what was expected, what came and what to try. The library
raises; only the command line turns an error into an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Characters of one label or column's name in a message: a whole text may be taken for one.
LONGEST_SHOWN = 200


class TfftError(Exception):
    """Base of every error that tfft raises on purpose."""


class ConfigError(TfftError):
    """An option that is unknown, of the wrong type, out of range, or at odds with another.

    Attributes:
        options: the options at fault, as `section.field`; they tell a flag's error from a file's.
    """

    def __init__(self, message: str, *, options: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.options = tuple(options)


class DataError(TfftError):
    pass


class ModelError(TfftError):
    pass


class TrainingError(TfftError):
    pass


class ExportError(TfftError):
    pass


class RequestError(TfftError):
    """Answered to the client that is at fault; the server goes on.

    Attributes:
        status: HTTP's number for it, as TensorFlow Serving chooses it.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def nearest(word: str, choices: Iterable[str]) -> str:
    """` (did you mean 'label'?)` where a choice is close to `word`, else nothing."""
    lowered = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f" (did you mean '{lowered[matches[0]]}'?)" if matches else ""


def first_line(error: BaseException) -> str:
    """The first line of what a library raised, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def in_line(text: str) -> str:
    """What came from data as a message can hold it: one line, of no more than `LONGEST_SHOWN`."""
    line = " ".join(text.splitlines())
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}..."


def listed(items: Iterable[object], *, most: int = 12) -> str:
    """`a, b, c` of the first `most` items, and how many more there are."""
    names = [in_line(str(item)) for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
