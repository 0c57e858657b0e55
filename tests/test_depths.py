"""Freezing, layer-wise rates and decay, in each architecture that transformers names otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfft.config import TrainConfig
from tfft.errors import ModelError
from tfft.pretrained import open_checkpoint
from tfft.tasks import TASKS

TASK = TASKS["single_label"]
# Each architecture, and what of its body comes before the layers or goes into all of them.
KINDS = {
    "bert": "/embeddings/",
    "distilbert": "/embeddings/",
    "roberta": "/embeddings/",
    "electra": "/embeddings/|/embeddings_project/",
    "albert": "albert/embeddings/|embedding_hidden_mapping_in",
    "mpnet": "mpnet/embeddings/|relative_attention_bias",
    "deberta-v2": "/embeddings/|rel_embeddings|encoder/LayerNorm",
}
LAYERED = [kind for kind in KINDS if kind != "albert"]
HEAD = r"(?<!attention/)pooler|classifier"


def load(checkpoints: Path, kind: str) -> Any:
    from tfft import modeling

    checkpoint = open_checkpoint(str(checkpoints / kind), TASK)
    return modeling.load_model(checkpoint, TASK, label_names=("no", "yes"), pad_token_id=0).model


def compiled(checkpoints: Path, kind: str, **options: Any) -> Any:
    from tfft import modeling

    model = load(checkpoints, kind)
    modeling.compile_model(model, TASK, TrainConfig(**options))
    return model


def names_of(weights: Any) -> set[str]:
    """Without the model's own, which Keras numbers."""
    return {each.name.partition("/")[2] for each in weights}


def matching(names: set[str], pattern: str) -> set[str]:
    return {each for each in names if re.search(pattern, f"/{each}")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_embeddings_are_frozen_and_nothing_else(checkpoints: Path, kind: str) -> None:
    model = compiled(checkpoints, kind, freeze="embeddings")
    every = names_of(model.weights)
    assert names_of(model.non_trainable_variables) == matching(every, KINDS[kind])
    assert names_of(model.trainable_variables) == every - matching(every, KINDS[kind])


@pytest.mark.parametrize("kind", LAYERED)
def test_the_first_layers_are_frozen_with_the_embeddings(checkpoints: Path, kind: str) -> None:
    model = compiled(checkpoints, kind, freeze="layers:1")
    every = names_of(model.weights)
    expected = matching(every, rf"{KINDS[kind]}|layer_\._0/")
    assert names_of(model.non_trainable_variables) == expected
    assert matching(every - expected, r"layer_\._1/")


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_the_head_are_frozen(checkpoints: Path, kind: str) -> None:
    from tfft.depths import n_parameters

    model = compiled(checkpoints, kind, freeze="all-but-head")
    every = names_of(model.weights)
    assert names_of(model.trainable_variables) == matching(every, HEAD)
    n_learning, n_frozen = n_parameters(model)
    assert n_learning == sum(each.numpy().size for each in model.trainable_variables)
    assert n_learning + n_frozen == model.count_params()


def test_more_layers_than_there_are_is_refused_with_their_number(checkpoints: Path) -> None:
    with pytest.raises(ModelError, match=r"freeze layers:3: this bert has 2 layers"):
        compiled(checkpoints, "bert", freeze="layers:3")


def test_shared_layers_are_refused_by_name(checkpoints: Path) -> None:
    with pytest.raises(ModelError, match=r"albert has one layer's weights.*freeze layers:1"):
        compiled(checkpoints, "albert", freeze="layers:1")
    with pytest.raises(ModelError, match=r"albert has one layer's weights.*layer_decay"):
        compiled(checkpoints, "albert", layer_decay=0.5)


def test_an_architecture_of_unknown_names_is_refused(checkpoints: Path) -> None:
    with pytest.raises(ModelError, match=r"gpt2: whether .* is of the embeddings"):
        compiled(checkpoints, "gpt2", freeze="embeddings")


def stepped(model: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The weights before and after a step with gradients of 1."""
    from tfft.backend import tf

    for each in model.trainable_variables:  # a fresh bias is nought, which no decay changes
        each.assign_add(tf.ones_like(each))
    before = {each.name: each.numpy() for each in model.trainable_variables}
    pairs = [(tf.ones_like(each), each) for each in model.trainable_variables]
    model.optimizer.apply_gradients(pairs)
    return before, {each.name: each.numpy() for each in model.trainable_variables}


@pytest.mark.parametrize("kind", LAYERED)
def test_each_layer_has_its_part_of_the_rate_and_of_the_decay(checkpoints: Path, kind: str) -> None:
    rate, decay, weight_decay = 0.1, 0.5, 0.3
    model = compiled(
        checkpoints,
        kind,
        optimizer="adamw",
        learning_rate=rate,
        layer_decay=decay,
        weight_decay=weight_decay,
    )
    before, after = stepped(model)
    seen = set()
    for name, value in before.items():
        inner = "/" + name.partition("/")[2]
        if re.search(HEAD, inner):
            depth = 0
        elif layer := re.search(r"layer_\._(\d)/", inner):
            depth = 2 - int(layer[1])
        else:
            assert re.search(KINDS[kind], inner)
            depth = 3
        seen.add(depth)
        own_rate = rate * decay**depth
        exempt = re.search(r"bias|gamma|beta", inner)
        # Adam's first step is the gradient's sign.
        expected = value * (1 - (0.0 if exempt else own_rate * weight_decay)) - own_rate
        np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", [*KINDS, "gpt2"])
def test_weight_decay_exempts_biases_and_layer_norms(checkpoints: Path, kind: str) -> None:
    from tfft.backend import keras

    model = compiled(checkpoints, kind, optimizer="adamw", learning_rate=0.1, weight_decay=0.3)
    # By what they are, not by their names.
    norms = {
        id(weight)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.LayerNormalization)
        for weight in layer.weights
    }
    assert norms
    before, after = stepped(model)
    for weight in model.trainable_variables:
        # A bias is a vector; GPT-2's is [1, n], MPNet's of relative positions is a table.
        exempt = id(weight) in norms or "bias" in weight.name
        assert exempt or weight.shape.rank >= 2, weight.name
        factor = 1.0 if exempt else 1.0 - 0.1 * 0.3
        np.testing.assert_allclose(
            after[weight.name],
            before[weight.name] * factor - 0.1,
            rtol=1e-5,
            atol=1e-6,
            err_msg=weight.name,
        )
