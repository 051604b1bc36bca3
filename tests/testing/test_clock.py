"""The clock that tests move by hand."""

from __future__ import annotations

import asyncio

from keelback.testing.clock import HandClock


def test_nobody_wakes_before_time_has_passed() -> None:
    async def body() -> None:
        clock = HandClock()
        began = clock.now()
        woken = []

        async def sleeper(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(clock.seconds)

        async with asyncio.TaskGroup() as tasks:
            for seconds in (3.0, 1.0, 0.0):
                tasks.create_task(sleeper(seconds))
            await clock.pass_time(0.5)
            assert woken == [0.0]
            clock.advance(1.0)
            await clock.pass_time(0.0)
            assert woken == [0.0, 1.5]
            await clock.pass_time(10.0)
        assert woken == [0.0, 1.5, 3.0]
        assert (clock.now() - began).total_seconds() == clock.monotonic() == 11.5

    asyncio.run(body())


def test_what_begins_while_time_passes_takes_part() -> None:
    async def body() -> None:
        clock = HandClock()
        beats = []

        async def beat() -> None:
            while True:
                await clock.sleep(0.1)
                beats.append(clock.seconds)

        beating = asyncio.create_task(beat())
        await clock.pass_time(1.05)
        assert len(beats) == 10
        beating.cancel()
        await clock.pass_time(1.0)
        assert len(beats) == 10

    asyncio.run(body())
