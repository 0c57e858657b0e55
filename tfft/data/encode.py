"""Texts -> token ids, by the checkpoint's own tokenizer.

encoded = encode(examples.train, tokenizer, max_length=128)
encoded.tokens          # datasets.Dataset: input_ids, attention_mask, ..., [labels]; unpadded
encoded.lengths         # int64 [n_rows]
encoded.n_cut           # how many texts were longer than max_length
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import (
    Dataset,
    Features,
    List,
    Value,
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from tfft.data.cells import column_of
from tfft.data.targets import from_arrow
from tfft.errors import DataError

MEASURED_AT_A_TIME = 1000


@dataclass(frozen=True)
class Encoded:
    """A split in tokens.

    Attributes:
        tokens: the tokenizer's columns (lists of int32, special tokens included, not padded) and,
            where the rows have one, `labels` (as in `data/targets.py`).
        lengths: tokens a row, at most `max_length`: int64 [n_rows].
        n_cut: rows that lost tokens to `max_length`.
        rows: each row's number in the data as it came: int64 [n_rows].
    """

    tokens: Dataset
    lengths: np.ndarray
    n_cut: int
    rows: np.ndarray

    @property
    def labels(self) -> np.ndarray | None:
        """As in `data/targets.py`; None where the rows have none."""
        if "labels" not in self.tokens.column_names:
            return None
        return from_arrow(column_of(self.tokens, "labels"))

    @property
    def features(self) -> list[str]:
        return [name for name in self.tokens.column_names if name != "labels"]


def encode(rows: Dataset, tokenizer: Any, *, max_length: int) -> Encoded:
    """Tokenises `text` and, of pairs, `text_pair`; what is longer is cut, the longer text first.

    Raises:
        DataError: `max_length` leaves no room for the text beside the special tokens.
    """
    is_pair = "text_pair" in rows.column_names
    special = tokenizer.num_special_tokens_to_add(pair=is_pair)
    if max_length <= special:
        raise DataError(
            f"--max-length {max_length} leaves no room for text: {special} tokens are special ones"
        )
    names = list(tokenizer.model_input_names)
    labels = {"labels": rows.features["label"]} if "label" in rows.column_names else {}
    n_cut = 0

    def tokenise(batch: dict[str, Any]) -> dict[str, Any]:
        nonlocal n_cut
        encoding = tokenizer(
            batch["text"],
            batch["text_pair"] if is_pair else None,
            truncation=True,
            max_length=max_length,
        )
        n_cut += _count_cut(encoding, batch["text"], max_length=max_length)
        columns = {name: encoding[name] for name in names}
        return columns | ({"labels": batch["label"]} if labels else {})

    with _no_bars():
        tokens = rows.map(
            tokenise,
            batched=True,
            remove_columns=rows.column_names,
            features=Features({name: List(Value("int32")) for name in names} | labels),
            # A counter is filled on the way: a cached result would leave it at nought.
            load_from_cache_file=False,
            new_fingerprint=f"{rows._fingerprint}-{max_length}",
        )
    lengths = np.fromiter((len(ids) for ids in tokens["input_ids"]), np.int64, len(tokens))
    return Encoded(tokens, lengths, n_cut, np.asarray(rows["row"]))


def token_lengths(rows: Dataset, tokenizer: Any) -> np.ndarray:
    """Tokens a row with nothing cut, special ones included: int64 [n_rows]."""
    lengths = []
    for start in range(0, len(rows), MEASURED_AT_A_TIME):
        batch = rows[start : start + MEASURED_AT_A_TIME]
        ids = tokenizer(batch["text"], batch.get("text_pair"), verbose=False)["input_ids"]
        lengths.append(np.fromiter(map(len, ids), np.int64, len(ids)))
    return np.concatenate(lengths)


@contextmanager
def _no_bars() -> Iterator[None]:
    """`datasets` draws its own on standard error; who shows what is for the caller to say."""
    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()


def _count_cut(encoding: Any, texts: list[str], *, max_length: int) -> int:
    if encoding.is_fast:
        return sum(bool(each.overflowing) for each in encoding.encodings)
    return sum(len(ids) >= max_length for ids in encoding["input_ids"])
