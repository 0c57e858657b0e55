"""A bundle on disk: the version that is served, and what it calls its labels.

    bundle = open_bundle(Path("cola-bundle"))
    bundle.version, bundle.path, bundle.label_names      # 3, cola-bundle/3, ("no", "yes")

Reads names and JSON alone, so that a wrong folder is told before TensorFlow wakes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tfft.errors import ModelError

LABELS = Path("assets.extra", "labels.json")
# TensorFlow reads either; the second is the text form.
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")


@dataclass(frozen=True)
class Bundle:
    """The version that is served.

    Attributes:
        path: the SavedModel, `BUNDLE/<version>`.
        label_names: by class id; empty where the bundle doesn't say.
    """

    path: Path
    name: str
    version: int
    label_names: tuple[str, ...] = ()


def open_bundle(folder: Path) -> Bundle:
    """The newest version in `folder`, as TensorFlow Serving takes it.

    Raises:
        ModelError: no such folder, no version in it, or the newest isn't a SavedModel.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; tfft serve takes what tfft export writes")
    if any((folder / name).exists() for name in _GRAPHS):
        raise ModelError(
            f"{folder} is a SavedModel itself; pass the folder above it, where the versions lie"
        )
    versions = [
        int(each.name) for each in folder.iterdir() if _is_version(each.name) and each.is_dir()
    ]
    if not versions:
        raise ModelError(
            f"{folder} isn't a bundle: it has no folder with a version's number, such as "
            f"{folder / '1'}; tfft export writes one"
        )
    version = max(versions)
    path = next(each for each in folder.iterdir() if _is_version(each.name, version))
    if not any((path / name).is_file() for name in _GRAPHS):
        raise ModelError(f"{path} isn't a SavedModel: it has no {_GRAPHS[0]}; export it again")
    if not (path / "variables").is_dir():
        raise ModelError(f"{path}: its folder `variables` is missing; export it again")
    return Bundle(path, folder.resolve().name, version, read_labels(path / LABELS))


def _is_version(name: str, version: int | None = None) -> bool:
    """TensorFlow Serving takes `00000123` too."""
    is_number = re.fullmatch(r"[0-9]+", name) is not None
    return is_number and (version is None or int(name) == version)


def read_labels(path: Path) -> tuple[str, ...]:
    """The names in a JSON list; none where it isn't there or isn't one: the page does without."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        return ()
    return tuple(names)
