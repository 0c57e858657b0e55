"""How many of a run's steps warm it up: known as soon as its rows are, without TensorFlow.

    warmup_steps(config.train, n_steps=1605)      # 161 with warmup = 0.1

The rates themselves are the optimizer's: `optimizers.Schedule`.
"""

from __future__ import annotations

import math

from tfft.config import TrainConfig
from tfft.errors import ConfigError


def warmup_steps(config: TrainConfig, n_steps: int) -> int:
    """The steps before the rate is whole; a part of them is rounded up, as transformers does.

    Args:
        n_steps: of the whole run.

    Raises:
        ConfigError: the run has fewer.
    """
    if config.warmup < 1.0:
        return math.ceil(config.warmup * n_steps)
    if config.warmup > n_steps:
        raise ConfigError(
            f"warmup takes {config.warmup:g} steps, and the run has {n_steps} (epochs x steps an "
            "epoch); give fewer, or a part of them such as --warmup 0.1"
        )
    return int(config.warmup)
