"""An embedding of which few rows can move: Adam's steps are those of the whole one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfft.data.tokens import join

VOCABULARY, WIDTH = 50, 3
IDS = np.array([0, 4, 7, 19, 49], dtype=np.int32)
SLICES = ([4, 7, 4], [19, 0, 0], [7, 49, 4])


def variable() -> Any:
    from tfft.backend import tf

    values = np.random.default_rng(0).normal(size=(VOCABULARY, WIDTH))
    return tf.Variable(values, dtype=tf.float32, name="embedding")


def descend(optimizer: Any, *, of_rows: bool, as_slices: bool = True) -> np.ndarray:
    from tfft.backend import tf
    from tfft.embeddings import MovingRows

    embedding = variable()
    if of_rows:
        optimizer.move_rows(MovingRows(embedding, IDS))
    optimizer.build([embedding])
    generator = np.random.default_rng(1)
    for ids in SLICES * 3:
        values = tf.constant(generator.normal(size=(3, WIDTH)), tf.float32)
        slices = tf.IndexedSlices(values, tf.constant(ids), tf.constant([VOCABULARY, WIDTH]))
        gradient = slices if as_slices else tf.convert_to_tensor(slices)
        optimizer.apply_gradients([(gradient, embedding)])
    return np.asarray(embedding.numpy())


@pytest.mark.parametrize("as_slices", [True, False])
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.5}])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_steps_of_the_rows_are_steps_of_the_whole(
    name: str, options: dict[str, Any], as_slices: bool
) -> None:
    from tfft import optimizers

    decay = {"weight_decay": 0.1} if name == "AdamW" else {}

    def made() -> Any:
        return getattr(optimizers, name)(0.05, **decay, **options)

    whole = descend(made(), of_rows=False)
    # The same sums in the same order; only the norm's are in another one.
    np.testing.assert_allclose(
        descend(made(), of_rows=True, as_slices=as_slices), whole, rtol=2e-6, atol=1e-7
    )
    still = np.setdiff1d(np.arange(VOCABULARY), IDS)
    start = variable().numpy()
    assert np.abs(whole - start)[IDS].min() > 1e-3
    assert (np.abs(whole - start)[still].max() > 1e-3) == (name == "AdamW")


def test_moments_are_kept_of_the_rows_alone() -> None:
    from tfft.embeddings import MovingRows
    from tfft.optimizers import Adam

    optimizer, embedding = Adam(0.05), variable()
    optimizer.move_rows(MovingRows(embedding, IDS))
    optimizer.build([embedding])
    assert [each.shape[0] for each in optimizer.variables if each.shape.rank == 2] == [5, 5]


def test_a_gradient_of_another_row_is_told_and_not_dropped() -> None:
    from tfft.backend import tf
    from tfft.embeddings import MovingRows

    rows = MovingRows(variable(), IDS)
    with pytest.raises(tf.errors.InvalidArgumentError):
        rows.of(tf.IndexedSlices(tf.ones([1, WIDTH]), tf.constant([5])))


def test_token_ids_are_those_that_occur_and_the_special_ones(tiny: Path) -> None:
    from tfft.embeddings import token_ids
    from tfft.pretrained import load_tokenizer, open_checkpoint
    from tfft.tasks import TASKS

    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))
    tokens = join(iter([{"input_ids": [[9, 30], [30, 31, 9]]}]), ("input_ids",))
    ids = token_ids(tokens, tokenizer, vocab_size=40)
    assert ids.tolist() == sorted({9, 30, 31, *tokenizer.all_special_ids})


def test_a_fit_moves_the_rows_that_occur(tiny: Path) -> None:
    from test_loaders import new_model

    from tfft.embeddings import moving_rows

    model = new_model(tiny)
    rows = moving_rows(model, IDS)
    assert rows is not None
    assert rows.shape[0] == len(IDS)
    n_tokens = model.get_input_embeddings().weight.shape[0]
    assert moving_rows(model, np.arange(n_tokens, dtype=np.int32)) is None, "nothing to save"
    model.get_input_embeddings().trainable = False
    assert moving_rows(model, IDS) is None, "frozen"
