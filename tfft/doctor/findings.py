"""What the doctor found, as records.

Finding("packages", "tf-keras", "error", "missing", command="pip install tf-keras")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

# From the calmest: as it should be; good to know; not installed and not needed; may go wrong;
# needed, and missing or broken.
State = Literal["ok", "note", "optional", "warning", "error"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: what it belongs to: `packages`, `devices`, `environment` ...
        message: what was found and, unless it is ok, why that matters.
        command: the line that mends it.
    """

    area: str
    name: str
    state: State
    message: str
    command: str | None = None


@dataclass(frozen=True)
class Report:
    findings: tuple[Finding, ...]

    @property
    def to_mend(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.state == "error")

    @property
    def is_ready(self) -> bool:
        return not self.to_mend

    def to_json(self) -> Mapping[str, Any]:
        return {
            "is_ready": self.is_ready,
            "n_to_mend": len(self.to_mend),
            "findings": [asdict(each) for each in self.findings],
        }
