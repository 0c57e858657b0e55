"""What the live model says of texts, by the tokenizer and the path that `tfft predict` takes.

    live = ask(saved, loaded, {"text": [...]}, devices=devices, progress=progress)
    live.expected["scores"]     # float64, a list a row

Nothing of what is exported takes part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tfft import training
from tfft.backend import tf
from tfft.config import RunConfig
from tfft.data.encode import encode
from tfft.data.loaders import open_split
from tfft.data.spill import data_set
from tfft.distribute import Devices
from tfft.metrics import THRESHOLD, sigmoid, softmax
from tfft.modeling import LoadedModel
from tfft.predictions import as_cell, predictions
from tfft.progress import Progress
from tfft.served import Saved

# A label whose score is so near to another's, or to the threshold, may be either.
CERTAIN = 1e-4
_SHOWN_LETTERS = 60


@dataclass(frozen=True)
class Live:
    """The texts, their tokens and what the live model says.

    Attributes:
        texts: `text` and, of pairs, `text_pair`.
        tokens: by feature, the ids of each row, not padded.
        padding: by feature, what fills a row up.
        expected: `scores` (a list a row) and `label`, and `is_certain`, whether the label hangs
            on no rounding; of regression `value`.
        scale: of the expected numbers: the largest where that is above 1.
    """

    texts: Mapping[str, Sequence[str]]
    tokens: Mapping[str, Sequence[Sequence[int]]]
    padding: Mapping[str, int]
    expected: Mapping[str, Any]
    scale: float

    def to_json(self) -> dict[str, Any]:
        return {
            "texts": dict(self.texts),
            "tokens": dict(self.tokens),
            "padding": dict(self.padding),
            "expected": dict(self.expected),
        }

    def told(self, row: int) -> str:
        """`text 3: 'The lawyers ...'`."""
        return f"text {row}: {self.texts['text'][row][:_SHOWN_LETTERS]!r}"


def ask(
    saved: Saved,
    loaded: LoadedModel,
    texts: Mapping[str, Sequence[str]],
    *,
    devices: Devices,
    progress: Progress,
    apart: float = 0.0,
) -> Live:
    """The live model's answers to these texts.

    Args:
        apart: how far small weights take the scores from these; a label that so much may change
            isn't certain.
    """
    n_rows = len(texts["text"])
    rows = data_set(pa.table({**texts, "row": np.arange(n_rows)}))
    encoded = encode(rows, saved.tokenizer, max_length=saved.max_length)
    split = open_split(
        RunConfig.from_options({}),
        encoded,
        saved.tokenizer,
        loader="bucketed",
        shuffle=False,
        model=loaded.model,
        label_names=saved.learned.label_names,
    )
    with whole_floats():
        logits = training.predict(loaded.model, split, devices=devices, progress=progress)
    columns = encoded.dataset
    expected = _expected(logits, saved, CERTAIN + 2 * apart)
    return Live(
        texts,
        {name: columns[name][:] for name in encoded.features},
        {"input_ids": saved.tokenizer.pad_token_id},
        expected,
        max(1.0, float(np.abs(expected["value"]).max())) if "value" in expected else 1.0,
    )


def answers_of(logits: np.ndarray, task: str) -> np.ndarray:
    """What a bundle gives for logits float32 [n_rows, n_labels]: the scores, or the values."""
    if task == "regression":
        return logits[:, 0]
    return (sigmoid if task == "multi_label" else softmax)(logits)


def _expected(logits: np.ndarray, saved: Saved, certain: float) -> dict[str, Any]:
    task, names = saved.task.name, saved.learned.label_names
    table = predictions(range(len(logits)), logits, names, task=task, threshold=saved.threshold)
    if task == "regression":
        return {"value": list(table["score"])}
    scores = answers_of(logits, task)
    if task == "multi_label":
        threshold = THRESHOLD if saved.threshold is None else saved.threshold
        margin = np.abs(scores - threshold).min(axis=-1)
    else:
        first, *others = np.sort(scores, axis=-1).T[::-1]
        margin = first - others[0] if others else np.ones(len(scores))
    return {
        "scores": scores.tolist(),
        "label": [as_cell(each) for each in table["prediction"]],
        "is_certain": (margin > certain).tolist(),
    }


@contextmanager
def whole_floats() -> Iterator[None]:
    """Without TensorFloat-32, in which a GPU rounds each factor to three digits."""
    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)
