"""Where PyTorch runs a fit: one device, the first GPU where there is one.

device = choose_device()        # torch.device: cuda, mps or cpu
device_names(device)            # for the manifest
with memory(split, device, training=config.train):
...
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfft.config import TrainConfig
from tfft.errors import TrainingError
from tfft.loop import Batches, out_of_memory
from tfft.pytorch.backend import torch


def choose_device() -> Any:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_names(device: Any) -> str | list[str]:
    """The name of the GPU, in a list as TensorFlow's runs have it, or what the CPU is."""
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device)]
    return ["mps"] if device.type == "mps" else f"CPU ({platform.machine()})"


def check_precision(device: Any, precision: str) -> None:
    """Raises:
    TrainingError: the GPU lacks it.
    """
    is_able = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not is_able:
        raise TrainingError(
            f"{torch.cuda.get_device_name(device)} has no bfloat16; try --precision float32"
        )


@contextmanager
def memory(split: Batches, *, training: TrainConfig | None = None) -> Iterator[None]:
    """Says what to try where a step, of training or not, doesn't fit into memory.

    Raises:
        TrainingError: it doesn't.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory(error, split, training=training) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise out_of_memory(error, split, training=training) from error
