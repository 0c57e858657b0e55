"""The parts of one training step, each on the same batches, in turn.

    forward                     the model and its loss
    forward and backward        the same with every gradient
    optimizer ...               the update alone, given gradients: Keras' Adam, and ours
    whole step ...              all of it as one traced function
    input                       taking the next batch, while steps run
    call                        calling a traced function that does nothing, from Python

    optimizer, in a fit         the update of the rows that occur alone, of an embedding
    whole step, in a fit        with a CPU's cores sharing the batch

The last two come from a process of their own, for a process has its threads once. Figures are
milliseconds.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    (_in_a_fit if job["in_a_fit"] else _part_by_part)(job, turn)


def _in_a_fit(job: Job, turn: Turn) -> None:
    from tfft.backend import tf
    from tfft.config import TrainConfig
    from tfft.distribute import open_devices
    from tfft.embeddings import moving_rows
    from tfft.modeling import make_optimizer
    from tfft.steps import make_train_step

    devices = open_devices("auto", batch_size=job["batch_size"])
    model, train = _open(job)
    by_batch = [np.unique(features["input_ids"]) for features, _ in train.epoch(0)]
    occur = np.unique(np.concatenate(by_batch)).astype(np.int32)
    rows = moving_rows(model, occur)
    model.optimizer = make_optimizer(TrainConfig())
    if rows is not None:
        model.optimizer.move_rows(rows)
    model.optimizer.build(model.trainable_variables)
    step = make_train_step(model, model.hf_compute_loss, train.element_spec, devices, seed=42)
    gradients = [tf.ones_like(each) for each in model.trainable_variables]
    if rows is not None:  # whose gradient comes as the slices of a batch's tokens
        place = [each is rows.variable for each in model.trainable_variables].index(True)
        slices = tf.ones([len(by_batch[0]), rows.shape[1]])
        gradients[place] = tf.IndexedSlices(slices, tf.constant(by_batch[0]))
    update = _update(model.optimizer, model.trainable_variables)

    batches, timer = _endless(train), _Timer()
    with devices.started_soon():
        while True:
            for _ in range(job["n_batches"]):
                timer.timed("whole step, in a fit", step, *next(batches))
                timer.timed("optimizer, in a fit", update, gradients)
            timer.tell(turn)


def _part_by_part(job: Job, turn: Turn) -> None:
    from tfft.backend import keras, tf
    from tfft.config import TrainConfig
    from tfft.modeling import make_optimizer

    model, train = _open(job)
    weights = model.trainable_variables
    optimizers = {
        "Keras' Adam": keras.optimizers.Adam(3e-5),
        "tfft's Adam": make_optimizer(TrainConfig()),
    }
    for each in optimizers.values():
        each.build(weights)

    def loss_of(features: Any, labels: Any) -> Any:
        outputs = model(features, training=True)
        return tf.reduce_mean(model.hf_compute_loss(labels, outputs.logits))

    def gradients_of(features: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(features, labels)
        pairs = zip(tape.gradient(loss, weights), weights, strict=True)
        return loss, [pair for pair in pairs if pair[0] is not None]

    spec = tf.nest.map_structure(
        lambda each: tf.TensorSpec([None] * each.shape.rank, each.dtype), train.element_spec
    )

    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        return tf.function(function, input_signature=spec, autograph=False)

    def whole(optimizer: Any) -> Callable[..., Any]:
        def step(features: Any, labels: Any) -> Any:
            loss, pairs = gradients_of(features, labels)
            optimizer.apply_gradients(pairs)
            return loss

        return traced(step)

    variables: list[Any] = []

    def backward(features: Any, labels: Any) -> Any:
        loss, pairs = gradients_of(features, labels)
        variables[:] = [variable for _, variable in pairs]
        # Every gradient is asked for, else TensorFlow leaves out what nobody reads.
        return loss, [gradient for gradient, _ in pairs]

    forward = traced(loss_of)
    forward_backward: Any = traced(backward)
    nothing = traced(lambda features, labels: tf.shape(labels)[0])
    forward_backward.get_concrete_function()  # which fills `variables`
    updates = {name: _update(optimizer, variables) for name, optimizer in optimizers.items()}
    steps = {name: whole(optimizer) for name, optimizer in optimizers.items()}

    batches, timer = _endless(train), _Timer()
    while True:
        for _ in range(job["n_batches"]):
            batch = timer.timed("input", next, batches)
            timer.timed("call", nothing, *batch)
            timer.timed("forward", forward, *batch)
            _, gradients = timer.timed("forward and backward", forward_backward, *batch)
            for name, update in updates.items():
                timer.timed(f"optimizer, {name}", update, gradients)
            for name, step in steps.items():
                timer.timed(f"whole step, {name}", step, *batch)
        timer.tell(turn)


class _Timer:
    """Milliseconds by name."""

    def __init__(self) -> None:
        from tfft.backend import tf

        self._taken: defaultdict[str, list[float]] = defaultdict(list)
        self._on_gpu = bool(tf.config.list_physical_devices("GPU"))

    def timed(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        from tfft.backend import tf

        started = time.perf_counter()
        result = work(*arguments)
        if self._on_gpu:
            tf.test.experimental.sync_devices()  # work goes on there after the call
        self._taken[name].append(1000 * (time.perf_counter() - started))
        return result

    def tell(self, turn: Turn) -> None:
        turn.tell(medians={name: float(np.median(each)) for name, each in self._taken.items()})
        self._taken.clear()


def _open(job: Job) -> tuple[Any, Any]:
    """The compiled model, and the training split."""
    import tfft

    model = tfft.build_model(job["model"], num_labels=job["n_labels"], reset_head=True)
    train, _ = tfft.load_data(
        job["data"],
        tokenizer=job["model"],
        model=model,
        loader=job["loader"],
        batch_size=job["batch_size"],
        max_length=job["max_length"],
    )
    return model, train


def _endless(split: Any) -> Iterator[Any]:
    for epoch in itertools.count():
        yield from split.epoch(epoch)


def _update(optimizer: Any, variables: list[Any]) -> Callable[..., Any]:
    from tfft.backend import tf

    @tf.function(autograph=False, reduce_retracing=True)
    def update(gradients: Any) -> Any:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return optimizer.iterations.read_value()

    return update
