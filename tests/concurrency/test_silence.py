"""A stream of which nothing comes for too long is noticed, by one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from keelback.concurrency.silence import Silence
from keelback.testing.virtual_time import VirtualTimeLoop


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)

        async def call() -> None:
            await asyncio.wrap_future(loop.submit(lambda: work))

        runner.run(call())


def test_a_wait_that_lasts_is_over_at_its_own_time_however_many_came_before() -> None:
    async def test() -> None:
        loop, over = asyncio.get_running_loop(), []
        silence = Silence(10, lambda: over.append(round(loop.time(), 3)))
        for _ in range(5):
            silence.begin()
            await asyncio.sleep(4)
            silence.end()
        await asyncio.sleep(100)
        assert over == [], "nobody waits"
        silence.begin()
        await asyncio.sleep(7)
        silence.end()
        silence.begin()
        await asyncio.sleep(100)
        assert over == [137]
        assert silence.is_over

    run(test())


def test_without_a_length_it_lasts_for_ever_and_closed_it_is_never_over() -> None:
    async def test() -> None:
        over: list[str] = []
        endless, closed = (Silence(seconds, lambda: over.append("over")) for seconds in (0, 10))
        endless.begin()
        closed.begin()
        closed.close()
        await asyncio.sleep(1000)
        assert over == []
        assert not endless.is_over
        assert not closed.is_over

    run(test())
