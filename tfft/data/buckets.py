"""Batches of like lengths straight from the token buffers -> `Split`.

    plan = in_buckets(BatchPlan(8551, batch_size=16, shuffle=True), encoded.lengths, max_shapes=8)
    split = from_buckets(encoded, tokenizer, plan)

TensorFlow shares the mapped file's memory and gathers a batch out of it by offsets, in a thread of
its own: no example becomes a Python object, no collator runs, and nothing is held in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.data.encode import Encoded
from tfft.data.padding import fill_value
from tfft.data.plan import BucketPlan, batch_widths, padding_of
from tfft.data.split import Split, lean_options
from tfft.data.tokens import Mapped, Tokens

# Batches made ahead of the step that takes them.
AHEAD = 4
# Batches that Python hands over at a time: it takes about a millisecond for each handing over.
BATCHES_AT_ONCE = 256
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
    buffers = _Buffers.of(encoded.tokens)
    fills = {name: fill_value(name, tokenizer) for name in names}
    pads_left = tokenizer.padding_side == "left"

    def padded(begins: Any, ends: Any, lengths: Any, shape: Any, *labels: Any) -> Any:
        """One batch: features int32 `shape`, and its labels.

        Args:
            begins, ends: of each row, in the buffers: int64 [rows]; backwards to pad on the left.
            lengths: int64 [rows, 1].
        """
        stride = tf.constant(-1 if pads_left else 1, tf.int64)
        places = tf.raw_ops.RaggedRange(starts=begins, limits=ends, deltas=stride)
        is_token = tf.range(shape[1]) < lengths

        def pad(name: str) -> Any:
            fill, constant = fills[name], buffers.constants.get(name)
            if constant == fill:
                batch = tf.fill(shape, fill)
            elif constant is not None:
                batch = tf.where(is_token, constant, fill)
            else:
                batch = tf.raw_ops.RaggedTensorToTensor(
                    shape=shape,
                    values=buffers.gather(name, places.rt_dense_values),
                    default_value=fill,
                    row_partition_tensors=[places.rt_nested_splits],
                    row_partition_types=["ROW_SPLITS"],
                )
            # Read backwards and padded at the end, a row is turned round.
            batch = tf.reverse(batch, [1]) if pads_left else batch
            return tf.ensure_shape(batch, [None, None])

        features = {name: pad(name) for name in names}
        return (features, *labels) if labels else features

    def chunks(epoch: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The arguments of `padded` for some batches at a time, all of as many rows."""
        order, bounds = plan.layout(epoch)
        widths = batch_widths(encoded.lengths, plan, epoch)
        for first, last in _alike(np.diff(bounds)):
            rows = order[bounds[first] : bounds[last]].reshape(last - first, -1)
            starts = encoded.tokens.starts[rows] + buffers.first
            ends = encoded.tokens.starts[rows + 1] + buffers.first
            shapes = np.full((len(rows), 2), rows.shape[1], np.int64)
            shapes[:, 1] = widths[first:last]
            places = (ends - 1, starts - 1) if pads_left else (starts, ends)
            arguments = (*places, (ends - starts)[..., None], shapes)
            yield arguments if labels is None else (*arguments, labels[rows])

    @_as_it_is
    def batches(*arguments: Any) -> Any:
        return tf.data.Dataset.from_tensor_slices(arguments).map(_as_it_is(padded))

    signature = [tf.TensorSpec([None] * n_axes, tf.int64) for n_axes in (2, 2, 3, 2)]
    spec: Any = {name: tf.TensorSpec([None, None], tf.int32) for name in names}
    if labels is not None:
        signature.append(tf.TensorSpec([None, None, *labels.shape[1:]], labels.dtype))
        spec = (spec, tf.TensorSpec([None, *labels.shape[1:]], labels.dtype))

    def each_epoch(numbers: Iterator[int]) -> Any:
        # The data is the host's: copied to a GPU a batch at a time, not whole.
        with tf.device("CPU:0"):
            handed = tf.data.Dataset.from_generator(
                lambda: chunks(next(numbers)), output_signature=tuple(signature)
            )
            return handed.flat_map(batches).prefetch(AHEAD).with_options(_options())

    def epoch(number: int) -> Any:
        known = tf.data.experimental.assert_cardinality(plan.steps(number))
        return each_epoch(itertools.repeat(number)).apply(known)

    return Split(
        epoch=epoch,
        plan=plan,
        element_spec=spec,
        padding_fraction=padding_of(encoded.lengths, plan),
        row_numbers=encoded.rows,
        label_names=label_names,
        loader="bucketed",
        each_epoch=each_epoch,
    )


def _alike(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) of the batches of one size that stand together, not too many."""
    ends = [*(np.flatnonzero(np.diff(sizes)) + 1), len(sizes)]
    first = 0
    for end in ends:
        for start in range(first, end, BATCHES_AT_ONCE):
            yield start, min(start + BATCHES_AT_ONCE, end)
        first = end


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
        values: by feature, what its rows are gathered from.
        first: where in it the values of the first feature begin ...
        offsets: ... and how much farther off each one's are.
    """

    values: Mapping[str, Any]
    first: int
    offsets: Mapping[str, int]
    constants: Mapping[str, int]

    @classmethod
    def of(cls, tokens: Tokens) -> _Buffers:
        with tf.device("CPU:0"):
            if tokens.mapped is not None:
                with suppress(OSError):  # removed since: what is mapped here is copied
                    return cls._mapped(tokens, tokens.mapped)
            values = {name: tf.constant(each) for name, each in tokens.values.items()}
        return cls(values, 0, dict.fromkeys(values, 0), tokens.constants)

    @classmethod
    def _mapped(cls, tokens: Tokens, file: Mapped) -> _Buffers:
        """The whole file as numbers; only what is gathered is ever read."""
        numbers = np.memmap(file.path, np.int32, "c", shape=file.n_bytes // 4)
        # The file's own memory as a tensor: no copy is made.
        shared = tf.experimental.dlpack.from_dlpack(numbers.__dlpack__())
        first = file.first[next(iter(tokens.values))]
        offsets = {name: file.first[name] - first for name in tokens.values}
        return cls(dict.fromkeys(tokens.values, shared), first, offsets, tokens.constants)

    def gather(self, name: str, places: Any) -> Any:
        offset = self.offsets[name]
        return tf.gather(self.values[name], places + np.int64(offset) if offset else places)
