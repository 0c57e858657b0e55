"""The trained model as every format needs it.

live = Live(loaded, tokenizer, features=("input_ids", "attention_mask"), folder=Path("run/model"))
live.logits({"input_ids": ids, "attention_mask": mask})     # float32 [batch, labels]
live.graph.get_concrete_function()                          # the same, for a converter
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.errors import ExportError, first_line
from tfft.folders import os_errors
from tfft.modeling import LoadedModel
from tfft.steps import as_graph

Batch = Mapping[str, np.ndarray]  # each feature: int32 [batch, length]

# What a protocol buffer or a flatbuffer holds at most, less some room for the graph.
MOST_BYTES = 2**31 - 16 * 2**20


@dataclass(frozen=True)
class Live:
    """A built model.

    Attributes:
        features: what it takes, in the tokenizer's order: `input_ids`, `attention_mask`, and
            `token_type_ids` where the model uses them.
        folder: its weights under PyTorch's names, config.json and tokenizer beside them.
    """

    loaded: LoadedModel
    tokenizer: Any
    features: tuple[str, ...]
    folder: Path

    @property
    def model(self) -> Any:
        return self.loaded.model

    @property
    def architecture(self) -> str:
        return str(self.model.config.model_type)

    @property
    def n_bytes(self) -> int:
        """Of its weights in float32."""
        return sum(4 * int(np.prod(each.shape)) for each in self.model.weights)

    @cached_property
    def graph(self) -> Any:
        """The model as a tf.function of {feature: int32 [batch, length]}, traced.

        Gives:
            `logits`: float32 [batch, labels].
        """
        return self.trace()

    def trace(self) -> Any:
        """Traces `graph` anew.

        Raises:
            ExportError: the architecture has no graph of unknown lengths.
        """

        def logits(batch: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"logits": self.model(dict(batch), training=False).logits}

        try:
            return as_graph(logits, [self.spec(tf.int32)])
        except Exception as error:
            raise ExportError(
                f"{self.architecture}: can't be traced for any batch and length: "
                f"{first_line(error)}"
            ) from error

    def spec(self, dtype: Any) -> dict[str, Any]:
        return {name: tf.TensorSpec([None, None], dtype, name=name) for name in self.features}

    def logits(self, batch: Batch) -> np.ndarray:
        given = {name: tf.constant(batch[name], tf.int32) for name in self.features}
        logits: np.ndarray = self.graph(given)["logits"].numpy()
        return logits

    def save_beside(self, folder: Path) -> None:
        """config.json, with the names of the labels, and the tokenizer's files."""
        with os_errors(folder):
            self.model.config.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def check_size(self, what: str) -> None:
        """Refuses what a single file of that kind can't hold.

        Raises:
            ExportError: the weights are too many.
        """
        if self.n_bytes > MOST_BYTES:
            raise ExportError(
                f"{self.architecture}: {what} holds 2 GiB at most, and these weights are "
                f"{self.n_bytes / 2**30:.1f} GiB; --format torch and saved_model hold more"
            )
