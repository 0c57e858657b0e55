"""What TensorFlow makes of this machine: a matrix product, and layers like a small model's.

The number of threads is in the environment: TensorFlow reads it once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    from tfft.backend import tf

    size = job["size"]
    left, right = tf.random.normal([size, size]), tf.random.normal([size, size])
    weights = [
        tf.Variable(tf.random.normal(shape, stddev=0.02))
        for _ in range(6)
        for shape in ([384, 1536], [1536, 384])
    ]
    inputs = tf.random.normal([16 * 32, 384])

    @tf.function(autograph=False)
    def layers() -> Any:
        with tf.GradientTape() as tape:
            hidden = inputs
            for up, down in zip(weights[::2], weights[1::2], strict=True):
                hidden = hidden + tf.matmul(tf.nn.gelu(tf.matmul(hidden, up)), down)
            loss = tf.reduce_sum(hidden)
        return [tf.reduce_sum(each) for each in tape.gradient(loss, weights)]

    product = tf.function(lambda: tf.reduce_sum(tf.matmul(left, right)), autograph=False)
    answer(turn, size, lambda: product().numpy(), lambda: layers()[0].numpy())


def answer(turn: Turn, size: int, product: Callable[[], Any], layers: Callable[[], Any]) -> None:
    """Warms both up, and tells a figure of each whenever it is asked."""
    product(), layers()
    while True:
        turn.tell(gflops=2 * size**3 / _seconds(product) / 1e9, layers_per_s=1 / _seconds(layers))


def _seconds(work: Callable[[], Any], *, n: int = 5) -> float:
    """The shortest of `n`: what else runs on the machine only ever adds."""
    taken = []
    for _ in range(n):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
