"""Which loader suits the data, told without TensorFlow.

loader, why = choose_loader("auto", encoded.lengths, n_features=3)
"""

from __future__ import annotations

import numpy as np

from tfft.data.plan import padding_fraction

# `auto` takes arrays up to this size ...
ARRAY_BUDGET_BYTES = 256 * 2**20
# ... if at most this part of them is padding: more would cost more in arithmetic than batches of
# Python cost in collating (one of 16 texts: about 2 ms of a step of 100 ms or more on two cores).
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
    limits = f"at most {ARRAY_BUDGET_BYTES // 2**20} MiB and {ARRAY_PADDING_LIMIT:.0%}"
    if n_bytes <= ARRAY_BUDGET_BYTES and padding <= ARRAY_PADDING_LIMIT:
        return "numpy", f"{size} (numpy takes {limits})"
    return "to_tf", f"{size} (numpy would take {limits})"


def array_cost(lengths: np.ndarray, n_features: int) -> tuple[int, float]:
    """The padded arrays' bytes (int32), and the part of them that would be padding."""
    n_rows, longest = len(lengths), int(lengths.max())
    padding = padding_fraction(lengths, np.full(n_rows, longest))
    return n_rows * longest * 4 * n_features, padding
