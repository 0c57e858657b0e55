"""Small data: the whole split as one padded NumPy array a feature -> `Split`.

    arrays = pad_arrays(encoded, tokenizer)         # {"input_ids": int32 [n_rows, longest], ...}
    split = from_arrays(encoded, tokenizer, plan)

As the tutorial does with `tokenizer(..., padding=True, return_tensors="np")`: simple and quick to
start, at the price of padding every text to the longest one of the split.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.data.encode import Encoded
from tfft.data.plan import BatchPlan
from tfft.data.split import Split, lean_options, padding_fraction

# `auto` takes arrays up to this size ...
ARRAY_BUDGET_BYTES = 256 * 2**20
# ... if at most this part of them is padding: more would cost more in arithmetic than batches of
# Python cost in collating (one of 16 texts: about 2 ms of a step of 100 ms or more on two cores).
ARRAY_PADDING_LIMIT = 0.3


def array_cost(encoded: Encoded) -> tuple[int, float]:
    """The padded arrays' bytes (int32), and the part of them that would be padding."""
    n_rows, longest = len(encoded.lengths), int(encoded.lengths.max())
    n_bytes = n_rows * longest * 4 * len(encoded.features)
    return n_bytes, padding_fraction(encoded.lengths, np.full(n_rows, longest))


def pad_arrays(
    encoded: Encoded, tokenizer: Any, *, length: int | None = None
) -> dict[str, np.ndarray]:
    """Each feature as int32 [n_rows, longest or `length`], padded on the tokenizer's side."""
    width = length or int(encoded.lengths.max())
    filled = np.arange(width) < encoded.lengths[:, None]
    if tokenizer.padding_side == "left":
        filled = filled[:, ::-1]
    arrays = {}
    for name in encoded.features:
        array = np.full(filled.shape, _fill_value(name, tokenizer), dtype=np.int32)
        # Row by row in order: exactly how a list array's flat values lie.
        array[filled] = np.concatenate(encoded.tokens.with_format("numpy")[:][name])
        arrays[name] = array
    return arrays


def _fill_value(name: str, tokenizer: Any) -> int:
    values = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    return int(values.get(name, 0))


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
        if "labels" in encoded.tokens.column_names:
            labels = np.asarray(encoded.tokens["labels"], dtype=np.int64)
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
