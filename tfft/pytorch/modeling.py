"""A checkpoint -> PyTorch's AutoModel under the task's head, and what a row costs it.

    torch.manual_seed(seed)
    loaded = load_model(checkpoint, task, label_names=("no", "yes"))
    losses = example_losses(task)
    losses(labels, logits_of(loaded.model, features))   # float32 [batch]

The twin of `tfft/modeling.py`: what is refused there is refused here, in the same words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.errors import ModelError, first_line
from tfft.pretrained import Checkpoint
from tfft.pytorch.backend import torch, transformers
from tfft.tasks import Task

# (labels as the task has them, logits [batch, n_labels]) -> one loss a row, float32 [batch].
ExampleLosses = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class LoadedModel:
    """A built model, in evaluation mode.

    Attributes:
        fresh: the tensors that the checkpoint lacked, or had in another size.
    """

    model: Any
    fresh: tuple[str, ...]


def load_model(
    checkpoint: Checkpoint,
    task: Task,
    *,
    label_names: Sequence[str],
    reset_head: bool = False,
    pad_token_id: int | None = None,
) -> LoadedModel:
    """The checkpoint under the task's head, in float32.

    Raises:
        ModelError: the head has another number of labels, or the weights can't be read.
    """
    if checkpoint.tensor_names() is None:
        raise ModelError(
            f"{checkpoint.name}: the weights are in TensorFlow's format, which PyTorch can't read; "
            "a run with --framework tensorflow saves them in PyTorch's"
        )
    auto_class = getattr(transformers, task.pytorch_class)
    config = checkpoint.config_for(task, label_names, pad_token_id=pad_token_id)
    try:
        model, info = auto_class.from_pretrained(
            str(checkpoint.weights_folder),
            config=config,
            torch_dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except Exception as error:
        raise ModelError(f"{checkpoint.name}: can't be loaded: {first_line(error)}") from error
    mismatched = sorted(name for name, *_ in info["mismatched_keys"])
    lacking = sorted(info["missing_keys"])
    checkpoint.check_filled(
        len(label_names),
        mismatched=mismatched,
        missing_in_body=_missing_in_body(model, lacking),
        reset_head=reset_head,
    )
    fresh = (*lacking, *mismatched)
    _draw_head(model, None if reset_head else fresh)
    return LoadedModel(model, fresh)


def _missing_in_body(model: Any, missing: Sequence[str]) -> list[str]:
    """Of the tensors that the checkpoint lacks, those that a fresh head doesn't explain."""
    prefix = f"{model.base_model_prefix}."
    # A pooler is of the body, but trained with a head.
    body = {name for name in model.base_model.state_dict() if "pooler" not in name}
    return [name for name in missing if name.removeprefix(prefix) in body]


def _draw_head(model: Any, fresh: Collection[str] | None) -> None:
    """Draws the head's dense layers, all of them or those that were `fresh`.

    A normal distribution of `initializer_range`, and no bias, as in `tfft/modeling.py`.
    """
    in_body = set(model.base_model.modules())
    spread = getattr(model.config, "initializer_range", 0.02)
    for name, layer in model.named_modules():
        if layer in in_body or not isinstance(layer, torch.nn.Linear):
            continue
        if fresh is not None and f"{name}.weight" not in fresh:
            continue
        torch.nn.init.normal_(layer.weight, std=spread)
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)


def logits_of(model: Any, features: Mapping[str, Any]) -> Any:
    """Float32 [batch, n_labels].

    Features that the architecture doesn't take are left out, as its TensorFlow class leaves them
    out: a DistilBERT with BERT's tokenizer gets token_type_ids.
    """
    taken = inspect.signature(model.forward).parameters
    return model(**{name: each for name, each in features.items() if name in taken}).logits.float()


def example_losses(
    task: Task, *, smoothing: float = 0.0, weights: np.ndarray | None = None
) -> ExampleLosses:
    """What a row costs of float32 logits: the task's own loss, as `tfft/modeling.py` has it.

    Args:
        smoothing: the part of each label that is spread evenly over all of them.
        weights: of classes, float32 [n_labels].
    """
    functional = torch.nn.functional

    def weights_on(logits: Any) -> Any:
        return None if weights is None else torch.as_tensor(weights, device=logits.device)

    def cross_entropy(labels: Any, logits: Any) -> Any:
        by_row = functional.cross_entropy(
            logits, labels, reduction="none", label_smoothing=smoothing
        )
        # Not PyTorch's own weights, which it spreads with the label.
        return by_row if weights is None else by_row * weights_on(logits)[labels]

    def by_label(labels: Any, logits: Any) -> Any:
        targets = labels.float() * (1.0 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(
            logits, targets, reduction="none", pos_weight=weights_on(logits)
        ).mean(dim=-1)

    def squared_error(labels: Any, logits: Any) -> Any:
        return (logits.squeeze(-1) - labels.float()) ** 2

    return {
        "single_label": cross_entropy,
        "multi_label": by_label,
        "regression": squared_error,
    }[task.name]
