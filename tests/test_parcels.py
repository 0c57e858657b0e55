"""Batches padded many at once are those padded one by one, and reach the step as tensors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import sentence

from tfft.data import parcels as module
from tfft.data.buckets import from_buckets
from tfft.data.encode import Encoded, encode
from tfft.data.padding import Padding, pad_arrays
from tfft.data.parcels import Parcel, parcels
from tfft.data.plan import BatchPlan, BucketPlan, batch_widths, in_buckets
from tfft.data.split import Split
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.tasks import TASKS

N_ROWS, BATCH_SIZE = 37, 8  # a ragged last batch of 5
LABELS = {
    "classes": np.arange(N_ROWS) % 3,
    "multi-hot": np.eye(N_ROWS, 4, dtype=np.float32),
    "numbers": np.linspace(0, 1, N_ROWS, dtype=np.float32),
    "none": None,
}


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    return load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))


def encoded_by(tokenizer: Any, *, labels: str = "classes") -> Encoded:
    """Pairs, so that `token_type_ids` aren't one number throughout, as the mask is."""
    from datasets import Dataset

    texts = [sentence(number)[0] for number in range(N_ROWS)]
    columns = {"text": texts, "text_pair": texts[::-1], "row": list(range(N_ROWS))}
    tokens = encode(Dataset.from_dict(columns), tokenizer, max_length=40).tokens
    return Encoded(tokens, LABELS[labels], 0, np.arange(N_ROWS))


def padding_of(tokenizer: Any, encoded: Encoded) -> Padding:
    return Padding.of(tokenizer, encoded.features)


def plan_of(
    encoded: Encoded, *, shuffle: bool = True, batch_tokens: int | None = None
) -> BucketPlan:
    plan = BatchPlan(N_ROWS, BATCH_SIZE, seed=3, shuffle=shuffle)
    return in_buckets(plan, encoded.lengths, max_shapes=4, batch_tokens=batch_tokens)


def split_of(encoded: Encoded, tokenizer: Any, **more: Any) -> Split:
    return from_buckets(encoded, tokenizer, plan_of(encoded, **more))


def same(batch: Any, other: Any) -> None:
    """The features and, where there are some, the labels, with their types."""
    if isinstance(batch, tuple):
        (batch, labels), (other, others) = batch, other
        np.testing.assert_array_equal(labels, others)
        assert labels.dtype == others.dtype
    assert batch.keys() == other.keys()
    for name in batch:
        np.testing.assert_array_equal(batch[name], other[name])
        assert batch[name].dtype == other[name].dtype


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_tokens", [None, 100])
@pytest.mark.parametrize("at_once", [1, 300, 2**15])
def test_batches_are_those_padded_one_by_one(
    tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
    side: str,
    batch_tokens: int | None,
    at_once: int,
) -> None:
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", at_once)
    tokenizer.padding_side = side
    encoded = encoded_by(tokenizer)
    plan, padding = plan_of(encoded, batch_tokens=batch_tokens), padding_of(tokenizer, encoded)
    widths = batch_widths(encoded.lengths, plan, 1)
    made = [
        each for parcel in parcels(encoded, padding, plan, epoch=1) for each in parcel.batches()
    ]
    for rows, width, batch in zip(plan.batches(1), widths, made, strict=True):
        padded = pad_arrays(encoded, tokenizer, rows=rows, length=int(width))
        assert encoded.labels is not None
        same(batch, (padded, encoded.labels[rows]))


def test_a_parcel_has_so_many_tokens_or_one_batch(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encoded_by(tokenizer)
    plan, padding = plan_of(encoded), padding_of(tokenizer, encoded)

    def shapes() -> list[np.ndarray]:
        return [parcel.shapes for parcel in parcels(encoded, padding, plan, epoch=0)]

    largest = int(np.concatenate(shapes()).prod(axis=1).max())
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 2 * largest)
    assert len(shapes()) > 1
    assert max(int(each.prod(axis=1).sum()) for each in shapes()) <= 3 * largest
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 1)
    assert [len(each) for each in shapes()] == [1] * plan.n_steps


def test_rows_without_a_token_are_all_padding(tokenizer: Any) -> None:
    encoded = encoded_by(tokenizer)
    starts = encoded.tokens.starts.copy()
    starts[:20] = 0
    empty = Encoded(
        module.Tokens(
            encoded.tokens.names, starts, encoded.tokens.values, encoded.tokens.constants
        ),
        encoded.labels,
        0,
        encoded.rows,
    )
    [parcel] = parcels(empty, padding_of(tokenizer, empty), plan_of(empty, shuffle=False), epoch=0)
    first, _ = next(parcel.batches())
    assert (first["input_ids"] == tokenizer.pad_token_id).all()
    assert not first["attention_mask"].any()


@pytest.mark.parametrize("labels", list(LABELS))
@pytest.mark.parametrize("batch_tokens", [None, 100])
@pytest.mark.parametrize("shuffle", [False, True])
def test_keras_is_given_the_batches_that_tfft_s_own_loop_is(
    tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
    labels: str,
    batch_tokens: int | None,
    shuffle: bool,
) -> None:
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 300)
    encoded = encoded_by(tokenizer, labels=labels)
    split = split_of(encoded, tokenizer, batch_tokens=batch_tokens, shuffle=shuffle)
    dataset = split.dataset
    assert dataset.element_spec == split.element_spec
    for epoch in (0, 1 if shuffle else 0):
        for one, other in zip(dataset, split.epoch(epoch), strict=True):
            same(one, other)
    if shuffle and batch_tokens:
        assert int(dataset.cardinality()) < 0  # epochs have unlike numbers of steps
    else:
        assert int(dataset.cardinality()) == split.n_steps


def test_an_epoch_can_be_gone_through_again(tokenizer: Any) -> None:
    epoch = split_of(encoded_by(tokenizer), tokenizer).epoch(2)
    for one, other in zip(list(epoch), list(epoch), strict=True):
        same(one, other)


def test_an_epoch_left_in_the_middle_leaves_no_thread(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 1)
    split = split_of(encoded_by(tokenizer), tokenizer)
    before = threading.active_count()
    batches = iter(split.epoch(0))
    next(batches)
    assert threading.active_count() == before + 1
    del batches
    assert threading.active_count() == before


def test_what_fails_while_batches_are_made_comes_out_at_the_step(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = parcels

    def broken(*args: Any, **kwargs: Any) -> Iterator[Parcel]:
        yield next(made(*args, **kwargs))
        raise MemoryError("no room")

    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 1)
    monkeypatch.setattr("tfft.data.buckets.parcels", broken)
    batches = iter(split_of(encoded_by(tokenizer), tokenizer).epoch(0))
    next(batches)
    with pytest.raises(MemoryError, match="no room"):
        next(batches)
