"""Texts -> token ids, by the checkpoint's own tokenizer.

encoded = encode(examples.train, tokenizer, max_length=128, cache=cache_folder())
encoded.tokens          # of all rows, end to end, unpadded
encoded.lengths         # int32 [n_rows]
encoded.n_cut           # how many texts were longer than max_length
encoded.dataset         # datasets.Dataset: input_ids, attention_mask, ..., [labels]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tfft.data.cache import load_or_make
from tfft.data.cells import column_of, digest_of
from tfft.data.spill import data_set
from tfft.data.targets import as_arrow, from_arrow
from tfft.data.tokens import Tokens, join
from tfft.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

# Rows that are tokenised at a time: what is held as Python objects.
CHUNK_ROWS = 1000
# Above so many tokens, Arrow's usual lists, which count in 32 bits, no longer do.
MOST_IN_32_BITS = 2**31 - 1


@dataclass(frozen=True)
class Encoded:
    """A split in tokens.

    Attributes:
        tokens: the tokenizer's features, special tokens included, not padded.
        labels: as in `data/targets.py`; None where the rows have none.
        n_cut: rows that lost tokens to `max_length`.
        rows: each row's number in the data as it came: int64 [n_rows].
    """

    tokens: Tokens
    labels: np.ndarray | None
    n_cut: int
    rows: np.ndarray

    @property
    def features(self) -> list[str]:
        return list(self.tokens.names)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens a row, at most `max_length`: int32 [n_rows]."""
        return np.diff(self.tokens.starts).astype(np.int32)

    @cached_property
    def dataset(self) -> Dataset:
        """Rows of lists (int32), for what collates rows; with `labels` where there are some."""
        starts = self.tokens.starts
        is_small = int(starts[-1]) <= MOST_IN_32_BITS
        kind = pa.ListArray if is_small else pa.LargeListArray
        offsets = pa.array(starts.astype(np.int32) if is_small else starts)
        columns = {
            name: kind.from_arrays(offsets, pa.array(self.tokens.flat(name)))
            for name in self.features
        }
        labels = {} if self.labels is None else {"labels": as_arrow(self.labels)}
        return data_set(pa.table(columns | labels))


def encode(rows: Dataset, tokenizer: Any, *, max_length: int, cache: Path | None = None) -> Encoded:
    """Tokenises `text` and, of pairs, `text_pair`; what is longer is cut, the longer text first.

    Args:
        cache: where tokens are kept between runs; None makes them anew, in memory.

    Raises:
        DataError: `max_length` leaves no room for the text beside the special tokens.
    """
    texts = [name for name in ("text", "text_pair") if name in rows.column_names]
    special = tokenizer.num_special_tokens_to_add(pair=len(texts) == 2)
    if max_length <= special:
        raise DataError(
            f"--max-length {max_length} leaves no room for text: {special} tokens are special ones"
        )

    def make(scratch: Path | None) -> tuple[Tokens, int]:
        n_cut = 0

        def chunks() -> Iterator[dict[str, Any]]:
            nonlocal n_cut
            for chunk in _chunks(rows, texts):
                encoding = tokenizer(*chunk, truncation=True, max_length=max_length)
                n_cut += _count_cut(encoding, max_length)
                yield encoding

        return join(chunks(), tokenizer.model_input_names, scratch=scratch), n_cut

    if cache is None:
        tokens, n_cut = make(None)
    else:
        tokens, n_cut = load_or_make(cache, _key(rows, texts, tokenizer, max_length), make)
    labels = from_arrow(column_of(rows, "label")) if "label" in rows.column_names else None
    # What reading and checking the columns took for a while: Arrow would keep it for itself.
    pa.default_memory_pool().release_unused()
    return Encoded(tokens, labels, n_cut, np.asarray(column_of(rows, "row")))


def token_lengths(rows: Dataset, tokenizer: Any) -> np.ndarray:
    """Tokens a row with nothing cut, special ones included: int64 [n_rows]."""
    texts = [name for name in ("text", "text_pair") if name in rows.column_names]
    lengths = []
    for chunk in _chunks(rows, texts):
        ids = tokenizer(*chunk, verbose=False)["input_ids"]
        lengths.append(np.fromiter(map(len, ids), np.int64, len(ids)))
    return np.concatenate(lengths)


def _chunks(rows: Dataset, texts: list[str]) -> Iterator[list[list[str]]]:
    """The columns of texts, some rows at a time."""
    columns = rows.select_columns(texts).with_format("arrow")
    for start in range(0, len(rows), CHUNK_ROWS):
        table = columns[start : start + CHUNK_ROWS]
        yield [table[name].to_pylist() for name in texts]


def _count_cut(encoding: Any, max_length: int) -> int:
    if encoding.is_fast:
        return sum(bool(each.overflowing) for each in encoding.encodings)
    return sum(len(ids) >= max_length for ids in encoding["input_ids"])


def _key(rows: Dataset, texts: list[str], tokenizer: Any, max_length: int) -> str:
    """A hash of all that the tokens depend on but the versions of packages."""
    digest = hashlib.blake2b(_fingerprint(tokenizer).encode(), digest_size=16)
    digest.update(f"{texts} {max_length} {len(rows)}".encode())
    digest.update(digest_of(rows, texts))
    return digest.hexdigest()


def _fingerprint(tokenizer: Any) -> str:
    """What makes a tokenizer this one: its vocabulary, its pipeline, its options."""
    options = (
        f"{type(tokenizer).__name__} {tokenizer.model_input_names} {tokenizer.truncation_side} "
        f"{sorted((name, str(value)) for name, value in tokenizer.init_kwargs.items())}"
    )
    if not tokenizer.is_fast:
        return f"{options} {sorted(tokenizer.get_vocab().items())}"
    pipeline = json.loads(tokenizer.backend_tokenizer.to_str())
    # Set by each call.
    pipeline.pop("truncation", None)
    pipeline.pop("padding", None)
    return f"{options} {json.dumps(pipeline)}"
