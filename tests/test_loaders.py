"""All loaders give the same rows in the same order, lose none, and lead to the same losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import sentence

from tfft.config import RunConfig, TrainConfig
from tfft.data import padding
from tfft.data.choice import choose_loader
from tfft.data.encode import Encoded, encode
from tfft.data.loaders import open_split
from tfft.data.split import Split
from tfft.errors import ConfigError
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.tasks import TASKS

LOADERS = ("numpy", "prepare", "to_tf", "bucketed")
# Those that cut the same batches out of one plan; bucketed sorts by length first.
UNSORTED = ("numpy", "prepare", "to_tf")
N_ROWS, BATCH_SIZE = 37, 8  # a ragged last batch of 5
TASK = TASKS["single_label"]


def rows(n_rows: int = N_ROWS, *, text: str | None = None) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "text": [text or sentence(number)[0] for number in range(n_rows)],
            "label": [int(sentence(number)[1]) for number in range(n_rows)],
            "id": list(range(n_rows)),
            "row": list(range(n_rows)),
        }
    )


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return load_tokenizer(open_checkpoint(str(tiny), TASK))


@pytest.fixture(scope="module")
def encoded(tokenizer: Any) -> Encoded:
    return encode(rows(), tokenizer, max_length=64)


def choose(encoded: Encoded) -> tuple[str, str]:
    return choose_loader("auto", encoded.lengths, len(encoded.features))


def new_model(tiny: Path, *, dropout: float = 0.0) -> Any:
    """The same weights each time, compiled."""
    from tfft import modeling
    from tfft.backend import keras

    checkpoint = open_checkpoint(str(tiny), TASK)
    checkpoint.config.hidden_dropout_prob = dropout
    checkpoint.config.attention_probs_dropout_prob = dropout
    keras.utils.set_random_seed(3)
    model = modeling.load_model(checkpoint, TASK, label_names=("0", "1")).model
    modeling.compile_model(model, TASK, TrainConfig(learning_rate=1e-3))
    return model


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return new_model(tiny)


def split_of(
    loader: str,
    encoded: Encoded,
    tokenizer: Any,
    model: Any,
    *,
    shuffle: bool = True,
    max_shapes: int = 24,
    **more: Any,
) -> Split:
    config = RunConfig.from_options(
        {"train.seed": 5, "train.batch_size": BATCH_SIZE, "data.max_shapes": max_shapes}
    )
    return open_split(
        config, encoded, tokenizer, loader=loader, shuffle=shuffle, model=model, **more
    )


def texts_of(dataset: Any, tokenizer: Any) -> list[str]:
    """What the batches say, in order."""
    return [
        tokenizer.decode(ids, skip_special_tokens=True)
        for features, _ in dataset
        for ids in features["input_ids"].numpy()
    ]


@pytest.mark.parametrize("loader", LOADERS)
def test_an_epoch_sees_each_row_once_in_the_plan_s_order(
    loader: str, encoded: Encoded, tokenizer: Any, model: Any
) -> None:
    split = split_of(loader, encoded, tokenizer, model)
    seen = texts_of(split.epoch(2), tokenizer)
    expected = [sentence(int(row))[0] for row in split.plan.order(2)]
    assert [each.replace(" ", "") for each in seen] == [each.replace(" ", "") for each in expected]
    assert len(set(seen)) == N_ROWS


@pytest.mark.parametrize("loader", LOADERS)
def test_evaluation_drops_no_row_and_keeps_the_order(
    loader: str, encoded: Encoded, tokenizer: Any, model: Any
) -> None:
    split = split_of(loader, encoded, tokenizer, model, shuffle=False)
    labels = np.concatenate([labels.numpy() for _, labels in split.dataset])
    assert labels.tolist() == [int(sentence(number)[1]) for number in range(N_ROWS)]
    assert split.n_steps == 5


@pytest.mark.parametrize("loader", LOADERS)
def test_iterating_the_dataset_again_is_the_next_epoch(
    loader: str, encoded: Encoded, tokenizer: Any, model: Any
) -> None:
    split = split_of(loader, encoded, tokenizer, model)
    dataset = split.dataset
    for epoch in range(2):
        expected = texts_of(split.epoch(epoch), tokenizer)
        assert texts_of(dataset, tokenizer) == expected
    assert int(dataset.cardinality()) == split.n_steps


@pytest.mark.parametrize("loader", LOADERS)
def test_elements_are_alike_whichever_loader_made_them(
    loader: str, encoded: Encoded, tokenizer: Any, model: Any
) -> None:
    features, labels = next(iter(split_of(loader, encoded, tokenizer, model).epoch(0)))
    assert {name: each.dtype.name for name, each in features.items()} == {
        "input_ids": "int32",
        "token_type_ids": "int32",
        "attention_mask": "int32",
    }
    assert labels.dtype.name == "int64"
    assert labels.shape == (BATCH_SIZE,)


def test_with_one_plan_and_no_dropout_all_loaders_give_the_same_losses(
    encoded: Encoded, tokenizer: Any, tiny: Path
) -> None:
    from tfft import modeling, training
    from tfft.metrics import single_label
    from tfft.progress import Progress

    curves = {}
    for loader in UNSORTED:
        model = new_model(tiny)
        train = split_of(loader, encoded, tokenizer, model)
        validation = split_of(loader, encoded, tokenizer, model, shuffle=False)
        trained = training.fit(
            model,
            train,
            validation,
            losses=modeling.example_losses(model, TASK),
            metrics=single_label,
            metric_for_best="loss",
            config=TrainConfig(epochs=2),
            progress=Progress(),
        )
        curves[loader] = [(each.loss, each.validation_loss) for each in trained.history]
    # 1e-5: the padding is masked by adding -3e38 to scores, and sums run over other widths.
    np.testing.assert_allclose(curves["prepare"], curves["numpy"], atol=1e-5)
    np.testing.assert_allclose(curves["to_tf"], curves["numpy"], atol=1e-5)


def test_bucketed_batches_are_those_of_arrays_but_for_their_padding(
    encoded: Encoded, tokenizer: Any, model: Any
) -> None:
    whole, buckets = (
        split_of(loader, encoded, tokenizer, model, shuffle=False)
        for loader in ("numpy", "bucketed")
    )
    for (wide, labels), (narrow, same_labels) in zip(whole.epoch(0), buckets.epoch(0), strict=True):
        np.testing.assert_array_equal(labels, same_labels)
        for name, tokens in narrow.items():
            width = tokens.shape[1]
            np.testing.assert_array_equal(tokens, wide[name][:, :width])
            assert not wide["attention_mask"][:, width:].numpy().any()


def test_bucketed_pads_on_the_tokenizer_s_side(encoded: Encoded, tokenizer: Any) -> None:
    right = split_of("bucketed", encoded, tokenizer, None)
    tokenizer.padding_side = "left"
    try:
        left = split_of("bucketed", encoded, tokenizer, None)
    finally:
        tokenizer.padding_side = "right"
    assert texts_of(left.epoch(0), tokenizer) == texts_of(right.epoch(0), tokenizer)
    for features, _ in left.epoch(0):
        mask = features["attention_mask"].numpy()
        np.testing.assert_array_equal(mask, np.sort(mask, axis=1))
        assert (features["input_ids"].numpy()[mask == 0] == tokenizer.pad_token_id).all()


def test_bucketed_has_no_more_widths_than_asked_for(encoded: Encoded, tokenizer: Any) -> None:
    for most in (1, 2, 3):
        split = split_of("bucketed", encoded, tokenizer, None, max_shapes=most)
        widths = {features["input_ids"].shape[1] for features, _ in split.epoch(0)}
        assert len(widths) <= most
        assert max(widths) == encoded.lengths.max()


@pytest.mark.parametrize("loader", ["prepare", "to_tf"])
def test_one_short_batch_among_long_ones_does_not_break_a_stream(
    loader: str, tokenizer: Any, model: Any
) -> None:
    """`to_tf_dataset` takes the one length that it samples for the only one there is."""
    from datasets import concatenate_datasets

    long = rows(64, text="very " * 30)
    encoded = encode(concatenate_datasets([long, rows(1, text="bad")]), tokenizer, max_length=16)
    split = split_of(loader, encoded, tokenizer, model, shuffle=False)
    assert [labels.shape[0] for _, labels in split.epoch(0)] == [8] * 8 + [1]


@pytest.mark.parametrize("loader", LOADERS)
def test_padding_is_measured(loader: str, encoded: Encoded, tokenizer: Any, model: Any) -> None:
    split = split_of(loader, encoded, tokenizer, model)
    masks = [features["attention_mask"].numpy() for features, _ in split.epoch(0)]
    padding = 1 - sum(each.sum() for each in masks) / sum(each.size for each in masks)
    assert split.padding_fraction == pytest.approx(padding)


@pytest.mark.parametrize("loader", LOADERS)
def test_padding_to_max_length_is_padding_to_that_length(
    loader: str, encoded: Encoded, tokenizer: Any, model: Any
) -> None:
    split = split_of(loader, encoded, tokenizer, model, length=40)
    assert {features["input_ids"].shape[1] for features, _ in split.epoch(0)} == {40}


def test_arrays_are_padded_on_the_tokenizer_s_side(encoded: Encoded, tokenizer: Any) -> None:
    right = padding.pad_arrays(encoded, tokenizer)["input_ids"]
    tokenizer.padding_side = "left"
    try:
        left = padding.pad_arrays(encoded, tokenizer)["input_ids"]
        expected = tokenizer.pad(
            {"input_ids": encoded.dataset["input_ids"][:]}, return_tensors="np"
        )["input_ids"]
    finally:
        tokenizer.padding_side = "right"
    np.testing.assert_array_equal(left, expected)
    assert (right[:, 0] == tokenizer.cls_token_id).all()


def test_auto_takes_arrays_where_little_is_padding(tokenizer: Any) -> None:
    loader, why = choose(encode(rows(text="good film"), tokenizer, max_length=64))
    assert loader == "numpy"
    assert "0% of it padding" in why


def test_auto_streams_where_most_would_be_padding(tokenizer: Any) -> None:
    from datasets import concatenate_datasets

    one_long = concatenate_datasets([rows(), rows(1, text="very " * 40)])
    loader, why = choose(encode(one_long, tokenizer, max_length=64))
    assert loader == "bucketed"
    assert "30%" in why


def test_auto_streams_what_exceeds_the_budget(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfft.data.choice.ARRAY_BUDGET_BYTES", 100)
    encoded = encode(rows(text="good film"), tokenizer, max_length=64)
    assert choose(encoded)[0] == "bucketed"


@pytest.mark.parametrize("loader", ["numpy", "bucketed"])
def test_what_collates_nothing_refuses_a_collate_fn(
    loader: str, encoded: Encoded, tokenizer: Any, model: Any
) -> None:
    with pytest.raises(ConfigError, match="to_tf"):
        split_of(loader, encoded, tokenizer, model, collate_fn=lambda rows: {})


def test_prepare_needs_the_model(encoded: Encoded, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="model="):
        split_of("prepare", encoded, tokenizer, None)


def test_texts_that_are_cut_are_counted(tokenizer: Any) -> None:
    from datasets import concatenate_datasets

    mixed = concatenate_datasets([rows(3, text="very " * 40), rows(2, text="good film")])
    encoded = encode(mixed, tokenizer, max_length=16)
    assert encoded.n_cut == 3
    assert encoded.lengths.tolist() == [16, 16, 16, 4, 4]
