"""PyTorch: a folder that `AutoModelForSequenceClassification` loads, by `tfft.conversion`.

write(live, Path("out"))
logits, latency_ms = run(Path("out"), batches, timed)     # in a process of its own
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file, save_file

from tfft.conversion import convert
from tfft.errors import ExportError, ModelError
from tfft.export.formats.live import Batch, Live
from tfft.heads import HEADS
from tfft.pretrained import open_checkpoint
from tfft.progress import Progress
from tfft.pytorch.children import run_child

FILE = "model.safetensors"
_HEAD = HEADS["sequence_classification"]


def write(live: Live, folder: Path, *, quantize: str | None = None) -> None:
    """Converts the live model's own weights.

    Raises:
        ExportError: PyTorch has other tensors, or says something else to random tokens.
    """
    assert quantize is None, "the registry says that this format isn't quantised"  # noqa: S101
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = open_checkpoint(str(live.folder), None)
    try:
        convert(checkpoint, _HEAD, to="pytorch", folder=folder, progress=Progress())
    except ModelError as error:
        raise ExportError(str(error)) from error
    live.tokenizer.save_pretrained(folder)


def run(
    folder: Path, batches: Sequence[Batch], timed: Mapping[int, Batch]
) -> tuple[list[np.ndarray], dict[int, float]]:
    """PyTorch's logits of `batches`, and how long it takes for those of `timed`, in ms."""
    with TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch, "inputs"), Path(scratch, "outputs")
        named = {str(number): batch for number, batch in enumerate(batches)}
        named |= {f"timed-{size}": batch for size, batch in timed.items()}
        flat = {
            f"{place}/{name}": np.ascontiguousarray(each, np.int64)
            for place, batch in named.items()
            for name, each in batch.items()
        }
        save_file(flat, str(inputs))
        job = {
            "folder": str(folder),
            "auto_class": _HEAD.pytorch_class,
            "batches": str(inputs),
            "outputs": str(outputs),
            "timed": [f"timed-{size}" for size in timed],
        }
        told = run_child("tfft.pytorch.outputs", job)
        found = load_file(str(outputs))
        logits = [found[f"{number}/logits"] for number in range(len(batches))]
        return logits, {size: told["latency_ms"][f"timed-{size}"] for size in timed}
