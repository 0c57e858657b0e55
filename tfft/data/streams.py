"""Larger data: batches collated on the way, each padded by itself -> `Split`.

    split = from_prepare(encoded, tokenizer, plan, model=model)
    split = from_to_tf(encoded, tokenizer, plan, collate_fn=my_collate)

The first is the model's own `prepare_tf_dataset`, which finds the columns by the model's signature;
the second is `to_tf_dataset` with the columns spelled out. Both are handed rows that are already in
the plan's order: their own shuffling has no seed, and `prepare_tf_dataset(shuffle=True)` drops the
last batch without a word.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import Dataset

from tfft.backend import tf, transformers
from tfft.data.encode import Encoded
from tfft.data.plan import BatchPlan, padding_fraction, padding_of
from tfft.data.split import Split, lean_options

Collate = Callable[[list[dict[str, Any]]], dict[str, Any]]

# Batches collated to learn how much a user's own collate_fn pads.
MEASURED_BATCHES = 32


def collator(tokenizer: Any, *, length: int | None = None) -> Collate:
    """Pads a batch to its longest text, or to `length`."""
    collate: Collate = transformers.DataCollatorWithPadding(
        tokenizer=tokenizer,
        padding="max_length" if length else True,
        max_length=length,
        return_tensors="np",
    )
    return collate


def from_prepare(
    encoded: Encoded,
    tokenizer: Any,
    plan: BatchPlan,
    *,
    model: Any,
    label_names: tuple[str, ...] = (),
    length: int | None = None,
    collate_fn: Collate | None = None,
) -> Split:
    """Through `model.prepare_tf_dataset`.

    Args:
        length: pad to this many tokens; None pads to the batch's longest text.
        collate_fn: the user's own, from a list of rows to NumPy arrays; it then does the padding.
    """
    collate = collate_fn or collator(tokenizer, length=length)

    def open_stream(rows: Dataset) -> Any:
        return model.prepare_tf_dataset(
            rows,
            batch_size=plan.batch_size,
            shuffle=False,
            drop_remainder=False,
            collate_fn=collate,
        )

    padding = _padding(encoded, plan, length, collate_fn)
    return _from_stream(open_stream, encoded, plan, label_names, padding, loader="prepare")


def from_to_tf(
    encoded: Encoded,
    tokenizer: Any,
    plan: BatchPlan,
    *,
    label_names: tuple[str, ...] = (),
    length: int | None = None,
    collate_fn: Collate | None = None,
) -> Split:
    """Through `to_tf_dataset`; arguments as for `from_prepare`."""
    collate = collate_fn or collator(tokenizer, length=length)
    has_labels = encoded.labels is not None

    def open_stream(rows: Dataset) -> Any:
        return rows.to_tf_dataset(
            columns=encoded.features,
            label_cols="labels" if has_labels else None,
            batch_size=plan.batch_size,
            shuffle=False,
            drop_remainder=False,
            collate_fn=collate,
        )

    padding = _padding(encoded, plan, length, collate_fn)
    return _from_stream(open_stream, encoded, plan, label_names, padding, loader="to_tf")


def _from_stream(
    open_stream: Callable[[Dataset], Any],
    encoded: Encoded,
    plan: BatchPlan,
    label_names: tuple[str, ...],
    padding: float,
    *,
    loader: str,
) -> Split:
    first_feature = encoded.features[0]
    label_type = None if encoded.labels is None else encoded.labels.dtype

    def as_contracted(features: Any, *labels: Any) -> Any:
        # A single feature comes bare.
        named = features if isinstance(features, dict) else {first_feature: features}
        cast = {name: tf.cast(each, tf.int32) for name, each in named.items()}
        return (cast, tf.cast(labels[0], label_type)) if labels else cast

    def epoch(number: int) -> Any:
        rows = encoded.dataset.select(plan.order(number)) if plan.shuffle else encoded.dataset
        stream = open_stream(_of_any_length(rows))
        return stream.map(as_contracted).with_options(lean_options())

    return Split(
        epoch=epoch,
        plan=plan,
        element_spec=epoch(0).element_spec,
        padding_fraction=padding,
        row_numbers=encoded.rows,
        label_names=label_names,
        loader=loader,
    )


def _padding(
    encoded: Encoded, plan: BatchPlan, length: int | None, collate_fn: Collate | None
) -> float:
    """The part of the first epoch's tokens that is padding."""
    lengths = encoded.lengths
    if collate_fn is not None:
        batches = list(itertools.islice(plan.batches(0), MEASURED_BATCHES))
        widths = [
            collate_fn([encoded.dataset[int(row)] for row in rows])["input_ids"].shape[1]
            for rows in batches
        ]
        measured = np.concatenate(batches)
        return padding_fraction(lengths[measured], np.repeat(widths, [len(b) for b in batches]))
    if length is None:
        return padding_of(lengths, plan)
    return padding_fraction(lengths, np.full_like(lengths, length))


def _of_any_length(rows: Dataset) -> Dataset:
    """`rows`, told not to take the shape of a few sampled batches for that of all.

    `to_tf_dataset` collates 20 random batches and freezes every dimension that came out the same in
    each. Where nearly all texts are cut to one length it freezes that, and the one batch of shorter
    texts fails in the middle of an epoch.
    """
    rows = rows.with_format("numpy")  # else it makes a copy, which has the original method again
    original = rows._get_output_signature

    def relaxed(*args: Any, **kwargs: Any) -> Any:
        signature, dtypes = original(*args, **kwargs)
        free = {
            name: tf.TensorSpec([None] * spec.shape.rank, spec.dtype)
            for name, spec in signature.items()
        }
        return free, dtypes

    rows._get_output_signature = relaxed
    return rows
