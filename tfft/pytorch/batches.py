"""The plan's batches as tensors, through PyTorch's own DataLoader.

    batches = open_batches(config, encoded, tokenizer, loader="bucketed", shuffle=True)
    for features, labels in batches.epoch(0):       # {"input_ids": int64 [batch, tokens], ...}
        ...
    batches.plan.n_steps

Rows, their order and what each batch is padded to are those that TensorFlow gets: one plan serves
both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.config import RunConfig
from tfft.data.choice import plan_batches
from tfft.data.encode import Encoded
from tfft.data.padding import pad_arrays
from tfft.data.plan import BatchPlan, batch_widths, padding_fraction
from tfft.pytorch.backend import torch


@dataclass(frozen=True)
class Batches:
    """A split in batches.

    Attributes:
        width: what every batch is padded to; None pads as the plan does.
    """

    encoded: Encoded
    tokenizer: Any
    plan: BatchPlan
    width: int | None = None

    def epoch(self, number: int) -> Any:
        """A DataLoader of (features, labels) of that epoch, always the same ones.

        Features are a dict of int64 [batch, tokens], labels int64 [batch] (single_label), float32
        [batch, n_labels] (multi_label) or [batch] (regression).
        """
        # A sampler of whole batches, so that the DataLoader makes none itself.
        return torch.utils.data.DataLoader(
            self,
            sampler=list(self.plan.batches(number)),
            batch_size=None,
            collate_fn=as_tensors,
        )

    def __getitem__(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """One batch: what the DataLoader takes for an item."""
        longest = int(self.encoded.lengths[rows].max())
        width = self.width or int(self.plan.padded(np.array([longest]))[0])
        features = pad_arrays(self.encoded, self.tokenizer, rows=rows, length=width)
        labels = self.encoded.labels
        return features, None if labels is None else labels[rows]

    @property
    def n_examples(self) -> int:
        return self.plan.n_examples

    @property
    def is_counted(self) -> bool:
        """Whether an epoch has `n_examples`: always."""
        return True

    @property
    def row_numbers(self) -> np.ndarray:
        return self.encoded.rows

    @property
    def padding_fraction(self) -> float:
        """The part of the first epoch's tokens that is padding."""
        _, bounds = self.plan.layout(0)
        widths = batch_widths(self.encoded.lengths, self.plan)
        if self.width is not None:
            widths = np.full_like(widths, self.width)
        return padding_fraction(self.encoded.lengths, widths * np.diff(bounds))

    def source_rows(self, epoch: int, step: int) -> np.ndarray:
        """The rows of a batch, by their numbers in the data as it came."""
        return self.encoded.rows[self.plan.rows(epoch, step)]


def open_batches(
    config: RunConfig, encoded: Encoded, tokenizer: Any, *, loader: str, shuffle: bool
) -> Batches:
    """The batches that the config asks for.

    Args:
        loader: `bucketed`, or `numpy`, which pads every row to the split's longest.
    """
    plan = plan_batches(config, encoded.lengths, loader=loader, shuffle=shuffle)
    return Batches(
        encoded, tokenizer, plan, int(encoded.lengths.max()) if loader == "numpy" else None
    )


def as_tensors(batch: tuple[dict[str, np.ndarray], np.ndarray | None]) -> tuple[Any, Any]:
    features, labels = batch
    tensors = {name: torch.from_numpy(each).long() for name, each in features.items()}
    return tensors, None if labels is None else torch.from_numpy(labels)
