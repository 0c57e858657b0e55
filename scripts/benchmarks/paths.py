"""The paths by name: which case runs in the child, and with what.

PATHS["tfft-bucketed"].case         # "fit_tfft"
PATHS["trainer-fused"].settings     # {"grouped": False, "optim": "adamw_torch_fused"}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENVIRON: Mapping[str, Mapping[str, str]] = {
    "tensorflow": {"TF_USE_LEGACY_KERAS": "1", "USE_TORCH": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
    "torch": {"USE_TF": "0", "USE_TORCH": "1"},
    "keras-hub": {"TF_USE_LEGACY_KERAS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
}


@dataclass(frozen=True)
class Path:
    """One way to train.

    Attributes:
        framework: which of `ENVIRON` it runs in.
        case: the file in `cases/`.
        settings: what the case's job has beside the data and the sizes.
    """

    name: str
    framework: str
    case: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _all() -> list[Path]:
    paths = [
        Path(f"tfft-{loader}", "tensorflow", "fit_tfft", {"loader": loader})
        for loader in ("bucketed", "numpy", "to_tf", "prepare")
    ]
    for loader in ("numpy", "prepare"):
        for ending, autotune in (("", True), ("-no-autotune", False)):
            settings = {"loader": loader, "autotune": autotune}
            paths.append(Path(f"tutorial-{loader}{ending}", "tensorflow", "fit_keras", settings))
    paths.append(Path("pytorch-native", "torch", "fit_torch"))
    for ending, grouped in (("", False), ("-grouped", True)):
        for fused, optim in (("", "adamw_torch"), ("-fused", "adamw_torch_fused")):
            settings = {"grouped": grouped, "optim": optim}
            paths.append(Path(f"trainer{ending}{fused}", "torch", "fit_trainer", settings))
    return [*paths, Path("keras-hub", "keras-hub", "fit_kerashub")]


PATHS: Mapping[str, Path] = {path.name: path for path in _all()}
# The most telling first: what --quick has time for is taken from the front.
QUICK = ("tfft-bucketed", "tutorial-numpy", "trainer-grouped-fused", "tutorial-prepare")
