"""What every loader returns: one split as batches, whichever way they are made.

    split.dataset               # tf.data: (features, labels); each iteration is the next epoch
    split.epoch(3)              # the batches of that epoch, always the same ones
    split.source_rows(0, 17)    # which rows of the data were in a batch

Nobody downstream can tell which loader made it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.data.plan import BatchPlan


@dataclass(frozen=True)
class Split:
    """A split in batches.

    Attributes:
        epoch: epoch number -> an iterable of (features, labels), or of features alone where there
            are no labels. Features are a dict of int32 [batch, tokens], labels int64 [batch]
            (single_label), float32 [batch, n_labels] (multi_label) or [batch] (regression).
        padding_fraction: the part of all tokens that is padding, as measured over one epoch.
        row_numbers: each example's row in the data as it came: int64 [n_examples].
        label_names: the classes by id.
        task: what the labels are, for `build_model`.
        each_epoch: numbers of epochs -> a tf.data.Dataset, each iteration of it the next one's;
            None where `epoch` gives Datasets, or Python is to hand on its batches.
    """

    epoch: Callable[[int], Any]
    plan: BatchPlan
    element_spec: Any
    padding_fraction: float
    row_numbers: np.ndarray
    label_names: tuple[str, ...]
    loader: str
    task: str = "single_label"
    each_epoch: Callable[[Iterator[int]], Any] | None = None

    @property
    def n_examples(self) -> int:
        return self.plan.n_examples

    @property
    def is_counted(self) -> bool:
        """Whether an epoch has `n_examples`, rather than as many at most."""
        return True

    @property
    def n_steps(self) -> int:
        return self.plan.n_steps

    @property
    def dataset(self) -> Any:
        """For `model.fit` and the like: each iteration is the next epoch."""
        if not self.plan.shuffle and self.each_epoch is None:
            return self.epoch(0)
        numbers = itertools.count() if self.plan.shuffle else itertools.repeat(0)
        endless = (self.each_epoch or self._generated)(numbers)
        if self.plan.is_even or not self.plan.shuffle:
            return endless.apply(tf.data.experimental.assert_cardinality(self.n_steps))
        return endless

    def _generated(self, numbers: Iterator[int]) -> Any:
        def batches() -> Iterator[Any]:
            yield from self.epoch(next(numbers))

        endless = tf.data.Dataset.from_generator(batches, output_signature=self.element_spec)
        return endless.with_options(lean_options())

    def source_rows(self, epoch: int, step: int) -> np.ndarray:
        return self.row_numbers[self.plan.rows(epoch, step)]


def lean_options() -> Any:
    """tf.data's options without its autotune.

    Its thread holds an iterator's destruction until it next wakes, after up to 41 s: every fit and
    evaluate then takes up to twice as long (seen with TensorFlow 2.18, 2.20 and 2.21).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options
