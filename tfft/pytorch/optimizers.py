"""PyTorch's own Adam and AdamW with the config's numbers, and its rate over the run.

optimizer, schedule = make_optimizer(model, config.train, n_steps=1605)
optimizer.step()
schedule.step()         # after each step of the optimizer
"""

from __future__ import annotations

from typing import Any

from tfft.config import TrainConfig
from tfft.pytorch.backend import torch
from tfft.schedules import rate_factor


def make_optimizer(model: Any, config: TrainConfig, n_steps: int) -> tuple[Any, Any]:
    """A torch.optim.Optimizer over the model's parameters, and its LRScheduler.

    Args:
        n_steps: of the whole run.
    """
    numbers = {
        "lr": config.learning_rate,
        "betas": (config.beta_1, config.beta_2),
        "eps": config.epsilon,
    }
    optimizer: Any
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), **numbers)
    else:
        optimizer = torch.optim.AdamW(_by_decay(model, config.weight_decay or 0.0), **numbers)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(config, step, n_steps=n_steps)
    )
    return optimizer, schedule


def _by_decay(model: Any, decay: float) -> list[dict[str, Any]]:
    """Two groups of parameters: those that decay, and biases and LayerNorms, which don't."""
    exempt = {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, torch.nn.LayerNorm)
        for parameter in layer.parameters()
    }
    decaying: list[Any] = []
    others: list[Any] = []
    for name, parameter in model.named_parameters():
        # MPNet's relative_attention_bias is one by its name, as in TensorFlow.
        is_exempt = id(parameter) in exempt or "bias" in name
        (others if is_exempt else decaying).append(parameter)
    return [
        {"params": decaying, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
