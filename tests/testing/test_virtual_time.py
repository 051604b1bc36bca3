"""Time that jumps while somebody waits, and stands still else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from keelback.testing.virtual_time import START, LoopClock, LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


def test_a_wait_of_weeks_is_over_at_once_and_took_weeks(thread: LoopThread) -> None:
    clock = LoopClock(thread.loop)

    async def wait() -> None:
        await clock.sleep(14 * 24 * 3600)

    thread.run(wait)
    assert (clock.now() - START).days == 14


def test_time_stands_still_between_calls(thread: LoopThread) -> None:
    woken: list[float] = []

    async def begin() -> None:
        thread.loop.call_later(10, lambda: woken.append(thread.loop.time()))

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)

    thread.run(begin)
    assert woken == []
    thread.run(lambda: wait(9))
    assert woken == []
    thread.run(lambda: wait(2))
    assert woken == [10]
    assert thread.loop.time() == 11


def test_a_call_returns_when_what_it_set_off_is_done(thread: LoopThread) -> None:
    seen: list[int] = []

    async def chain(left: int) -> None:
        seen.append(left)
        if left:
            await asyncio.sleep(0)
            running.append(asyncio.get_running_loop().create_task(chain(left - 1)))

    running: list[asyncio.Task[None]] = []
    thread.run(lambda: chain(50))
    assert seen[-1] == 0


def test_deadlines_keep_the_virtual_time(thread: LoopThread) -> None:
    async def late() -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(6)

    with pytest.raises(TimeoutError):
        thread.run(late)
    assert thread.loop.time() == 5


def test_time_does_not_pass_while_a_thread_works(thread: LoopThread) -> None:
    def work() -> int:
        time.sleep(0.05)
        return 42

    async def both() -> int:
        asyncio.get_running_loop().call_later(1, lambda: None)
        return await asyncio.to_thread(work)

    assert thread.run(both) == 42
    assert thread.loop.time() == 0


def test_a_timer_that_is_due_in_less_than_a_microsecond_comes(thread: LoopThread) -> None:
    async def wait() -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        # Just past the microsecond, and further than what the loop takes for now.
        loop.call_at(round(loop.time(), 6) + 1.4e-6, ended.set_result, None)
        await asyncio.sleep(1e-7)
        await ended

    thread.run(wait)


def test_those_who_wait_for_a_moment_that_a_sum_of_floats_missed_get_there(thread: LoopThread) -> None:
    clock = LoopClock(thread.loop)
    sleeps: list[float] = []

    async def wait_until(due: float, turns: int) -> None:
        # Each keeps the loop from being idle while the others wait.
        for _ in range(turns):
            await asyncio.sleep(0)
        while clock.monotonic() < due and len(sleeps) < 100:
            sleeps.append(due - clock.monotonic())
            await clock.sleep(sleeps[-1])

    async def wait_for_all() -> None:
        await asyncio.gather(*(wait_until(0.1 + 0.2, turns) for turns in range(4)))

    thread.run(lambda: clock.sleep(0.3))
    thread.run(wait_for_all)
    assert 0.0 < max(sleeps) < 1e-15
    assert len(sleeps) == 4
