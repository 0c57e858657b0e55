"""Batches of like lengths straight from the token buffers -> `Split`.

    plan = in_buckets(BatchPlan(8551, batch_size=16, shuffle=True), encoded.lengths, max_shapes=8)
    split = from_buckets(encoded, tokenizer, plan)

A thread of its own pads a parcel of batches while the steps take those of the one before. For
`model.fit` TensorFlow cuts the batches out of the parcels, for which Python is asked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.data.encode import Encoded
from tfft.data.padding import Padding
from tfft.data.parcels import Parcel, parcels
from tfft.data.plan import BucketPlan, padding_of
from tfft.data.split import Split, lean_options

# Batches that TensorFlow makes ahead of the step that takes them.
AHEAD = 4
# Without AutoGraph, which would read a function's source to find no branch in it.
_as_it_is = tf.autograph.experimental.do_not_convert


def from_buckets(
    encoded: Encoded,
    tokenizer: Any,
    plan: BucketPlan,
    *,
    label_names: tuple[str, ...] = (),
) -> Split:
    """Batches in the plan's order, each padded to the narrowest width that holds it."""
    names, labels = encoded.features, encoded.labels
    padding = Padding.of(tokenizer, names)

    def parcels_of(number: int) -> Iterator[Parcel]:
        return parcels(encoded, padding, plan, epoch=number)

    def each_epoch(numbers: Iterator[int]) -> Any:
        flat: Any = {name: tf.TensorSpec([None], tf.int32) for name in names}
        signature = [tf.TensorSpec([None, 2], tf.int64), flat]
        if labels is not None:
            signature.append(tf.TensorSpec([None, *labels.shape[1:]], labels.dtype))
        # The data is the host's: copied to a GPU a batch at a time, not whole.
        with tf.device("CPU:0"):
            handed = tf.data.Dataset.from_generator(
                lambda: map(_handed, parcels_of(next(numbers))), output_signature=tuple(signature)
            )
            return handed.flat_map(_cut).prefetch(AHEAD).with_options(_options())

    spec: Any = {name: tf.TensorSpec([None, None], tf.int32) for name in names}
    if labels is not None:
        spec = (spec, tf.TensorSpec([None, *labels.shape[1:]], labels.dtype))
    return Split(
        epoch=lambda number: _Epoch(lambda: parcels_of(number)),
        plan=plan,
        element_spec=spec,
        padding_fraction=padding_of(encoded.lengths, plan),
        row_numbers=encoded.rows,
        label_names=label_names,
        loader="bucketed",
        each_epoch=each_epoch,
    )


@dataclass(frozen=True)
class _Epoch:
    """Its batches, as often as they are asked for."""

    open: Callable[[], Iterator[Parcel]]

    def __iter__(self) -> Iterator[Any]:
        """Makes the next parcel's batches in a thread: the step doesn't wait for the file."""
        made = map(_as_tensors, self.open())
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(next, made, None)
            while (batches := coming.result()) is not None:
                coming = thread.submit(next, made, None)
                yield from batches


def _as_tensors(parcel: Parcel) -> list[Any]:
    """Its batches, on the host."""
    with tf.device("CPU:0"):
        return [_as_tensor(batch) for batch in parcel.batches()]


def _as_tensor(batch: Any) -> Any:
    """What `tf.nest.map_structure` would make of it, in half the time."""
    if isinstance(batch, np.ndarray):
        return tf.constant(batch)
    if isinstance(batch, dict):
        return {name: tf.constant(each) for name, each in batch.items()}
    return tuple(map(_as_tensor, batch))


def _handed(parcel: Parcel) -> tuple[Any, ...]:
    """What `_cut` takes."""
    labels = () if parcel.labels is None else (parcel.labels,)
    return (parcel.shapes, parcel.features, *labels)


@_as_it_is
def _cut(shapes: Any, features: Any, *labels: Any) -> Any:
    """A parcel's batches as a tf.data.Dataset."""

    def batch(shape: Any, first_token: Any, first_row: Any) -> Any:
        tokens = slice(first_token, first_token + shape[0] * shape[1])
        cut = {name: tf.reshape(each[tokens], shape) for name, each in features.items()}
        rows = slice(first_row, first_row + shape[0])
        return (cut, *(each[rows] for each in labels)) if labels else cut

    first_tokens = tf.cumsum(tf.reduce_prod(shapes, axis=1), exclusive=True)
    first_rows = tf.cumsum(shapes[:, 0], exclusive=True)
    places = tf.data.Dataset.from_tensor_slices((shapes, first_tokens, first_rows))
    return places.map(_as_it_is(batch))


def _options() -> Any:
    """One thread of its own: batches are made beside the step, not in the place of its operations.

    A step's operations and the input's else queue in one pool.
    """
    options = lean_options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    return options
