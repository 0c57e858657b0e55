"""What both frameworks start from: one model, drawn once, and one run's batches, in a folder.

    job = write_start(config, asked, prepared, encoded, folder)

The batches are those that `tfft fit` would feed with the same options, taken from its own loader.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfft import modeling
from tfft.backend import keras
from tfft.certificate.jobs import (
    CHECKPOINT,
    TRAIN,
    VALIDATION,
    Batch,
    Job,
    switch_dropout_off,
    write_batches,
)
from tfft.certificate.recipes import Recipe
from tfft.config import ParityConfig, RunConfig
from tfft.data.choice import choose_loader
from tfft.data.loaders import open_split
from tfft.ready import Prepared
from tfft.schedules import warmup_steps
from tfft.weights import save_checkpoint

if TYPE_CHECKING:
    from tfft.data.encode import Encoded
    from tfft.data.split import Split

# The steps after which the parameters are compared, beside the last of them.
EARLY_STEPS = (1, 10)


def write_start(
    config: RunConfig,
    asked: ParityConfig,
    prepared: Prepared,
    encoded: Mapping[str, Encoded],
    folder: Path,
    *,
    recipe: Recipe | None = None,
) -> Job:
    """Writes the job, its checkpoint and its batches.

    Args:
        recipe: instead of the config's; dropout then stays as the checkpoint has it.

    Raises:
        ConfigError: the warm-up is longer than the run.
        ModelError: the model can't be built, or its names don't map to PyTorch's.
    """
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(config.train.seed)
    loaded = modeling.load_model(
        prepared.checkpoint,
        prepared.task,
        label_names=prepared.examples.label_names,
        reset_head=config.model.reset_head,
        pad_token_id=prepared.tokenizer.pad_token_id,
    )
    save_checkpoint(loaded, prepared.tokenizer, folder / CHECKPOINT)
    if recipe is None:
        switch_dropout_off(folder / CHECKPOINT)
    splits = _open_splits(config, prepared, encoded, loaded.model)
    of_epochs = sum(map(splits["train"].plan.steps, range(asked.epochs)))
    n_steps = max(of_epochs, asked.steps)
    train = config.train if recipe is None else recipe.train
    warmup_steps(train, n_steps)
    # A DistilBERT with BERT's tokenizer gets token_type_ids, which it has no use for.
    taken = inspect.signature(loaded.model.call).parameters
    train_batches = itertools.islice(_passes(splits["train"], taken), n_steps)
    write_batches(folder / TRAIN, train_batches)
    write_batches(folder / VALIDATION, _batches(splits["validation"], 0, taken))
    early = (step for step in EARLY_STEPS if step < asked.steps)
    job = Job(
        task=prepared.task.name,
        label_names=tuple(prepared.examples.label_names),
        pad_token_id=prepared.tokenizer.pad_token_id,
        train=replace(train, epochs=asked.epochs),
        n_steps=n_steps,
        snapshots=(*early, asked.steps),
        validate_after=of_epochs,
        device=asked.device,
        keras_epsilon=recipe is not None and recipe.keras_epsilon,
        drops=recipe is not None,
    )
    job.write(folder)
    return job


def _open_splits(
    config: RunConfig, prepared: Prepared, encoded: Mapping[str, Encoded], model: Any
) -> dict[str, Split]:
    train = encoded["train"]
    loader, _ = choose_loader(config.data.loader, train.lengths, len(train.features))
    return {
        name: open_split(
            config,
            encoded[name],
            prepared.tokenizer,
            loader=loader,
            shuffle=name == "train",
            model=model,
            label_names=prepared.examples.label_names,
        )
        for name in ("train", "validation")
    }


def _passes(split: Split, taken: Container[str]) -> Iterator[Batch]:
    for epoch in itertools.count():
        yield from _batches(split, epoch, taken)


def _batches(split: Split, epoch: int, taken: Container[str]) -> Iterator[Batch]:
    for features, labels in split.epoch(epoch):
        arrays = {name: each.numpy() for name, each in features.items() if name in taken}
        yield arrays, labels.numpy()
