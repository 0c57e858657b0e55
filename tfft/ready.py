"""All of a fit that can be known without TensorFlow: its rows, its checkpoint, its tokens.

    prepared = prepare(config, progress)
    prepared.examples, prepared.checkpoint, prepared.max_length
    encoded = tokenise(prepared, progress)      # {"train": Encoded, "validation": Encoded}

What is wrong with the data or the checkpoint is told here, before anything heavy wakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfft.config import RunConfig, check_for_task
from tfft.errors import ConfigError, listed
from tfft.folders import cache_folder
from tfft.progress import Progress
from tfft.tasks import TASKS, Task

if TYPE_CHECKING:
    import numpy as np

    from tfft.data.encode import Encoded
    from tfft.data.examples import Examples
    from tfft.pretrained import Checkpoint


@dataclass(frozen=True)
class Prepared:
    """What a fit starts from.

    Attributes:
        max_length: tokens a text may have, special ones included.
        metric: the validation figure that chooses the epoch to keep.
        class_weights: float32 [n_labels], or None where all weigh the same.
    """

    examples: Examples
    checkpoint: Checkpoint
    tokenizer: Any
    max_length: int
    metric: str
    class_weights: np.ndarray | None

    @property
    def task(self) -> Task:
        return TASKS[self.examples.task]


def prepare(config: RunConfig, progress: Progress) -> Prepared:
    """Reads and checks the data, then the checkpoint.

    Raises:
        TfftError: says what was expected, what came and what to try.
    """
    progress.stage("reading the data")
    from tfft.data.class_weights import class_weights
    from tfft.data.examples import labels_of, load_training

    examples = load_training(config.data, seed=config.train.seed)
    try:
        check_for_task(examples.task, config.as_options())
    except ConfigError as error:  # what the data turned out to be is no usage error
        raise ConfigError(str(error)) from None
    metric = _metric_for_best(config, examples)

    progress.stage("reading the checkpoint")
    from tfft.pretrained import load_tokenizer, longest_tokens, open_checkpoint

    checkpoint = open_checkpoint(
        config.model.source, TASKS[examples.task], allow_pickle=config.model.allow_pickle
    )
    tokenizer = load_tokenizer(checkpoint)
    max_length = longest_tokens(checkpoint, tokenizer, config.data.max_length)
    if not config.model.reset_head:
        checkpoint.check_head(TASKS[examples.task], examples.label_names)
        examples = _in_the_head_s_order(examples, checkpoint)
    for note in examples.notes:
        progress.note(note)
    weights = None
    if config.train.class_weight is not None:
        names = examples.label_names
        weights = class_weights(config.train.class_weight, labels_of(examples.train), names)
        told = (f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
        of = f" (of {len(examples.train):,} rows)" if examples.stream is not None else ""
        progress.note(f"class weights{of}: {listed(told)}")
    return Prepared(examples, checkpoint, tokenizer, max_length, metric, weights)


def tokenise(prepared: Prepared, progress: Progress) -> dict[str, Encoded]:
    """Each split in tokens, `train` first."""
    progress.stage("tokenising")
    from tfft.data.encode import encode

    encoded = {
        name: encode(rows, prepared.tokenizer, max_length=prepared.max_length, cache=cache_folder())
        for name, rows in prepared.examples.splits.items()
    }
    for note in length_notes(encoded, prepared.max_length):
        progress.note(note)
    return encoded


def choose_batches(
    config: RunConfig,
    prepared: Prepared,
    encoded: Mapping[str, Encoded],
    progress: Progress,
    *,
    collates: bool = False,
) -> tuple[str, int]:
    """The loader, and how many steps the run has."""
    from tfft.data.choice import choose_for, plan_batches

    train = encoded["train"]
    loader, why = choose_for(
        config,
        train.lengths,
        len(train.features),
        collates=collates,
        streams=prepared.examples.stream is not None,
    )
    progress.note(f"loader: {loader}: {why}")
    plan = plan_batches(config, train.lengths, loader=loader, shuffle=True)
    return loader, plan.total_steps(config.train)


def length_notes(encoded: Mapping[str, Encoded], max_length: int) -> list[str]:
    return [
        f"lengths: {each.n_cut:,} of {len(each.lengths):,} {name} texts are longer than "
        f"{max_length} tokens and were cut"
        for name, each in encoded.items()
        if each.n_cut
    ]


def _metric_for_best(config: RunConfig, examples: Examples) -> str:
    task = TASKS[examples.task]
    metric = config.train.metric_for_best or task.default_metric(examples.glue_task)
    if metric not in (reported := figures_of(examples)):
        raise ConfigError(
            f"metric_for_best {metric} is not reported with {len(examples.label_names)} labels; "
            f"there are {listed(reported)}",
        )
    return metric


def figures_of(examples: Examples) -> tuple[str, ...]:
    """What is reported of the validation split."""
    missing = "f1" if len(examples.label_names) > 2 else "f1_macro"
    metrics = TASKS[examples.task].metrics
    if examples.task == "single_label":
        metrics = tuple(name for name in metrics if name != missing)
    return ("loss", *metrics)


def _in_the_head_s_order(examples: Examples, checkpoint: Checkpoint) -> Examples:
    """A trained head knows its labels by their places: the data follows it."""
    from dataclasses import replace

    from tfft.data.alignment import respelled
    from tfft.data.examples import in_order_of

    learned = checkpoint.label_names
    if examples.task == "regression" or len(examples.label_names) != len(learned):
        return examples
    names = respelled(examples.label_names, learned)
    if names in (None, examples.label_names) or not checkpoint.has_head(TASKS[examples.task]):
        return examples
    note = (
        f"labels: in the order of the checkpoint's head ({listed(learned)}); the data has "
        f"{listed(examples.label_names)}"
    )
    ordered = in_order_of(examples, names)
    return replace(ordered, notes=(*ordered.notes, note))
