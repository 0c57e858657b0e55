"""The plan of batches: every row once an epoch, and a pure function of (seed, epoch)."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tfft.config import TrainConfig
from tfft.data.plan import (
    BatchPlan,
    BucketPlan,
    batch_widths,
    choose_widths,
    in_buckets,
    padding_fraction,
    padding_of,
)
from tfft.errors import DataError

Make = Callable[..., BatchPlan]


def buckets(
    n_examples: int, batch_size: int, seed: int = 42, *, shuffle: bool = True, max_shapes: int = 8
) -> BucketPlan:
    lengths = np.random.default_rng(1).integers(3, 200, n_examples)
    plan = BatchPlan(n_examples, batch_size, seed, shuffle=shuffle)
    return in_buckets(plan, lengths, max_shapes=max_shapes)


SIZES = [(1, 1), (1, 16), (15, 16), (16, 16), (17, 16), (100, 7), (8551, 16)]


@pytest.mark.parametrize("make", [BatchPlan, buckets])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("n_examples", "batch_size"), SIZES)
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_row_comes_once_an_epoch_and_only_the_last_batch_is_smaller(
    make: Make, n_examples: int, batch_size: int, shuffle: bool, epoch: int
) -> None:
    plan = make(n_examples, batch_size, 42, shuffle=shuffle)
    batches = list(plan.batches(epoch))
    assert len(batches) == plan.n_steps
    assert sorted(np.concatenate(batches)) == list(range(n_examples))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert 1 <= len(batches[-1]) <= batch_size


@pytest.mark.parametrize("make", [BatchPlan, buckets])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("n_examples", "batch_size"), SIZES[:-1])
def test_a_step_is_reached_without_the_steps_before_it(
    make: Make, n_examples: int, batch_size: int, shuffle: bool
) -> None:
    plan = make(n_examples, batch_size, 7, shuffle=shuffle)
    for epoch in (0, 2):
        for step, batch in enumerate(plan.batches(epoch)):
            np.testing.assert_array_equal(plan.rows(epoch, step), batch)


@pytest.mark.parametrize("make", [BatchPlan, buckets])
def test_the_same_seed_and_epoch_give_the_same_order(make: Make) -> None:
    first, second = (make(100, 8, 42, shuffle=True) for _ in range(2))
    first.order(5)
    np.testing.assert_array_equal(first.order(1), second.order(1))


@pytest.mark.parametrize("make", [BatchPlan, buckets])
def test_another_epoch_or_seed_gives_another_order(make: Make) -> None:
    orders = [
        tuple(make(100, 8, seed, shuffle=True).order(epoch))
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


def test_buckets_pad_less_than_chance_does() -> None:
    plan = buckets(3000, 16, max_shapes=24)
    by_chance = BatchPlan(3000, 16, 42, shuffle=True)
    sorted_part, chance_part = (padding_of(plan.lengths, each) for each in (plan, by_chance))
    # Lengths of 3 to 199, even: 24 widths alone cost 4 %, 16 rows by chance 45 %.
    assert sorted_part < 0.06
    assert chance_part > 0.4


def test_who_meets_in_a_batch_changes_from_epoch_to_epoch() -> None:
    plan = buckets(3000, 16)
    met = [{frozenset(batch.tolist()) for batch in plan.batches(epoch)} for epoch in (0, 1)]
    assert not met[0] & met[1]


def test_long_and_short_batches_come_mixed() -> None:
    plan = buckets(3000, 16)
    widths = batch_widths(plan.lengths, plan)
    first_half, second_half = widths[: len(widths) // 2], widths[len(widths) // 2 :]
    # Sorted throughout they would differ by half of the range.
    assert abs(np.mean(first_half) - np.mean(second_half)) < 20


@pytest.mark.parametrize("seed", range(30))
def test_the_chosen_widths_are_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 12, random.integers(1, 40))
    most = int(random.integers(1, 5))

    def cost(widths: tuple[int, ...]) -> int:
        return sum(min(each for each in widths if each >= length) for length in lengths)

    distinct = np.unique(lengths)
    best = min(
        cost(widths)
        for size in range(1, min(most, len(distinct)) + 1)
        for widths in itertools.combinations(distinct.tolist(), size)
        if widths[-1] == lengths.max()
    )
    chosen = choose_widths(lengths, most)
    assert len(chosen) <= most
    assert chosen[-1] == lengths.max()
    assert cost(chosen) == best


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 250, 4096, 10**9])
def test_batches_of_so_many_tokens_hold_each_row_once_and_no_more_tokens(
    batch_tokens: int, shuffle: bool
) -> None:
    plan = replace(buckets(997, 16, shuffle=shuffle), batch_tokens=batch_tokens)
    for epoch in (0, 2):
        batches = list(plan.batches(epoch))
        assert sorted(np.concatenate(batches)) == list(range(997))
        assert len(batches) == plan.steps(epoch)
        widths = batch_widths(plan.lengths, plan, epoch)
        for batch, width in zip(batches, widths, strict=True):
            assert len(batch) * width <= batch_tokens or len(batch) == 1
    if not shuffle:
        assert np.concatenate(batches).tolist() == list(range(997))


def test_batches_of_tokens_are_filled() -> None:
    plan = replace(buckets(3000, 16, max_shapes=24), batch_tokens=4096)
    order, bounds = plan.layout(0)
    tokens = batch_widths(plan.lengths, plan) * np.diff(bounds)
    assert len(order) == 3000
    # One row of at most 199 more would not have fitted, but in the last batch of each window.
    assert np.median(tokens) > 4096 - 200


def test_all_steps_are_those_of_all_epochs() -> None:
    plan = replace(buckets(997, 16), batch_tokens=1000)
    three = TrainConfig(epochs=3)
    assert plan.total_steps(three) == sum(len(list(plan.batches(epoch))) for epoch in range(3))
    assert BatchPlan(17, 16).total_steps(three) == 6
    assert BatchPlan(17, 16).total_steps(TrainConfig(steps=5)) == 5


def test_rows_of_the_first_steps_are_those_of_their_batches() -> None:
    for plan in (BatchPlan(17, 8), replace(buckets(997, 16), batch_tokens=1000)):
        sizes = [len(batch) for epoch in range(3) for batch in plan.batches(epoch)]
        for n_steps in (0, 1, 3, plan.steps(0), plan.steps(0) + 1, len(sizes)):
            assert plan.n_rows(n_steps) == sum(sizes[:n_steps])


def test_named_buckets_must_hold_the_longest_row() -> None:
    lengths = np.array([3, 70, 12])
    assert in_buckets(BatchPlan(3, 2), lengths, max_shapes=8, widths=(16, 70)).widths == (16, 70)
    with pytest.raises(DataError, match=r"hold 64 tokens at most, and the longest text has 70"):
        in_buckets(BatchPlan(3, 2), lengths, max_shapes=8, widths=(32, 64))


def test_very_many_lengths_are_told_apart_roughly() -> None:
    lengths = np.random.default_rng(0).integers(1, 9000, 50_000)
    widths = choose_widths(lengths, 24)
    assert len(widths) <= 24
    assert widths[-1] == lengths.max()
    nearest = np.asarray(widths)[np.searchsorted(widths, lengths)]
    # Evenly spread lengths in 24 widths: half a width, a forty-eighth of the range, on average.
    assert padding_fraction(lengths, nearest) < 0.05
