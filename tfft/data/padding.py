"""Rows of tokens as padded NumPy arrays, one a feature: what every framework's arrays are made of.

pad_arrays(encoded, tokenizer)                  # {"input_ids": int32 [n_rows, longest], ...}
pad_arrays(encoded, tokenizer, rows=batch, length=32)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.data.encode import Encoded


def pad_arrays(
    encoded: Encoded,
    tokenizer: Any,
    *,
    rows: np.ndarray | None = None,
    length: int | None = None,
) -> dict[str, np.ndarray]:
    """Each feature as int32 [n_rows, `length`], padded on the tokenizer's side.

    Args:
        rows: which of them, in this order: int64 [n_rows]; None takes all as they come.
        length: tokens a row; None takes as many as the longest of these rows has.
    """
    lengths = encoded.lengths if rows is None else encoded.lengths[rows]
    width = length or int(lengths.max())
    filled = np.arange(width) < lengths[:, None]
    if rows is not None:
        places = (encoded.tokens.starts[rows][:, None] + np.arange(width))[filled]
    if tokenizer.padding_side == "left":
        filled = filled[:, ::-1]
    arrays = {}
    for name in encoded.features:
        array = np.full(filled.shape, fill_value(name, tokenizer), dtype=np.int32)
        # Row by row in order: exactly how a list array's flat values lie.
        if name in encoded.tokens.constants:
            array[filled] = encoded.tokens.constants[name]
        else:
            values = encoded.tokens.values[name]
            array[filled] = values if rows is None else values[places]
        arrays[name] = array
    return arrays


@dataclass(frozen=True)
class Padding:
    """How a tokenizer pads, whatever becomes of the tokenizer afterwards.

    Attributes:
        fills: what each feature is filled up with, by name.
        is_left: whether on the left.
    """

    fills: Mapping[str, int]
    is_left: bool

    @classmethod
    def of(cls, tokenizer: Any, names: Iterable[str]) -> Padding:
        fills = {name: fill_value(name, tokenizer) for name in names}
        return cls(fills, tokenizer.padding_side == "left")


def fill_value(name: str, tokenizer: Any) -> int:
    values = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    return int(values.get(name, 0))
