"""The plan of batches: every row once an epoch, and a pure function of (seed, epoch)."""

import numpy as np
import pytest

from tfft.data.plan import BatchPlan

SIZES = [(1, 1), (1, 16), (15, 16), (16, 16), (17, 16), (100, 7), (8551, 16)]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("n_examples", "batch_size"), SIZES)
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_row_comes_once_an_epoch_and_only_the_last_batch_is_smaller(
    n_examples: int, batch_size: int, shuffle: bool, epoch: int
) -> None:
    plan = BatchPlan(n_examples, batch_size, 42, shuffle=shuffle)
    batches = list(plan.batches(epoch))
    assert len(batches) == plan.n_steps
    assert sorted(np.concatenate(batches)) == list(range(n_examples))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert 1 <= len(batches[-1]) <= batch_size


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("n_examples", "batch_size"), SIZES[:-1])
def test_a_step_is_reached_without_the_steps_before_it(
    n_examples: int, batch_size: int, shuffle: bool
) -> None:
    plan = BatchPlan(n_examples, batch_size, 7, shuffle=shuffle)
    for epoch in (0, 2):
        for step, batch in enumerate(plan.batches(epoch)):
            np.testing.assert_array_equal(plan.rows(epoch, step), batch)


def test_the_same_seed_and_epoch_give_the_same_order() -> None:
    first, second = (BatchPlan(100, 8, 42, shuffle=True) for _ in range(2))
    first.order(5)
    np.testing.assert_array_equal(first.order(1), second.order(1))


def test_another_epoch_or_seed_gives_another_order() -> None:
    orders = [
        tuple(BatchPlan(100, 8, seed, shuffle=True).order(epoch))
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    ]
    assert len(set(orders)) == len(orders)


def test_the_batch_size_does_not_change_the_order() -> None:
    small, large = (BatchPlan(100, size, 42, shuffle=True) for size in (4, 64))
    np.testing.assert_array_equal(small.order(3), large.order(3))


def test_nothing_is_shuffled_unless_asked() -> None:
    plan = BatchPlan(5, 2, 42)
    assert [list(batch) for batch in plan.batches(1)] == [[0, 1], [2, 3], [4]]
