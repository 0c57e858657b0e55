"""Small data: the whole split as one padded NumPy array a feature -> `Split`.

    split = from_arrays(encoded, tokenizer, plan)

As the tutorial does with `tokenizer(..., padding=True, return_tensors="np")`: simple and quick to
start, at the price of padding every text to the longest one of the split.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.data.encode import Encoded
from tfft.data.padding import pad_arrays
from tfft.data.plan import BatchPlan, padding_fraction
from tfft.data.split import Split, lean_options


def from_arrays(
    encoded: Encoded,
    tokenizer: Any,
    plan: BatchPlan,
    *,
    label_names: tuple[str, ...] = (),
    length: int | None = None,
) -> Split:
    arrays = pad_arrays(encoded, tokenizer, length=length)
    width = next(iter(arrays.values())).shape[1]
    with tf.device("CPU:0"):
        features: Any = {name: tf.constant(array) for name, array in arrays.items()}
        elements: Any = features
        if (labels := encoded.labels) is not None:
            elements = (features, tf.constant(labels))

    def epoch(number: int) -> Any:
        rows = tf.data.Dataset.from_tensor_slices(plan.order(number)).batch(plan.batch_size)
        batches = rows.map(
            lambda chosen: tf.nest.map_structure(lambda each: tf.gather(each, chosen), elements)
        )
        return batches.prefetch(1).with_options(lean_options())

    return Split(
        epoch=epoch,
        plan=plan,
        element_spec=epoch(0).element_spec,
        padding_fraction=padding_fraction(encoded.lengths, np.full(len(encoded.lengths), width)),
        row_numbers=encoded.rows,
        label_names=label_names,
        loader="numpy",
    )
