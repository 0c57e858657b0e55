"""One step of training as one graph: the loss, its gradients, and what the optimizer does of them.

    train_step = make_train_step(model, losses, split.element_spec, devices, seed=42, accumulate=4)
    loss, n_rows = train_step(features, labels)

    programs = Programs(lambda width: 16)           # XLA: one program a width, of 16 rows
    train_step = make_train_step(..., programs=programs)

The rows of a replica have shares that sum up to 1 over all replicas, and the loss of a batch is the
sum of each row's loss times its share: a row of share 0 counts for nothing. What dropout drops is
a function of the seed, the optimizer's count of steps, and the part of the batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tfft.backend import tf
from tfft.distribute import Devices, take
from tfft.drops import drawing_from, is_of_inputs
from tfft.modeling import ExampleLosses


@dataclass
class Programs:
    """What XLA compiles, one program for each width that batches are padded to.

    Attributes:
        n_rows: width -> the rows that a batch of that width has, or is filled up to.
        seconds: that the first step of each width took.
    """

    n_rows: Callable[[int], int]
    seconds: dict[int, float] = field(default_factory=dict)

    def around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step(features, labels, n_real)`, fed whole batches of (features, labels)."""

        def filled(features: Any, labels: Any) -> Any:
            width = int(next(iter(features.values())).shape[1])
            n_real, started = len(labels), time.perf_counter()
            batch = (features, labels)
            if n_real < (n_rows := self.n_rows(width)):
                batch = take(batch, tf.minimum(tf.range(n_rows), n_real - 1))
            result = step(*batch, tf.constant(n_real))
            if width not in self.seconds:
                self.seconds[width] = time.perf_counter() - started
            return result

        return filled


def any_shape(spec: Any) -> Any:
    """The spec with batch and length open, so that one trace serves every batch."""
    return tf.nest.map_structure(
        lambda each: tf.TensorSpec([None] * each.shape.rank, each.dtype), spec
    )


def as_graph(
    function: Callable[..., Any], spec: Any, *, jit_compile: bool | None = None
) -> Callable[..., Any]:
    """`function` traced once for `spec`; without AutoGraph, which takes half of the tracing.

    A model whose Python branches on a tensor needs it, and says so when it is traced.
    """
    options = {"input_signature": spec, "jit_compile": jit_compile}
    traced = tf.function(function, autograph=False, **options)
    try:
        traced.get_concrete_function()
    except tf.errors.OperatorNotAllowedInGraphError:
        return tf.function(function, **options)
    return traced


def make_train_step(
    model: Any,
    losses: ExampleLosses,
    spec: Any,
    devices: Devices,
    *,
    seed: int,
    accumulate: int = 1,
    programs: Programs | None = None,
) -> Callable[..., Any]:
    """A graph of (features, labels): updates the weights, and gives the mean loss and n_rows.

    Args:
        seed: of dropout.
        accumulate: the parts that a batch, or each replica's rows of it, goes through in.
        programs: has XLA compile it, where there is one device.
    """
    weights, optimizer = model.trainable_variables, model.optimizer
    # float16 alone: its gradients underflow unless the loss is scaled up. Keras has the optimizer
    # wrapped, which skips the steps whose gradients overflow.
    scales = hasattr(optimizer, "get_scaled_loss")
    step = optimizer.iterations

    def loss_and_gradients_of_part(
        features: Any, labels: Any, shares: Any, part_seed: Any
    ) -> tuple[Any, list[Any]]:
        # Watching what learns, and nothing else: no gradient is computed for what is frozen.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            with drawing_from(model, part_seed):
                logits = tf.cast(model(features, training=True).logits, tf.float32)
            loss = tf.reduce_sum(tf.cast(losses(labels, logits), tf.float32) * shares)
            target = optimizer.get_scaled_loss(loss) if scales else loss
        return loss, tape.gradient(target, weights)

    of_part = loss_and_gradients_of_part
    if devices.n_cores > 1:
        of_part = _shared(of_part, spec)

    def loss_and_gradients(batch: tuple[Any, Any, Any], batch_seed: Any) -> tuple[Any, list[Any]]:
        seeds = tf.random.experimental.stateless_split(batch_seed, devices.n_cores)
        return _summed(
            [
                of_part(*part, part_seed)
                for part, part_seed in zip(devices.parts_of(batch), tf.unstack(seeds), strict=True)
            ]
        )

    def on_replica(features: Any, labels: Any, shares: Any) -> Any:
        """One step over a replica's rows: their part of the global batch's mean loss."""
        batch = (features, labels, shares)
        step_seed = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
        step_seed = _fold_in(step_seed, devices.replica)
        if accumulate > 1:
            loss, gradients = _in_parts(loss_and_gradients, batch, step_seed, weights, accumulate)
        else:
            loss, gradients = loss_and_gradients(batch, step_seed)
        if devices.n_replicas > 1:
            # An embedding's gradient comes as slices, of which unlike replicas have unlike numbers.
            gradients = [None if each is None else tf.convert_to_tensor(each) for each in gradients]
        if scales:
            gradients = optimizer.get_unscaled_gradients(gradients)
        # A layer that the head doesn't read (a pooler) has no gradient.
        pairs = [pair for pair in zip(gradients, weights, strict=True) if pair[0] is not None]
        optimizer.apply_gradients(pairs)  # sums the gradients over replicas
        return loss

    on_replicas = devices.summed(on_replica)

    def train_step(features: Any, labels: Any) -> Any:
        """One step: the batch's mean loss, and how many rows it had."""
        n_rows = tf.shape(labels)[0]
        shares = tf.fill([n_rows], 1.0 / tf.cast(n_rows, tf.float32))
        return on_replicas(features, labels, shares), n_rows

    def train_step_of(features: Any, labels: Any, n_real: Any) -> Any:
        """The same of a batch whose rows after the first `n_real` only fill it up."""
        is_real = tf.range(tf.shape(labels)[0]) < n_real
        shares = tf.cast(is_real, tf.float32) / tf.cast(n_real, tf.float32)
        return on_replicas(features, labels, shares), n_real

    if programs is None:
        return as_graph(train_step, any_shape(spec))
    spec = (*any_shape(spec), tf.TensorSpec([], tf.int32))
    return programs.around(as_graph(train_step_of, spec, jit_compile=True))


def _fold_in(seed: Any, number: Any) -> Any:
    """Another seed for each number: int64 [2]."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int64))


def _shared(of_part: Callable[..., Any], spec: Any) -> Callable[..., Any]:
    """`of_part(features, labels, shares, seed)`, traced once for all parts of a batch.

    As it is where a second call has to wait for the first, for both draw from one generator, or
    has to draw other numbers: each part then has its own trace.
    """
    shares, seed = tf.TensorSpec([None], tf.float32), tf.TensorSpec([2], tf.int64)
    traced: Any = as_graph(of_part, (*any_shape(spec), shares, seed))
    return traced if is_of_inputs(traced.get_concrete_function().graph) else of_part


def _summed(parts: list[tuple[Any, list[Any]]]) -> tuple[Any, list[Any]]:
    """The loss and gradients of all parts; those that come as slices come as the slices of all."""
    if len(parts) == 1:
        return parts[0]
    losses, gradients = zip(*parts, strict=True)
    return tf.add_n(losses), [_sum(each) for each in zip(*gradients, strict=True)]


def _sum(gradients: tuple[Any, ...]) -> Any:
    if gradients[0] is None:
        return None
    if not isinstance(gradients[0], tf.IndexedSlices):
        return tf.add_n(gradients)
    values, indices = (
        tf.concat([getattr(each, name) for each in gradients], axis=0)
        for name in ("values", "indices")
    )
    return tf.IndexedSlices(values, indices, gradients[0].dense_shape)


def _in_parts(
    loss_and_gradients: Callable[..., tuple[Any, list[Any]]],
    batch: tuple[Any, Any, Any],
    seed: Any,
    weights: list[Any],
    n_parts: int,
) -> tuple[Any, list[Any]]:
    """The loss and gradients of a batch, ceil(rows / n_parts) rows at a time, summed up.

    A loop of the graph: the model is traced once, and one part's activations are kept at a time.
    """
    n_rows = tf.shape(batch[-1])[0]
    n_at_once = (n_rows + n_parts - 1) // n_parts
    # Known when the loop's body has been traced: the weights without a gradient.
    unread: set[int] = set()

    def add(start: Any, loss: Any, sums: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
        rows = start + tf.range(n_at_once)  # a range that starts anywhere has no size for XLA
        # The last part is filled up with rows that count for nothing, so that all are of one size.
        features, labels, shares = take(batch, tf.minimum(rows, n_rows - 1))
        shares = shares * tf.cast(rows < n_rows, shares.dtype)
        batch_seed = _fold_in(seed, start)
        part, gradients = loss_and_gradients((features, labels, shares), batch_seed)
        unread.update(place for place, each in enumerate(gradients) if each is None)
        added = tuple(
            so_far if each is None else so_far + tf.convert_to_tensor(each)
            for so_far, each in zip(sums, gradients, strict=True)
        )
        return start + n_at_once, loss + part, added

    zeros = tuple(tf.zeros(each.shape, each.dtype.base_dtype) for each in weights)
    _, loss, sums = tf.while_loop(
        lambda start, loss, sums: start < n_rows,
        add,
        (tf.constant(0), tf.constant(0.0), zeros),
        parallel_iterations=1,
    )
    return loss, [None if place in unread else each for place, each in enumerate(sums)]
