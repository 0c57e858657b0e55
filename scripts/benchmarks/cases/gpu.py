"""The most memory that a framework took of its GPU, in MiB; nothing where there is none."""

from __future__ import annotations


def torch_peak() -> dict[str, float]:
    import torch

    if not torch.cuda.is_available():
        return {}
    return {"gpu_peak": torch.cuda.max_memory_allocated() / 2**20}


def tensorflow_peak() -> dict[str, float]:
    from tfft.backend import tf

    if not tf.config.list_physical_devices("GPU"):
        return {}
    return {"gpu_peak": tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20}
