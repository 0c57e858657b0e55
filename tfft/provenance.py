"""Where a figure comes from: the resolved config, and what else it depends on.

    folder.write({"run.toml": run_toml(resolve(config, examples, ...)), ...})

`run.toml` is what was asked, with what was found in place of what was left open; the manifest is
what nobody asked for and that can change a figure all the same: versions, device, data, checkpoint.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tfft.config import RunConfig
from tfft.data.examples import Examples
from tfft.metrics import THRESHOLD
from tfft.pretrained import Checkpoint

# Packages whose version can change a figure.
_SHARED_PACKAGES = (
    *("tfft", "transformers", "tokenizers", "datasets", "numpy"),
    *("scikit-learn", "scipy", "safetensors"),
)
RECORDED_PACKAGES = {
    "tensorflow": ("tensorflow", "tf-keras", *_SHARED_PACKAGES),
    "pytorch": ("torch", *_SHARED_PACKAGES),
    "trainer": ("torch", "accelerate", *_SHARED_PACKAGES),
}


def resolve(
    config: RunConfig, examples: Examples, loader: str, max_length: int, metric: str
) -> RunConfig:
    """The config with what was found in the place of what was left open."""
    form = examples.targets.form
    data = replace(
        config.data,
        source=portable(config.data.source),
        task=examples.task,
        text_column=examples.columns.texts,
        label_column=examples.columns.labels,
        label_delimiter=None if form is None else form.delimiter,
        loader=loader,
        max_length=max_length,
    )
    threshold = config.model.threshold
    if examples.task == "multi_label" and threshold is None:
        threshold = THRESHOLD
    model = replace(config.model, source=portable(config.model.source), threshold=threshold)
    return replace(
        config, data=data, model=model, train=replace(config.train, metric_for_best=metric)
    )


def portable(source: str) -> str:
    """A path that holds from any folder; other names as they are."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def run_toml(resolved: RunConfig, *, loss: Any, collate_fn: Any) -> str:
    given = [
        f"# {name}: {getattr(each, '__name__', type(each).__name__)}, from Python; give it again\n"
        for name, each in (("loss", loss), ("collate_fn", collate_fn))
        if each is not None
    ]
    return "".join(given) + resolved.to_toml()


def manifest(
    config: RunConfig,
    checkpoint: Checkpoint,
    examples: Examples,
    *,
    device: str | list[str],
    n_replicas: int,
) -> dict[str, Any]:
    """What can change a figure.

    Args:
        device: the names of the GPUs, or what the CPU is.
    """
    return {
        "framework": config.train.framework,
        "packages": {name: _version(name) for name in RECORDED_PACKAGES[config.train.framework]},
        "python": platform.python_version(),
        "device": device,
        "n_replicas": n_replicas,
        "seed": config.train.seed,
        "data": {
            "fingerprint": examples.fingerprint,
            **{f"n_{name}": n_rows for name, n_rows in examples.n_rows.items()},
        },
        "label_names": list(examples.label_names),
        "checkpoint": {"name": checkpoint.name, "sha256": checkpoint.sha256},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
