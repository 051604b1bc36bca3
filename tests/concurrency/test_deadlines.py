"""Deadlines that share a timer do what timeouts of their own would."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from keelback.concurrency.deadlines import Deadlines
from keelback.testing.virtual_time import VirtualTimeLoop


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)

        async def call() -> None:
            await asyncio.wrap_future(loop.submit(lambda: work))

        runner.run(call())


def test_who_takes_too_long_is_told_at_its_time_and_others_go_on() -> None:
    async def test() -> None:
        deadlines, loop, told = Deadlines(), asyncio.get_running_loop(), []

        async def work(starts_at: float, lasts: float, within: float) -> None:
            await asyncio.sleep(starts_at)
            try:
                with deadlines.within(within):
                    await asyncio.sleep(lasts)
                told.append((round(loop.time(), 3), "done"))
            except TimeoutError:
                told.append((round(loop.time(), 3), "late"))

        await asyncio.gather(work(0, 5, 3), work(1, 2, 3), work(2, 9, 3), work(2, 1, 0.5), work(2, 1, 30))
        assert sorted(told) == [(2.5, "late"), (3.0, "done"), (3.0, "done"), (3.0, "late"), (5.0, "late")]

    run(test())


def test_a_cancellation_from_elsewhere_is_no_timeout() -> None:
    async def test() -> None:
        deadlines = Deadlines()

        async def work() -> None:
            with deadlines.within(1):
                await asyncio.sleep(10)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ValueError, match="inner"), deadlines.within(1):
            raise ValueError("inner")

    run(test())


def test_deadlines_within_deadlines_end_by_the_shorter() -> None:
    async def test() -> None:
        deadlines = Deadlines()
        with deadlines.within(10):
            with pytest.raises(TimeoutError), deadlines.within(1):
                await asyncio.sleep(5)
            await asyncio.sleep(1)
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(test())


def test_they_serve_one_loop_after_another() -> None:
    deadlines = Deadlines()

    async def test() -> None:
        with pytest.raises(TimeoutError), deadlines.within(1):
            await asyncio.sleep(5)

    run(test())
    run(test())
