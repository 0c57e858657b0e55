"""A saved model -> a folder in another format, compared on the validation texts.

    check = deliver(saved, folder, config, asked, devices=devices, progress=progress)

The texts are those that a bundle is compared on; where the run's data can't be read, made-up ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfft import served
from tfft.config import ExportConfig, RunConfig
from tfft.data.encode import Encoded, encode
from tfft.data.padding import pad_arrays
from tfft.data.spill import data_set
from tfft.distribute import Devices
from tfft.export.formats.live import Batch, Live
from tfft.export.formats.produce import Evaluate, check_asked, produce
from tfft.export.texts import Texts, read_texts
from tfft.metrics import metrics_of
from tfft.modeling import LoadedModel
from tfft.progress import Progress
from tfft.results import FormatCheck
from tfft.served import Saved

BATCH_SIZE = 32


@dataclass(frozen=True)
class Questions:
    """What a format and the live model are both asked.

    Attributes:
        batches: all texts, like lengths together.
        evaluate: the metrics of the batches' logits; None where no text has a label.
    """

    live: Live
    batches: Sequence[Batch]
    evaluate: Evaluate | None


def deliver(
    saved: Saved,
    folder: Path,
    config: RunConfig,
    asked: ExportConfig,
    *,
    devices: Devices,
    progress: Progress,
) -> FormatCheck:
    """Writes `asked.format` into `folder`.

    Raises:
        ConfigError: the format isn't quantised.
        ExportError: it can't be done for this architecture, or differs from the live model.
    """
    check_asked(asked.format, asked.quantize)
    texts = read_texts(saved, config, asked, progress)
    questions = questions_of(saved, served.build(saved, devices, progress), texts)
    progress.stage(f"writing {asked.format}, and comparing it with the live model")
    return produce(
        asked.format,
        questions.live,
        folder,
        questions.batches,
        quantize=asked.quantize,
        evaluate=questions.evaluate,
    )


def questions_of(saved: Saved, loaded: LoadedModel, texts: Texts) -> Questions:
    """Of the validation texts and some made-up ones."""
    columns = texts.compared
    rows = data_set(pa.table({**columns, "row": np.arange(len(columns["text"]))}))
    encoded = encode(rows, saved.tokenizer, max_length=saved.max_length)
    order = np.argsort(encoded.lengths, kind="stable")
    live = Live(loaded, saved.tokenizer, tuple(encoded.features), saved.checkpoint.folder)
    return Questions(live, _batches(encoded, saved, order), _evaluation(saved, texts, order))


def _batches(encoded: Encoded, saved: Saved, order: np.ndarray) -> list[Batch]:
    """All rows, like lengths together."""
    starts = range(0, len(order), BATCH_SIZE)
    return [
        pad_arrays(encoded, saved.tokenizer, rows=order[start : start + BATCH_SIZE])
        for start in starts
    ]


def _evaluation(saved: Saved, texts: Texts, order: np.ndarray) -> Evaluate | None:
    """The metrics of the validation texts, which come before the made-up ones."""
    labels = texts.labels
    if labels is None:
        return None
    metrics = metrics_of(saved.task.name, threshold=saved.threshold)

    def evaluate(logits: Sequence[np.ndarray]) -> dict[str, float]:
        in_order = np.empty_like(np.concatenate(logits))
        in_order[order] = np.concatenate(logits)
        of_task = in_order[:, 0] if saved.task.name == "regression" else in_order
        return dict(metrics(of_task[: len(labels)], labels))

    return evaluate
