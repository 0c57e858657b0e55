"""The parts of one training step, each on the same batches, in turn.

    forward                     the model and its loss
    forward and backward        the same with every gradient
    optimizer ...               the update alone, given gradients: Keras' Adam, and ours
    whole step ...              all of it as one traced function, as a fit has it
    input                       taking the next batch, while steps run
    call                        calling a traced function that does nothing, from Python

Figures are milliseconds.
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
    import tfft
    from tfft.backend import keras, tf
    from tfft.config import TrainConfig
    from tfft.modeling import make_optimizer

    model = tfft.build_model(job["model"], num_labels=job["n_labels"], reset_head=True)
    train, _ = tfft.load_data(
        job["data"],
        tokenizer=job["model"],
        model=model,
        loader=job["loader"],
        batch_size=job["batch_size"],
        max_length=job["max_length"],
    )
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

    batches, on_gpu = _endless(train), bool(tf.config.list_physical_devices("GPU"))
    taken: defaultdict[str, list[float]] = defaultdict(list)

    def timed(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        started = time.perf_counter()
        result = work(*arguments)
        if on_gpu:
            tf.test.experimental.sync_devices()  # work goes on there after the call
        taken[name].append(1000 * (time.perf_counter() - started))
        return result

    while True:
        for _ in range(job["n_batches"]):
            batch = timed("input", next, batches)
            timed("call", nothing, *batch)
            timed("forward", forward, *batch)
            _, gradients = timed("forward and backward", forward_backward, *batch)
            for name, update in updates.items():
                timed(f"optimizer, {name}", update, gradients)
            for name, step in steps.items():
                timed(f"whole step, {name}", step, *batch)
        turn.tell(medians={name: float(np.median(each)) for name, each in taken.items()})
        taken.clear()


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
