"""Which loader suits the data and which batches a config asks for, told without TensorFlow.

loader, why = choose_loader("auto", encoded.lengths, n_features=3)
plan = plan_batches(config, encoded.lengths, loader=loader, shuffle=True)
"""

from __future__ import annotations

import numpy as np

from tfft.config import RunConfig, parse_buckets
from tfft.data.plan import BatchPlan, in_buckets

# `auto` takes an array up to this size, which one look at it takes in, ...
ARRAY_BUDGET_BYTES = 2**20
# ... if at most this part of it is padding, on which the model would spend its time.
ARRAY_PADDING_LIMIT = 0.3


def choose_loader(
    asked: str,
    lengths: np.ndarray,
    n_features: int,
    *,
    collates: bool = False,
    streams: bool = False,
) -> tuple[str, str]:
    """The loader's name, and why, for the user to read.

    Args:
        lengths: tokens a row: int64 [n_rows].
        n_features: how many arrays of tokens the model takes.
        collates: a `collate_fn` of the user's own is to be called.
        streams: the training rows aren't all at hand.
    """
    if streams:
        return "bucketed", "a stream's rows are sorted by length as they pass"
    if asked != "auto":
        return asked, "as asked"
    if collates:
        return "to_tf", "a collate_fn is given"
    n_bytes, padding = array_cost(lengths, n_features)
    size = f"one padded array would take {n_bytes / 2**20:,.1f} MiB, {padding:.0%} of it padding"
    limits = f"numpy is for {ARRAY_BUDGET_BYTES // 2**20} MiB and {ARRAY_PADDING_LIMIT:.0%} at most"
    is_tiny = n_bytes <= ARRAY_BUDGET_BYTES and padding <= ARRAY_PADDING_LIMIT
    return "numpy" if is_tiny else "bucketed", f"{size} ({limits})"


def choose_for(
    config: RunConfig, lengths: np.ndarray, n_features: int, **more: bool
) -> tuple[str, str]:
    """The loader of that config, and why; the rest is for `choose_loader`."""
    if config.train.framework == "trainer":
        return "auto", "Trainer's own: rows at random, a batch padded to its longest"
    loader, why = choose_loader(config.data.loader, lengths, n_features, **more)
    return loader, why


def array_cost(lengths: np.ndarray, n_features: int) -> tuple[int, float]:
    """The padded arrays' bytes (int32), and the part of them that would be padding."""
    n_tokens = len(lengths) * int(lengths.max())
    return n_tokens * 4 * n_features, 1.0 - int(lengths.sum()) / n_tokens


def plan_batches(
    config: RunConfig,
    lengths: np.ndarray,
    *,
    loader: str,
    shuffle: bool,
    length: int | None = None,
) -> BatchPlan:
    """The batches of rows of these lengths.

    Args:
        length: pad to this many tokens, whatever the buckets.

    Raises:
        DataError: the buckets that the config names can't hold the longest row.
    """
    plan = BatchPlan(len(lengths), config.train.batch_size, config.train.seed, shuffle)
    if loader != "bucketed":
        return plan
    named = None if config.data.buckets is None else parse_buckets(config.data.buckets)
    return in_buckets(
        plan,
        lengths,
        max_shapes=config.data.max_shapes,
        widths=named if length is None else (length,),
        batch_tokens=config.train.batch_tokens,
    )
