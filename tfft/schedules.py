"""The learning rate over a run, and how many of its steps warm it up: no framework is needed.

    warmup_steps(config.train, n_steps=1605)      # 161 with warmup = 0.1
    rate_factor(config.train, 0, n_steps=1605)    # of the first step: 0.0 with a warm-up

`optimizers.Schedule` is the same in TensorFlow's graph.
"""

from __future__ import annotations

import math

from tfft.config import POLYNOMIAL_END, TrainConfig
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


def rate_factor(config: TrainConfig, step: int, *, n_steps: int) -> float:
    """What part of `learning_rate` a step has, as transformers' get_scheduler has it.

    Args:
        step: counts from 0.
        n_steps: of the whole run.
    """
    warmup = warmup_steps(config, n_steps)
    if step < warmup:
        return step / warmup
    left = 1.0 - min((step - warmup) / max(n_steps - warmup, 1), 1.0)
    return {
        "constant": 1.0,
        "linear": left,
        "cosine": 0.5 * (1.0 - math.cos(math.pi * left)),
        "polynomial": left + (1.0 - left) * POLYNOMIAL_END / config.learning_rate,
    }[config.schedule]
