"""Which loader a split goes through, by name or by what suits the data.

loader, why = choose_loader("auto", encoded)
split = make_split(encoded, tokenizer, plan, loader=loader, model=model)
"""

from __future__ import annotations

from typing import Any

from tfft.data.arrays import ARRAY_BUDGET_BYTES, ARRAY_PADDING_LIMIT, array_cost, from_arrays
from tfft.data.encode import Encoded
from tfft.data.plan import BatchPlan
from tfft.data.split import Split
from tfft.data.streams import Collate, from_prepare, from_to_tf
from tfft.errors import ConfigError


def choose_loader(asked: str, encoded: Encoded, *, collates: bool = False) -> tuple[str, str]:
    """The loader's name, and why, for the user to read.

    Args:
        collates: a `collate_fn` of the user's own is to be called.
    """
    if asked != "auto":
        return asked, "as asked"
    if collates:
        return "to_tf", "a collate_fn is given"
    n_bytes, padding = array_cost(encoded)
    size = f"one padded array would take {n_bytes / 2**20:,.1f} MiB, {padding:.0%} of it padding"
    limits = f"at most {ARRAY_BUDGET_BYTES // 2**20} MiB and {ARRAY_PADDING_LIMIT:.0%}"
    if n_bytes <= ARRAY_BUDGET_BYTES and padding <= ARRAY_PADDING_LIMIT:
        return "numpy", f"{size} (numpy takes {limits})"
    return "to_tf", f"{size} (numpy would take {limits})"


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
        model: needed by `prepare` alone, whose method it is.
        length: pad to this many tokens; None pads as the loader does.

    Raises:
        ConfigError: the loader can't do what was asked.
    """
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
