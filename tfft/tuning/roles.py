"""Who this process is in a search: all of it, or Keras Tuner's chief or one of its workers.

    role = role()
    role.is_worker, role.address

A chief hands out trials, keeps the folder and trains the winner; workers run trials:

    KERASTUNER_TUNER_ID=chief KERASTUNER_ORACLE_IP=10.0.0.1 KERASTUNER_ORACLE_PORT=8000
    KERASTUNER_TUNER_ID=worker1 ...     # and the same command
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tfft.config import TuneConfig
from tfft.errors import ConfigError

ID, IP, PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"


@dataclass(frozen=True)
class Role:
    """Attributes:
    name: `KERASTUNER_TUNER_ID`.
    address: the chief's `ip:port`; None where there is no chief.
    """

    name: str = "tuner0"
    address: str | None = None

    @property
    def is_worker(self) -> bool:
        return self.address is not None and "chief" not in self.name


def role(environ: Mapping[str, str] = os.environ) -> Role:
    """What Keras Tuner's variables say.

    Raises:
        ConfigError: one of them is missing, or the port is none.
    """
    given = {name: environ.get(name) for name in (ID, IP, PORT)}
    if given[IP] is None and given[PORT] is None:
        return Role()
    if missing := [name for name, value in given.items() if not value]:
        raise ConfigError(
            f"{missing[0]} isn't set; a chief and its workers need {ID}, {IP}, {PORT}"
        )
    port = given[PORT] or ""
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"{PORT} must be a port, a whole number below 65536, not {port!r}")
    return Role(given[ID] or "", f"{given[IP]}:{port}")


def check_goes_with(role: Role, asked: TuneConfig) -> None:
    """Raises:
    ConfigError: a chief or a worker has no use for what was asked.
    """
    if role.address is None:
        return
    if asked.workers > 1:
        raise ConfigError(
            f"workers {asked.workers} starts a chief of its own, and {IP} names another one; leave "
            "one of them out"
        )
    if asked.tuner == "range":
        raise ConfigError(f"a range test has no trials to share; unset {IP} and {PORT}")
