"""Batches of like lengths straight from the token buffers -> `Split`.

    plan = in_buckets(BatchPlan(8551, batch_size=16, shuffle=True), encoded.lengths, max_shapes=8)
    split = from_buckets(encoded, tokenizer, plan)

TensorFlow maps the tokens' file by itself and gathers a batch out of it by offsets, in its own
threads: no example becomes a Python object, no collator runs, and nothing is held in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.data.arrays import fill_value
from tfft.data.encode import Encoded
from tfft.data.plan import BucketPlan, batch_widths, padding_of
from tfft.data.split import Split, lean_options
from tfft.data.tokens import Mapped, Tokens

# Batches made ahead of the step that takes them.
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
    names = encoded.features
    # The data is the host's: copied to a GPU a batch at a time, not whole.
    with tf.device("CPU:0"):
        buffers = _Buffers.of(encoded.tokens)
        labels = None if encoded.labels is None else tf.constant(_smallest(encoded.labels))
    label_type = None if encoded.labels is None else encoded.labels.dtype
    fills = {name: fill_value(name, tokenizer) for name in names}
    pads_left = tokenizer.padding_side == "left"

    def padded(rows: Any, width: Any) -> Any:
        """One batch: features int32 [len(rows), width], and its labels."""
        rows = tf.cast(rows, tf.int64)
        starts, ends = buffers.bounds(rows)
        # Each row's places one after the other; backwards where the padding goes first.
        first, last, stride = (ends - 1, starts - 1, -1) if pads_left else (starts, ends, 1)
        stride = tf.constant(stride, tf.int64)
        places = tf.raw_ops.RaggedRange(starts=first, limits=last, deltas=stride)
        shape = tf.stack([tf.size(rows, out_type=tf.int64), width])
        is_token = tf.range(width)[None] < (ends - starts)[:, None]

        def pad(name: str) -> Any:
            if name in buffers.constants:
                constant = buffers.constants[name]
                batch = tf.where(is_token, constant, fills[name])
            else:
                batch = tf.raw_ops.RaggedTensorToTensor(
                    shape=shape,
                    values=buffers.gather(name, places.rt_dense_values),
                    default_value=fills[name],
                    row_partition_tensors=[places.rt_nested_splits],
                    row_partition_types=["ROW_SPLITS"],
                )
            batch = tf.reverse(batch, [1]) if pads_left else batch
            return tf.ensure_shape(batch, [None, None])

        features = {name: pad(name) for name in names}
        if labels is None:
            return features
        return features, tf.cast(tf.gather(labels, rows), label_type)

    def epoch(number: int) -> Any:
        order, bounds = plan.layout(number)
        widths = batch_widths(encoded.lengths, plan, number)
        with tf.device("CPU:0"):
            order = tf.constant(order.astype(_index_type(len(order))))
            steps = tf.data.Dataset.from_tensor_slices((bounds[:-1], bounds[1:], widths))
            stream = steps.map(_as_it_is(lambda start, end, width: padded(order[start:end], width)))
        return stream.prefetch(AHEAD).with_options(_options())

    spec: Any = {name: tf.TensorSpec([None, None], tf.int32) for name in names}
    if encoded.labels is not None:
        spec = (spec, tf.TensorSpec([None, *encoded.labels.shape[1:]], encoded.labels.dtype))
    return Split(
        epoch=epoch,
        plan=plan,
        element_spec=spec,
        padding_fraction=padding_of(encoded.lengths, plan),
        row_numbers=encoded.rows,
        label_names=label_names,
        loader="bucketed",
    )


def _options() -> Any:
    """One thread of its own: batches are made beside the step, not in the place of its operations.

    A step's operations and the input's else queue in one pool (16 texts took 0.15 ms so, 0.21 ms
    in TensorFlow's pool, on two cores).
    """
    options = lean_options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    # It rewrites the graph with all that the graph refers to in a copy: the whole file.
    options.experimental_optimization.apply_default_optimizations = False
    return options


@dataclass(frozen=True)
class _Buffers:
    """The tokens as TensorFlow sees them.

    Attributes:
        first: where in its tensor an array begins.
    """

    starts: Any
    values: Mapping[str, Any]
    first: Mapping[str, int]
    constants: Mapping[str, int]

    @classmethod
    def of(cls, tokens: Tokens) -> _Buffers:
        if tokens.mapped is not None:
            with suppress(OSError):  # removed since: what is mapped here is copied
                return cls._mapped(tokens, tokens.mapped)
        values = {name: tf.constant(each) for name, each in tokens.values.items()}
        nought = dict.fromkeys(("starts", *values), 0)
        return cls(tf.constant(tokens.starts), values, nought, tokens.constants)

    @classmethod
    def _mapped(cls, tokens: Tokens, file: Mapped) -> _Buffers:
        """The whole file as numbers, twice; only what is gathered is ever read."""
        as_int32, as_int64 = (
            _shared(np.memmap(file.path, kind, "c", shape=file.n_bytes // kind().itemsize))
            for kind in (np.int32, np.int64)
        )
        return cls(as_int64, dict.fromkeys(tokens.values, as_int32), file.first, tokens.constants)

    def bounds(self, rows: Any) -> tuple[Any, Any]:
        """Where rows begin and end: int64 [len(rows)] twice."""
        places = rows + np.int64(self.first["starts"])
        return tf.gather(self.starts, places), tf.gather(self.starts, places + 1)

    def gather(self, name: str, places: Any) -> Any:
        return tf.gather(self.values[name], places + np.int64(self.first[name]))


def _shared(array: np.ndarray) -> Any:
    """The array's own memory as a tensor."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _smallest(labels: np.ndarray) -> np.ndarray:
    """Whole numbers in as few bytes as they need: each row has one."""
    if not np.issubdtype(labels.dtype, np.integer):
        return labels
    return labels.astype(np.min_scalar_type(-max(int(labels.max()), -int(labels.min()), 1)))


def _index_type(n_rows: int) -> type[Any]:
    return np.int32 if n_rows <= np.iinfo(np.int32).max else np.int64
