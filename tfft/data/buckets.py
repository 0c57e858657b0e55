"""Batches of like lengths straight from the token buffers -> `Split`.

    plan = in_buckets(BatchPlan(8551, batch_size=16, shuffle=True), encoded.lengths, max_shapes=8)
    split = from_buckets(encoded, tokenizer, plan)

A batch is one gather by offsets out of Arrow's flat values: no example becomes a Python object, and
no collator runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.backend import tf
from tfft.data.arrays import fill_value
from tfft.data.cells import column_of
from tfft.data.encode import Encoded
from tfft.data.plan import BucketPlan, batch_widths, padding_fraction
from tfft.data.split import Split, lean_options

# Batches made ahead of the step that takes them.
AHEAD = 4


def from_buckets(
    encoded: Encoded,
    tokenizer: Any,
    plan: BucketPlan,
    *,
    label_names: tuple[str, ...] = (),
) -> Split:
    """Batches in the plan's order, each padded to the narrowest width that holds it."""
    pads_left = tokenizer.padding_side == "left"
    features = {
        name: Flat.of(encoded.tokens, name, fill_value(name, tokenizer))
        for name in encoded.features
    }
    labels = encoded.labels

    def batches(epoch: int) -> Iterator[Any]:
        for rows in plan.batches(epoch):
            width = plan.width(encoded.lengths[rows])
            batch = {
                name: flat.padded(rows, width, left=pads_left) for name, flat in features.items()
            }
            yield batch if labels is None else (batch, labels[rows])

    tokens = {name: tf.TensorSpec([None, None], tf.int32) for name in features}
    spec: Any = tokens
    if labels is not None:
        spec = (tokens, tf.TensorSpec([None, *labels.shape[1:]], labels.dtype))

    def epoch(number: int) -> Any:
        stream = tf.data.Dataset.from_generator(lambda: batches(number), output_signature=spec)
        known = stream.apply(tf.data.experimental.assert_cardinality(plan.n_steps))
        return known.prefetch(AHEAD).with_options(lean_options())

    return Split(
        epoch=epoch,
        plan=plan,
        element_spec=spec,
        padding_fraction=padding_fraction(encoded.lengths, batch_widths(encoded.lengths, plan)),
        row_numbers=encoded.rows,
        label_names=label_names,
        loader="bucketed",
    )


@dataclass(frozen=True)
class Flat:
    """One feature of all rows, end to end.

    Attributes:
        values: int32 [all tokens].
        starts: where each row begins: int64 [n_rows + 1].
    """

    values: np.ndarray
    starts: np.ndarray
    fill: int

    @classmethod
    def of(cls, tokens: Any, name: str, fill: int) -> Flat:
        column = column_of(tokens, name)
        lengths = np.asarray(pc.list_value_length(column), dtype=np.int64)
        values = pa.chunked_array([each.flatten() for each in column.chunks]).to_numpy()
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]), fill)

    def padded(self, rows: np.ndarray, width: int, *, left: bool) -> np.ndarray:
        """int32 [len(rows), width]."""
        starts, ends = self.starts[rows, None], self.starts[rows + 1, None]
        if left:
            places = np.arange(width) + ends - width
            is_token = places >= starts
        else:
            places = starts + np.arange(width)
            is_token = places < ends
        return np.where(is_token, self.values[np.where(is_token, places, 0)], self.fill)
