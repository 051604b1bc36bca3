"""When many listen: they are woken a few at a time, and what is written meanwhile waits for all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from keelback.apiserver.watch_fanout import MANY, Fanout


class SlowClock:
    """Time passes only where the test says, and whoever sleeps is let go by the test."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []
        self.go_on = asyncio.Event()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await self.go_on.wait()
        self.go_on.clear()


class Sleeper:
    def __init__(self, clock: SlowClock, seconds: float = 0.0) -> None:
        self.woken = 0
        self._clock = clock
        self._seconds = seconds

    def wake(self) -> None:
        self.woken += 1
        self._clock.seconds += self._seconds


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 10))


def test_who_is_woken_often_while_it_rests_is_woken_once_after() -> None:
    async def body() -> None:
        clock = SlowClock()
        fanout = Fanout(clock)
        sleepers = [Sleeper(clock, 0.0001) for _ in range(3 * MANY)]
        running = asyncio.ensure_future(fanout.run())
        fanout.wake(sleepers)
        await settle()
        assert [one.woken for one in sleepers] == [1] * len(sleepers)
        assert [round(one, 4) for one in clock.sleeps] == [round(0.0001 * len(sleepers), 4)]
        for _ in range(5):
            fanout.wake(sleepers)
        await settle()
        assert sleepers[0].woken == 1
        clock.go_on.set()
        await settle()
        assert [one.woken for one in sleepers] == [2] * len(sleepers)
        running.cancel()

    run(body())


def test_others_have_their_turn_between_the_woken() -> None:
    async def body() -> None:
        clock = SlowClock()
        fanout = Fanout(clock)
        sleepers = [Sleeper(clock) for _ in range(3 * MANY)]
        running = asyncio.ensure_future(fanout.run())
        await settle()
        fanout.wake(sleepers)
        seen = set()
        for _ in range(10):
            await asyncio.sleep(0)
            seen.add(sum(one.woken for one in sleepers))
        assert {MANY, 2 * MANY, 3 * MANY} <= seen
        running.cancel()

    run(body())
