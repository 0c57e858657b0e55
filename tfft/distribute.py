"""Where the steps run: one device, or a replica of the model on each of several.

    devices = open_devices("auto", batch_size=32)
    with devices.scope():
        ...                                     # build the model and its optimizer
    step = devices.summed(train_step)           # of (features, labels, shares) -> loss
    score = devices.joined(score)               # of (features, labels) -> losses, logits
    devices.parts_of((features, labels, shares))    # a CPU's cores: each its rows, in one graph
    with devices.started_soon():
        ...                                     # the steps

The batch is global: each replica takes its rows of it, and each row its share of the loss, so that
what is summed over replicas is the mean over the global batch, an uneven last one too. (A mean of
the replicas' means, which is what Keras takes, is wrong where they have unlike numbers of rows.)

A CPU's cores share a batch in the same way, but with one model: as many independent parts of one
graph go through at a time. TensorFlow shares out each operation instead, of which a step has some
4,000, most of them too small for it: gradients of MiniLM on 16 texts of CoLA took 163 ms in two
parts and 226 in one, on two cores.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from tfft.backend import tf
from tfft.errors import ConfigError

# Rows that a core must have of a batch, at least, for its own part of the graph to be worth it.
ROWS_A_CORE = 4


@dataclass(frozen=True)
class Devices:
    """One device, or several under a strategy.

    Attributes:
        strategy: a tf.distribute.Strategy, or None of one device.
        names: as TensorFlow calls them.
        n_cores: that share the rows of a batch, where the device is a CPU.
    """

    strategy: Any
    names: tuple[str, ...]
    n_cores: int = 1

    @property
    def n_replicas(self) -> int:
        return len(self.names) if self.strategy is not None else 1

    def scope(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def summed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step(features, labels, shares) -> scalar` on every replica's rows, summed up."""
        if self.strategy is None:
            return step

        def on_all(features: Any, labels: Any, shares: Any) -> Any:
            def on_one(features: Any, labels: Any, shares: Any) -> Any:
                return step(*_part((features, labels, shares), self.replica, self.n_replicas))

            results = self.strategy.run(on_one, args=(features, labels, shares))
            return self.strategy.reduce("SUM", results, axis=None)

        return on_all

    def joined(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step(*batch) -> tensors [rows, ...]` on each one's rows, joined in their order."""

        def on_one(batch: Any, number: Any, of: int) -> Any:
            rows, is_real = _rows_of(number, of, tf.shape(tf.nest.flatten(batch)[0])[0])
            n_real = tf.reduce_sum(tf.cast(is_real, tf.int32))
            outputs = step(*take(batch, rows))
            return tf.nest.map_structure(lambda each: each[:n_real], outputs)

        def on_cores(*batch: Any) -> Any:
            parts = [on_one(batch, core, self.n_cores) for core in range(self.n_cores)]
            return tf.nest.map_structure(lambda *each: tf.concat(each, axis=0), *parts)

        def on_replicas(*batch: Any) -> Any:
            results = self.strategy.run(
                lambda *batch: on_one(batch, self.replica, self.n_replicas), args=batch
            )
            parts = tf.nest.map_structure(self.strategy.experimental_local_results, results)
            if isinstance(results, tuple):
                return tuple(tf.concat(each, axis=0) for each in parts)
            return tf.concat(parts, axis=0)

        if self.strategy is not None:
            return on_replicas
        return on_cores if self.n_cores > 1 else step

    def parts_of(self, batch: tuple[Any, Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
        """The rows of (features, labels, shares) that each core takes."""
        if self.n_cores == 1:
            yield batch
            return
        for core in range(self.n_cores):
            yield _part(batch, core, self.n_cores)

    @contextmanager
    def started_soon(self) -> Iterator[None]:
        """In here cores that share a batch run their graphs as they were traced.

        TensorFlow's own rewriting of a graph took 2.3 of the 7 seconds until MiniLM's first step,
        and the steps were no faster for it.
        """
        if self.n_cores == 1:
            yield
            return
        # All of it: what can be switched off pass by pass is a tenth of it. The option is part of
        # each call, and so has to stay the same as long as the graphs are called.
        options = tf.config.optimizer
        before = options.get_experimental_options().get("disable_meta_optimizer", False)
        options.set_experimental_options({"disable_meta_optimizer": True})
        try:
            yield
        finally:
            options.set_experimental_options({"disable_meta_optimizer": before})

    @property
    def replica(self) -> Any:
        """The number of the replica that is being traced: int32 []."""
        return tf.distribute.get_replica_context().replica_id_in_sync_group


ONE_DEVICE = Devices(None, ())


def _part(batch: tuple[Any, Any, Any], number: Any, of: int) -> tuple[Any, Any, Any]:
    """Part `number` of (features, labels, shares)."""
    rows, is_real = _rows_of(number, of, tf.shape(batch[-1])[0])
    features, labels, shares = take(batch, rows)
    return features, labels, shares * tf.cast(is_real, shares.dtype)


def _rows_of(number: Any, of: int, n_rows: Any) -> tuple[Any, Any]:
    """The rows of a batch that are in part `number`, and which of them count.

    A part that gets none, of a last batch of few, has one that counts for nothing: no kernel has to
    bear an empty batch.
    """
    start, end = number * n_rows // of, (number + 1) * n_rows // of
    rows = tf.range(start, tf.maximum(end, start + 1))
    return tf.minimum(rows, n_rows - 1), rows < end


def device_names() -> str | list[str]:
    """The names of the GPUs, or what the CPU is."""
    gpus = [
        tf.config.experimental.get_device_details(each).get("device_name", each.name)
        for each in tf.config.list_physical_devices("GPU")
    ]
    return gpus or f"CPU ({platform.machine()})"


def take(batch: Any, rows: Any) -> Any:
    """These rows of every tensor of a batch, which may be nested."""
    return tf.nest.map_structure(lambda each: tf.gather(each, rows), batch)


def open_devices(
    asked: str, *, batch_size: int, accumulate: int = 1, shares_cores: bool = True
) -> Devices:
    """The devices of `auto`, `none` or `mirrored`.

    Args:
        shares_cores: whether a CPU's cores share each batch.

    Raises:
        ConfigError: mirrored was asked for and there is nothing to mirror on; or there are more
            replicas than rows in a batch; or a batch isn't `accumulate` equal parts for each.
    """
    n_cores = 1
    if shares_cores and not tf.config.list_physical_devices("GPU"):
        n_cores = _share_cores(batch_size // accumulate)
    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    if asked == "none" or (asked == "auto" and len(gpus) < 2):
        return Devices(None, ((gpus or cpus)[0].name,), n_cores)
    # Logical CPU devices are how several are tried on a machine without a GPU.
    found = gpus or (cpus if len(cpus) > 1 else [])
    if not found:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = f" (CUDA_VISIBLE_DEVICES is '{hidden}')" if hidden is not None else ""
        raise ConfigError(
            f"strategy mirrored needs GPUs, and TensorFlow finds none{why}; tfft doctor says what "
            "is missing, --strategy none takes the CPU",
            options=["train.strategy"],
        )
    names = tuple(each.name for each in found)
    if batch_size < len(names):
        raise ConfigError(
            f"batch_size {batch_size} is over all devices, and there are {len(names)}: give at "
            f"least {len(names)}, or --strategy none",
            options=["train.batch_size", "train.strategy"],
        )
    if accumulate > 1 and batch_size % (accumulate * len(names)):
        raise ConfigError(
            f"batch_size {batch_size} can't be fed in accumulate {accumulate} equal parts on each "
            f"of {len(names)} devices: give a multiple of {accumulate * len(names)}",
            options=["train.batch_size", "train.accumulate", "train.strategy"],
        )
    return Devices(_mirrored(names), names)


def _share_cores(n_rows: int) -> int:
    """How many parts a batch of `n_rows` goes through in, each with its own cores.

    With threads of its own for each part, a step of MiniLM took 135 ms, and 168 where TensorFlow's
    operations had all of them, on two cores. Whoever has chosen the threads keeps them.
    """
    n_parts = max(1, min(_n_cores(), n_rows // ROWS_A_CORE))
    is_chosen = tf.config.threading.get_intra_op_parallelism_threads()
    if n_parts > 1 and not is_chosen and "TF_NUM_INTRAOP_THREADS" not in os.environ:
        with suppress(RuntimeError):  # TensorFlow has run before, and has its threads
            tf.config.threading.set_intra_op_parallelism_threads(_n_cores() // n_parts)
    return n_parts


def _n_cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _mirrored(names: tuple[str, ...]) -> Any:
    """One a process: a second one would number its reductions as the first one did.

    Two models of unlike shapes then meet under one number, and TensorFlow ends the step.
    """
    return tf.distribute.MirroredStrategy(names)
