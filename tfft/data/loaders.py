"""A split through the loader of that name.

split = make_split(encoded, tokenizer, plan, loader="to_tf")
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tfft.config import DataConfig
from tfft.data.arrays import from_arrays
from tfft.data.buckets import from_buckets
from tfft.data.encode import Encoded
from tfft.data.plan import BatchPlan, in_buckets
from tfft.data.split import Split
from tfft.data.streams import Collate, from_prepare, from_to_tf
from tfft.errors import ConfigError


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
    max_shapes: int = DataConfig.max_shapes,
) -> Split:
    """The split through `loader`.

    Args:
        max_shapes: how many widths `bucketed` may pad to.
        model: needed by `prepare` alone, whose method it is.
        length: pad to this many tokens; None pads as the loader does.

    Raises:
        ConfigError: the loader can't do what was asked.
    """
    if loader == "bucketed":
        if collate_fn is not None:
            raise ConfigError("loader bucketed pads by itself; collate_fn goes with to_tf")
        buckets = in_buckets(plan, encoded.lengths, max_shapes=max_shapes)
        buckets = buckets if length is None else replace(buckets, widths=(length,))
        return from_buckets(encoded, tokenizer, buckets, label_names=label_names)
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
