"""How deep in a model each weight lies: embeddings, an encoder layer, or the head.

    freeze(model, "layers:6")           # the embeddings and the first 6 layers don't learn
    rate_factors(model, 0.9)            # the head's whole rate, 0.9 of it in the top layer ...

Told by the names that transformers gives TensorFlow's weights. A weight whose name says nothing
has its architecture refused, rather than be frozen, or learn, by mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tfft.config import parse_freeze
from tfft.errors import ModelError

_LAYER = re.compile(r"(?:^|/)layer_\._(\d+)/")
# ALBERT's layers are one layer's weights, used again and again.
_SHARED = re.compile(r"^encoder/albert_layer_groups_\._\d+/")
# What comes before the first layer, or goes into all of them: ALBERT's and ELECTRA's projections,
# MPNet's and DeBERTa's embeddings of relative positions, the last with a LayerNorm.
_EMBEDDINGS = re.compile(
    r"^(embeddings|embeddings_project"
    r"|encoder/(embedding_hidden_mapping_in|relative_attention_bias|rel_embeddings.weight:0"
    r"|LayerNorm))(/|$)"
)


@dataclass(frozen=True)
class Depths:
    """Every weight of a model, with its depth.

    Attributes:
        of_weights: (weight, depth): 0 of the embeddings, 1 and so on of the layers from below,
            `n_layers` + 1 of the head, which a pooler counts with.
        share: whether all layers have the same weights, which then have depth 1.
    """

    of_weights: tuple[tuple[Any, int], ...]
    n_layers: int
    share: bool

    @property
    def head(self) -> int:
        return self.n_layers + 1


def depths_of(model: Any) -> Depths:
    """Where each weight lies.

    Raises:
        ModelError: a weight's name doesn't tell.
    """
    prefix = model.base_model_prefix
    in_body = {id(each) for each in getattr(model, prefix).weights}
    n_layers = model.config.num_hidden_layers
    placed, share = [], False
    for weight in model.weights:
        name = weight.name.partition(f"/{prefix}/")[2]
        if id(weight) not in in_body or name.startswith("pooler/"):
            depth = n_layers + 1
        elif found := _LAYER.search(name):
            depth = int(found[1]) + 1
        elif _SHARED.search(name):
            depth, share = 1, True
        elif _EMBEDDINGS.search(name):
            depth = 0
        else:
            raise ModelError(
                f"{model.config.model_type}: whether {name} is of the embeddings or of a layer "
                "isn't known, so neither --freeze nor --layer-decay can be had"
            )
        placed.append((weight, depth))
    return Depths(tuple(placed), n_layers, share)


def freeze(model: Any, asked: str) -> None:
    """Takes weights out of the model's trainable ones.

    Args:
        asked: `embeddings`, `layers:N` (the embeddings and the first N layers) or `all-but-head`.

    Raises:
        ModelError: the model hasn't so many layers, or they share their weights.
    """
    part, n_frozen = parse_freeze(asked)
    depths = depths_of(model)
    if part == "layers":
        _refuse_shared(model, depths, f"freeze {asked}; there are embeddings and all-but-head")
        if n_frozen > depths.n_layers:
            raise ModelError(
                f"freeze {asked}: this {model.config.model_type} has {depths.n_layers} layers"
            )
    last = {"embeddings": 0, "layers": n_frozen, "all-but-head": depths.n_layers}[part or ""]
    frozen = {id(weight) for weight, depth in depths.of_weights if depth <= last}
    # Keras freezes whole layers, and MPNet's encoder has a weight of its own beside its layers.
    for layer in model._flatten_layers():
        own = list(layer._trainable_weights)
        layer._trainable_weights[:] = [each for each in own if id(each) not in frozen]
        layer._non_trainable_weights.extend(each for each in own if id(each) in frozen)


def rate_factors(model: Any, decay: float) -> list[tuple[Any, float]]:
    """(weight, part of the rate): 1 of the head, `decay` of the top layer, and so on down.

    The embeddings have decay^(layers + 1), as in ULMFiT's discriminative fine-tuning (Howard and
    Ruder 2018) and ELECTRA's code.

    Raises:
        ModelError: the layers share their weights.
    """
    depths = depths_of(model)
    _refuse_shared(model, depths, "a layer_decay")
    return [(weight, decay ** (depths.head - depth)) for weight, depth in depths.of_weights]


def _refuse_shared(model: Any, depths: Depths, what: str) -> None:
    if depths.share:
        raise ModelError(
            f"{model.config.model_type} has one layer's weights in all its layers, which allows no "
            f"{what}"
        )


def n_parameters(model: Any) -> tuple[int, int]:
    """How many learn, and how many are frozen."""
    counts = (model.trainable_variables, model.non_trainable_variables)
    n_learning, n_frozen = (sum(int(each.shape.num_elements()) for each in ws) for ws in counts)
    return n_learning, n_frozen
