"""All that a search has to remember, in one file that is replaced whole: oracle.json.

    record = Record.open(folder / "oracle.json", search)    # a new one, or that of a killed search
    record.add({"begin": "tuner0", "trial": "0"})
    record.events

An oracle is a function of its seed and of what it was asked and told: so what is kept isn't its
state but those events, and a search goes on by asking and telling a new oracle the same. That is
exact for all of them (Keras Tuner's own files leave out the random state of the Bayesian one, and
are written in place, so that a kill may leave half of one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfft.errors import ConfigError
from tfft.folders import as_json, shown, write_file

FILE = "oracle.json"
FORMAT = 1


@dataclass
class Record:
    """What a search is, and what has happened in it.

    Attributes:
        search: all that its result depends on; another search is told by it.
        events: what the oracle was asked and told, in order.
        more: what was measured beside the trials, by name: the range test, the confirmation.
    """

    path: Path
    search: Mapping[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, search: Mapping[str, Any]) -> Record:
        """The record there, or a new one.

        Raises:
            ConfigError: it is of another search, or isn't one.
        """
        search = json.loads(as_json(search))  # tuples are lists there
        if not path.exists():
            return cls(path, search)
        document = _read(path)
        if document["search"] != search:
            differs = _difference(document["search"], search)
            raise ConfigError(
                f"{shown(path.parent)} holds another search{differs}; choose another --output, or "
                "--overwrite it"
            )
        return cls(path, search, document["events"], document["more"])

    def add(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.save()

    def keep(self, name: str, value: Any) -> None:
        self.more[name] = value
        self.save()

    def save(self) -> None:
        """Raises:
        TfftError: it can't be written.
        """
        write_file(
            self.path,
            as_json(
                {
                    "format": FORMAT,
                    "search": self.search,
                    "more": self.more,
                    "events": self.events,
                }
            ),
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"search": dict, "more": dict, "events": list}
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError("not what tfft tune writes")
        for name, kind in kinds.items():
            if not isinstance(document.get(name), kind):
                raise ValueError(f"no {name}")
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{shown(path)}: can't be read ({error}), so the search can't go on; its trials so far "
            "are in trials.json beside it; choose another --output, or --overwrite to search anew"
        ) from None
    return document


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """` (train.epochs 3 there, 2 here)` of the first that differs."""
    for name in here:
        if there.get(name) != here[name]:
            return f" ({name} {there.get(name)} there, {here[name]} here)"
    return ""
