"""The two tutorials' recipes as they are written, and the ways between them.

    mine, theirs = of_tensorflow(config.train), of_pytorch(config.train)
    for name, change, recipe in ways(config.train): ...

One difference at a time is changed in TensorFlow's recipe, and what it does to the loss is measured
in PyTorch, whose dropout draws the same numbers each time: the effect is the change's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tfft.config import TrainConfig

# Keras' Adam adds it to an uncorrected second moment: at the first step that is as much as 3e-6 in
# PyTorch's way.
KERAS_EPSILON = 1e-7
PYTORCH_EPSILON = 1e-8


@dataclass(frozen=True)
class Recipe:
    train: TrainConfig
    keras_epsilon: bool


def of_tensorflow(train: TrainConfig) -> Recipe:
    """Keras' Adam(3e-5), as `model.compile` has it in the tutorial."""
    adam = replace(
        train,
        optimizer="adam",
        learning_rate=3e-5,
        schedule="constant",
        epsilon=KERAS_EPSILON,
        weight_decay=None,
    )
    return Recipe(adam, keras_epsilon=True)


def of_pytorch(train: TrainConfig) -> Recipe:
    """AdamW(5e-5) and get_scheduler("linear") without a warm-up."""
    recipe = of_tensorflow(train)
    for _, _, change in _CHANGES:
        recipe = change(recipe)
    return recipe


def ways(train: TrainConfig) -> Iterator[tuple[str, str, Recipe]]:
    """(name, from what to what, recipe): TensorFlow's own, each change of it, and all at once."""
    start = of_tensorflow(train)
    yield "TensorFlow's recipe", "Adam 3e-5, constant", start
    for name, told, change in _CHANGES:
        yield name, told, change(start)
    other = replace(start, train=replace(start.train, seed=(train.seed + 1) % 2**32))
    yield "dropout", "the same, other random numbers", other
    yield "PyTorch's recipe", "all but dropout's numbers", of_pytorch(train)


def _decay(recipe: Recipe) -> Recipe:
    return replace(recipe, train=replace(recipe.train, optimizer="adamw", weight_decay=0.01))


def _epsilon(recipe: Recipe) -> Recipe:
    return Recipe(replace(recipe.train, epsilon=PYTORCH_EPSILON), keras_epsilon=False)


def _rate(recipe: Recipe) -> Recipe:
    return replace(recipe, train=replace(recipe.train, learning_rate=5e-5))


def _schedule(recipe: Recipe) -> Recipe:
    return replace(recipe, train=replace(recipe.train, schedule="linear"))


_CHANGES = (
    ("optimizer", "Adam -> AdamW, decay 0.01", _decay),
    ("epsilon", "1e-7 as Keras adds it -> 1e-8 as PyTorch does", _epsilon),
    ("learning rate", "3e-5 -> 5e-5", _rate),
    ("schedule", "constant -> linear to nought", _schedule),
)
# What `recipe tutorial` names itself, so that nobody else can.
NAMED = (
    *("optimizer", "learning_rate", "schedule", "warmup", "beta_1", "beta_2", "epsilon"),
    *("weight_decay", "clip_norm"),
)
