"""Requests carried out step by step: who may go on when, and that nobody stops the loop."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any

import pytest

from keelback.apiserver.steps import OFFER, Steps, Turn
from keelback.concurrency.deadlines import Deadlines


class Free:
    """Nobody else waits."""

    round_seconds = 0.00005

    def may_begin(self) -> bool:
        return True

    def wait(self, who: Turn) -> None:
        raise AssertionError("nobody has to wait for a turn")

    def give_up(self, who: Turn) -> None:
        raise AssertionError("nobody has waited for a turn")


class OneByOne:
    """A turn for each step, given out by the test."""

    round_seconds = 0.00005

    def __init__(self) -> None:
        self.waiting: list[Turn] = []

    def may_begin(self) -> bool:
        return False

    def wait(self, who: Turn) -> None:
        self.waiting.append(who)

    def give_up(self, who: Turn) -> None:
        self.waiting.remove(who)


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


@pytest.mark.parametrize(("seconds", "turns"), [(0.0, 0), (0.00002, 3), (0.001, 10)])
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
                waiter.end()
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
            turns.waiting[number].end()
            await rounds_until(lambda: len(went_on) > number)  # noqa: B023
            assert went_on == list(range(number + 1))
        assert [await one for one in tasks] == ["done"] * 3

    asyncio.run(test())


def test_who_waits_for_something_costs_the_loop_nothing_until_it_has_its_turn() -> None:
    async def test() -> None:
        committed = asyncio.get_running_loop().create_future()
        steps_taken: list[float] = []
        turns = OneByOne()

        async def write() -> str:
            await committed
            return "done"

        one = Steps(write(), lambda: 0.0, steps_taken.append, turns=turns)
        one.begin()
        task = asyncio.create_task(one.finish(nullcontext()))
        await asyncio.sleep(0)
        committed.set_result(None)
        await rounds_until(lambda: len(turns.waiting) == 1)
        assert len(steps_taken) == 1
        asyncio.get_running_loop().call_soon(turns.waiting[0].end)
        assert await task == "done"
        assert len(steps_taken) == 2

    asyncio.run(test())


def test_who_is_cancelled_while_it_waits_for_its_turn_gives_it_up() -> None:
    async def test() -> None:
        committed = asyncio.get_running_loop().create_future()
        turns = OneByOne()

        async def write() -> str:
            await committed
            return "done"

        one = steps(write(), turns)
        one.begin()
        task = asyncio.create_task(one.finish(nullcontext()))
        await asyncio.sleep(0)
        committed.set_result(None)
        await rounds_until(lambda: len(turns.waiting) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert turns.waiting == []

    asyncio.run(test())


def test_who_is_cancelled_before_needs_no_turn_to_end() -> None:
    async def test() -> None:
        turns = OneByOne()

        async def write() -> str:
            await asyncio.get_running_loop().create_future()
            return "done"

        one = steps(write(), turns)
        one.begin()
        task = asyncio.create_task(one.finish(nullcontext()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert turns.waiting == []

    asyncio.run(test())


def test_what_fails_meanwhile_is_told_to_who_waits() -> None:
    async def test() -> None:
        committed = asyncio.get_running_loop().create_future()

        async def write() -> str:
            with pytest.raises(OSError, match="no space"):
                await committed
            return "refused"

        one = steps(write(), Free())
        one.begin()
        task = asyncio.create_task(one.finish(nullcontext()))
        await asyncio.sleep(0)
        committed.set_exception(OSError("no space"))
        assert await task == "refused"

    asyncio.run(test())


def test_a_request_within_a_request_takes_turns_too() -> None:
    async def test() -> None:
        committed = asyncio.get_running_loop().create_future()
        inner, outer = OneByOne(), OneByOne()

        async def write() -> str:
            await committed
            return "done"

        async def ask() -> str:
            one = steps(write(), inner)
            one.begin()
            return await one.finish(nullcontext())

        one = steps(ask(), outer)
        one.begin()
        task = asyncio.create_task(one.finish(nullcontext()))
        await asyncio.sleep(0)
        committed.set_result(None)
        for turns in (inner, outer):
            await rounds_until(lambda: len(turns.waiting) == 1)  # noqa: B023
            turns.waiting[0].end()
        assert await task == "done"

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
