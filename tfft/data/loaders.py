"""A split through the loader of that name.

loader, why = choose_loader(config.data.loader, encoded.lengths, n_features=3)
split = open_split(config, encoded, tokenizer, loader=loader, shuffle=True, label_names=names)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tfft.config import RunConfig, parse_buckets
from tfft.data.arrays import from_arrays
from tfft.data.buckets import from_buckets
from tfft.data.choice import plan_batches
from tfft.data.encode import Encoded
from tfft.data.flow import from_stream
from tfft.data.plan import BatchPlan, BucketPlan
from tfft.data.split import Split
from tfft.data.streams import Collate, from_prepare, from_to_tf
from tfft.errors import ConfigError

if TYPE_CHECKING:
    from datasets import Dataset


def open_split(
    config: RunConfig,
    encoded: Encoded,
    tokenizer: Any,
    *,
    loader: str,
    shuffle: bool,
    length: int | None = None,
    **more: Any,
) -> Split:
    """The split in the batches that the config asks for; the rest is for `make_split`."""
    plan = plan_batches(config, encoded.lengths, loader=loader, shuffle=shuffle, length=length)
    return make_split(encoded, tokenizer, plan, loader=loader, length=length, **more)


def open_stream(
    config: RunConfig,
    chunks: Callable[[], Iterator[Dataset]],
    tokenizer: Any,
    first: Encoded,
    *,
    max_length: int,
    label_names: tuple[str, ...],
) -> Split:
    """The batches that the config asks for of a stream; `first` are its first rows."""
    named = config.data.buckets
    return from_stream(
        chunks,
        tokenizer,
        first,
        n_steps=config.train.steps or 0,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        buffer_rows=config.data.shuffle_buffer or 1,
        max_length=max_length,
        max_shapes=config.data.max_shapes,
        buckets=None if named is None else parse_buckets(named),
        label_names=label_names,
    )


def make_split(
    encoded: Encoded,
    tokenizer: Any,
    plan: BatchPlan,
    *,
    loader: str,
    model: Any = None,
    label_names: tuple[str, ...] = (),
    length: int | None = None,
    collate_fn: Collate | None = None,
) -> Split:
    """The split through `loader`.

    Args:
        plan: of `bucketed` a `BucketPlan`.
        model: needed by `prepare` alone, whose method it is.
        length: pad to this many tokens; None pads as the loader does.

    Raises:
        ConfigError: the loader can't do what was asked.
    """
    if loader == "bucketed":
        if collate_fn is not None:
            raise ConfigError("loader bucketed pads by itself; collate_fn goes with to_tf")
        if not isinstance(plan, BucketPlan):
            raise ConfigError("loader bucketed needs a plan with buckets: in_buckets(plan, ...)")
        return from_buckets(encoded, tokenizer, plan, label_names=label_names)
    common: dict[str, Any] = {"label_names": label_names, "length": length}
    if loader == "numpy":
        if collate_fn is not None:
            raise ConfigError("loader numpy pads the whole split; collate_fn goes with to_tf")
        return from_arrays(encoded, tokenizer, plan, **common)
    if loader == "to_tf":
        return from_to_tf(encoded, tokenizer, plan, collate_fn=collate_fn, **common)
    if model is None:
        raise ConfigError("loader prepare is the model's prepare_tf_dataset; give model=")
    return from_prepare(encoded, tokenizer, plan, model=model, collate_fn=collate_fn, **common)
