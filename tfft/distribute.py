"""Where the steps run: one device, or a replica of the model on each of several.

    devices = open_devices("auto", batch_size=32)
    with devices.scope():
        ...                                     # build the model and its optimizer
    step = devices.summed(train_step)           # of (features, labels, shares) -> loss
    score = devices.joined(score)               # of (features, labels) -> losses, logits

The batch is global: each replica takes its rows of it, and each row its share of the loss, so that
what is summed over replicas is the mean over the global batch, an uneven last one too. (A mean of
the replicas' means, which is what Keras takes, is wrong where they have unlike numbers of rows.)
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

from tfft.backend import tf
from tfft.errors import ConfigError


@dataclass(frozen=True)
class Devices:
    """One device, or several under a strategy.

    Attributes:
        strategy: a tf.distribute.Strategy, or None of one device.
        names: as TensorFlow calls them.
    """

    strategy: Any
    names: tuple[str, ...]

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
                rows, is_real = self._own_rows(tf.shape(shares)[0])
                own = take((features, labels, shares), rows)
                return step(own[0], own[1], own[2] * tf.cast(is_real, own[2].dtype))

            results = self.strategy.run(on_one, args=(features, labels, shares))
            return self.strategy.reduce("SUM", results, axis=None)

        return on_all

    def joined(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step(*batch) -> tensors [rows, ...]` on every replica's rows, joined in their order."""
        if self.strategy is None:
            return step

        def on_all(*batch: Any) -> Any:
            def on_one(*batch: Any) -> Any:
                n_rows = tf.shape(tf.nest.flatten(batch)[0])[0]
                rows, is_real = self._own_rows(n_rows)
                n_real = tf.reduce_sum(tf.cast(is_real, tf.int32))
                outputs = step(*take(batch, rows))
                return tf.nest.map_structure(lambda each: each[:n_real], outputs)

            results = self.strategy.run(on_one, args=batch)
            parts = tf.nest.map_structure(self.strategy.experimental_local_results, results)
            if isinstance(results, tuple):
                return tuple(tf.concat(each, axis=0) for each in parts)
            return tf.concat(parts, axis=0)

        return on_all

    def _own_rows(self, n_rows: Any) -> tuple[Any, Any]:
        """The rows of a batch that are this replica's, and which of them count.

        A replica that gets none, of a last batch of few, computes one that counts for nothing: no
        kernel has to bear an empty batch.
        """
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        start = replica * n_rows // self.n_replicas
        end = (replica + 1) * n_rows // self.n_replicas
        rows = tf.range(start, tf.maximum(end, start + 1))
        return tf.minimum(rows, n_rows - 1), rows < end


ONE_DEVICE = Devices(None, ())


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


def open_devices(asked: str, *, batch_size: int, accumulate: int = 1) -> Devices:
    """The devices of `auto`, `none` or `mirrored`.

    Raises:
        ConfigError: mirrored was asked for and there is nothing to mirror on; or there are more
            replicas than rows in a batch; or a batch isn't `accumulate` equal parts for each.
    """
    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    if asked == "none" or (asked == "auto" and len(gpus) < 2):
        return Devices(None, ((gpus or cpus)[0].name,))
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


@cache
def _mirrored(names: tuple[str, ...]) -> Any:
    """One a process: a second one would number its reductions as the first one did.

    Two models of unlike shapes then meet under one number, and TensorFlow ends the step.
    """
    return tf.distribute.MirroredStrategy(names)
