"""Micro-batching: what is put together, what isn't, and whom an error reaches. No TensorFlow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Mapping
from typing import Any

import numpy as np
import pytest

from tfft.errors import RequestError
from tfft.serving.batching import Batcher

Arrays = Mapping[str, np.ndarray]


class Doubler:
    """A model that gives back twice what it got, refuses 13, and keeps the calls it saw."""

    def __init__(self, *, waits_for: threading.Event | None = None) -> None:
        self.calls: list[list[int]] = []
        self._waits_for = waits_for

    def __call__(self, signature: str, arrays: Arrays) -> dict[str, np.ndarray]:
        x = arrays["x"]
        self.calls.append(x.reshape(len(x), -1)[:, 0].tolist())
        if self._waits_for is not None:
            assert self._waits_for.wait(30)
        if 13 in x:
            raise RequestError("13 it doesn't take")
        return {"y": 2 * x}


def batcher(run: Any, **options: Any) -> Batcher:
    defaults: dict[str, Any] = {
        "max_batch": 8,
        "timeout_s": 0.0,
        "n_workers": 1,
        "max_waiting": 100,
    }
    return Batcher(run, **{**defaults, **options})


async def ask(own: Batcher, *numbers: int, signature: str = "double", width: int = 1) -> list[int]:
    x = np.array(numbers)[:, None] * np.ones((1, width), int)
    outputs = await own.submit(signature, {"x": x}, len(numbers))
    return outputs["y"][:, 0].tolist()


def gather(*asked: Awaitable[list[int]]) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)

    return asyncio.run(all_of_them())


def held(own_of: Any, *asked: tuple[int, ...], **options: Any) -> tuple[list[Any], Doubler]:
    """Asks all of it while the worker is held by a first call of `0`."""
    gate = threading.Event()
    model = Doubler(waits_for=gate)
    own = batcher(model, **options)

    async def work() -> list[Any]:
        first = asyncio.create_task(ask(own, 0))
        while not model.calls:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(own_of(own, each)) for each in asked]
        await asyncio.sleep(0.01)
        gate.set()
        return (await asyncio.wait_for(asyncio.gather(first, *rest, return_exceptions=True), 60))[
            1:
        ]

    return asyncio.run(work()), model


def test_what_waits_goes_together_and_each_gets_its_own_rows() -> None:
    answers, model = held(lambda own, each: ask(own, *each), (1, 2), (3,), (4, 5))
    assert answers == [[2, 4], [6], [8, 10]]
    assert model.calls == [[0], [1, 2, 3, 4, 5]]


def test_no_batch_is_larger_than_the_most() -> None:
    answers, model = held(
        lambda own, each: ask(own, *each), *((n,) for n in range(1, 8)), max_batch=3
    )
    assert answers == [[2 * n] for n in range(1, 8)]
    assert [len(call) for call in model.calls] == [1, 3, 3, 1]


def test_without_batching_each_goes_alone() -> None:
    answers, model = held(lambda own, each: ask(own, *each), (1,), (2,), together=False)
    assert answers == [[2], [4]]
    assert model.calls == [[0], [1], [2]]


def test_a_bad_request_fails_alone() -> None:
    answers, model = held(lambda own, each: ask(own, *each), (1,), (13,), (3,))
    assert answers[0] == [2]
    assert answers[2] == [6]
    assert isinstance(answers[1], RequestError)
    assert model.calls == [[0], [1, 13, 3], [1], [13], [3]]


def test_tokens_of_unlike_lengths_and_other_signatures_are_not_mixed() -> None:
    def own_of(own: Batcher, each: tuple[int, ...]) -> Awaitable[list[int]]:
        number, width, signature = each
        return ask(own, number, width=width, signature=str(signature))

    answers, model = held(own_of, (1, 2, 0), (2, 3, 0), (3, 2, 0), (4, 2, 1))
    assert answers == [[2], [4], [6], [8]]
    assert sorted(model.calls[1:]) == [[1, 3], [2], [4]]


def test_a_lone_client_does_not_wait_for_others() -> None:
    model = Doubler()
    own = batcher(model, timeout_s=3600.0)

    async def one_after_the_other() -> list[list[int]]:
        return [await ask(own, number) for number in range(5)]

    assert asyncio.run(asyncio.wait_for(one_after_the_other(), 60)) == [[0], [2], [4], [6], [8]]


def test_the_wait_for_others_ends() -> None:
    answers, _ = held(lambda own, each: ask(own, *each), (1,), (2,), timeout_s=0.02)
    assert answers == [[2], [4]]

    own = batcher(Doubler(), timeout_s=0.02)

    async def alone_after_a_crowd() -> list[int]:
        await asyncio.gather(*(ask(own, n) for n in range(6)))
        return await ask(own, 7)

    assert asyncio.run(asyncio.wait_for(alone_after_a_crowd(), 60)) == [14]


def test_a_large_request_goes_in_parts_and_comes_back_in_order() -> None:
    model = Doubler()
    own = batcher(model, max_batch=8, n_workers=2)
    assert gather(ask(own, *range(14, 34))) == [[2 * n for n in range(14, 34)]]
    assert sorted(map(len, model.calls)) == [6, 7, 7]


def test_a_large_request_with_a_bad_row_fails_as_a_whole() -> None:
    (answer,) = gather(ask(batcher(Doubler(), max_batch=4), *range(20)))
    assert isinstance(answer, RequestError)


def test_rows_beyond_the_most_under_way_are_told_to_come_later() -> None:
    def own_of(own: Batcher, each: tuple[int, ...]) -> Awaitable[list[int]]:
        return ask(own, *each)

    answers, _ = held(own_of, (1, 2), (3, 4), (5,), max_waiting=4)
    assert answers[0] == [2, 4]
    assert isinstance(answers[1], RequestError)
    assert answers[1].status == 503
    assert answers[2] == [10]


def test_free_workers_share_what_waits() -> None:
    gate = threading.Event()
    model = Doubler(waits_for=gate)
    own = batcher(model, n_workers=2)

    async def work() -> list[Any]:
        firsts = [asyncio.create_task(ask(own, 0)) for _ in range(2)]
        while len(model.calls) < 2:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(ask(own, n)) for n in range(1, 7)]
        await asyncio.sleep(0.01)
        gate.set()
        return await asyncio.wait_for(asyncio.gather(*firsts, *rest), 60)

    assert asyncio.run(work())[2:] == [[2 * n] for n in range(1, 7)]
    assert max(map(len, model.calls[2:])) <= 4


def test_who_goes_away_harms_nobody() -> None:
    gate = threading.Event()
    model = Doubler(waits_for=gate)
    own = batcher(model)

    async def work() -> list[int]:
        gone = asyncio.create_task(ask(own, 1))
        stays = asyncio.create_task(ask(own, 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        gate.set()
        return await asyncio.wait_for(stays, 60)

    assert asyncio.run(work()) == [4]


def test_an_output_without_rows_is_no_reason_to_fail() -> None:
    def total(signature: str, arrays: Arrays) -> dict[str, np.ndarray]:
        return {"y": np.array([[arrays["x"].sum()]])}

    own = batcher(total)
    assert gather(*(ask(own, number) for number in range(4))) == [[0], [1], [2], [3]]


@pytest.mark.parametrize("error", [RequestError("no"), ValueError("no"), MemoryError("no")])
def test_whatever_a_model_raises_reaches_who_asked(error: Exception) -> None:
    def fails(signature: str, arrays: Arrays) -> dict[str, np.ndarray]:
        raise error

    own = batcher(fails)
    assert [type(each) for each in gather(ask(own, 1), ask(own, 2))] == [type(error)] * 2
