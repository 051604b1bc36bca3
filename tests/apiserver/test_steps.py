"""Requests carried out step by step: who may go on when, and that nobody stops the loop."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any

import pytest

from keelback.apiserver.steps import OFFER, Steps
from keelback.concurrency.deadlines import Deadlines


class Free:
    """Nobody else waits."""

    def may_begin(self) -> bool:
        return True

    async def turn(self) -> None:
        raise AssertionError("nobody has to wait for a turn")


class OneByOne:
    """A turn for each step, given out by the test."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    def may_begin(self) -> bool:
        return False

    async def turn(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        await waiter


def steps(coroutine: Coroutine[Any, Any, str], turns: Free | OneByOne) -> Steps[str]:
    return Steps(coroutine, lambda: 0.0, lambda seconds: None, turns=turns)


async def rounds_until(done: Callable[[], bool]) -> int:
    count = 0
    while not done():
        await asyncio.sleep(0)
        count += 1
        assert count < 100
    return count


def test_offers_that_nobody_takes_are_over_at_once() -> None:
    async def work() -> str:
        for _ in range(10):
            await OFFER
        return "done"

    async def test() -> None:
        one = steps(work(), Free())
        assert one.begin()
        assert one.result == "done"

    asyncio.run(test())


@pytest.mark.parametrize(("seconds", "turns"), [(0.0, 0), (0.00004, 3), (0.001, 10)])
def test_offers_are_taken_where_others_wait_and_the_step_was_not_short(seconds: float, turns: int) -> None:
    now = 0.0

    async def work() -> str:
        nonlocal now
        for _ in range(10):
            now += seconds
            await OFFER
        return "done"

    async def test() -> None:
        waiting = OneByOne()
        one = Steps(work(), lambda: now, lambda spent: None, turns=waiting)
        task = asyncio.create_task(one.finish(nullcontext())) if not one.begin() else None
        while task is not None and not task.done():
            for waiter in waiting.waiting:
                if not waiter.done():
                    waiter.set_result(None)
            await asyncio.sleep(0)
        assert one.result == "done"
        assert len(waiting.waiting) == turns

    asyncio.run(test())


def test_who_only_offers_lets_the_loop_go_on() -> None:
    async def test() -> None:
        seen = asyncio.Event()

        async def work() -> str:
            while not seen.is_set():
                await OFFER
            return "done"

        one = steps(work(), Free())
        one.begin()
        asyncio.get_running_loop().call_soon(seen.set)
        async with asyncio.timeout(10):
            assert await one.finish(nullcontext()) == "done"

    asyncio.run(test())


def test_those_that_waited_for_the_same_go_on_one_by_one() -> None:
    async def test() -> None:
        committed = asyncio.get_running_loop().create_future()
        went_on: list[int] = []
        turns = OneByOne()

        async def write(number: int) -> str:
            await asyncio.shield(committed)
            went_on.append(number)
            return "done"

        written = [steps(write(number), turns) for number in range(3)]
        tasks = [asyncio.create_task(one.finish(nullcontext())) for one in written if not one.begin()]
        await asyncio.sleep(0)
        committed.set_result(None)
        await rounds_until(lambda: len(turns.waiting) == 3)
        assert went_on == []
        for number in range(3):
            turns.waiting[number].set_result(None)
            await rounds_until(lambda: len(went_on) > number)  # noqa: B023
            assert went_on == list(range(number + 1))
        assert [await one for one in tasks] == ["done"] * 3

    asyncio.run(test())


@pytest.mark.parametrize("waits", [lambda: OFFER, lambda: asyncio.sleep(60)])
def test_what_is_given_up_is_told(waits: Callable[[], Awaitable[None]]) -> None:
    ended: list[str] = []

    async def work() -> str:
        try:
            await waits()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "done"

    async def test() -> None:
        # Each look at the clock shows another second: no step is short.
        one = Steps(work(), map(float, itertools.count()).__next__, lambda seconds: None, turns=OneByOne())
        one.begin()
        with pytest.raises(TimeoutError):
            await one.finish(Deadlines().within(0.01))

    asyncio.run(test())
    assert ended == ["cancelled"]
