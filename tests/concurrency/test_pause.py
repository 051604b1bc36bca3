"""Waits that end at once: who goes on when, and that tasks take them for futures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest
import uvloop

from keelback.concurrency.pause import Pause

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def runner(main: Coroutine[Any, Any, None]) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as one:
            one.run(main)

    return runner


class Waiting:
    """A task that waits, and what it has done since."""

    def __init__(self) -> None:
        self.pause = Pause(asyncio.get_running_loop())
        self.went_on = False
        self.task = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        await self.pause
        self.went_on = True


async def called(work: Callable[[], None]) -> None:
    """Have the loop call it, outside of any task."""
    done = asyncio.get_running_loop().create_future()

    def call() -> None:
        work()
        done.set_result(None)

    asyncio.get_running_loop().call_soon(call)
    await done


def test_who_waits_has_gone_on_when_the_call_returns(run: Run) -> None:
    async def main() -> None:
        one = Waiting()
        await asyncio.sleep(0)
        seen: list[bool] = []

        def end() -> None:
            one.pause.end()
            seen.append(one.went_on)

        await called(end)
        assert seen == [True]
        await one.task

    run(main())


def test_a_task_that_ends_another_s_wait_is_not_interrupted(run: Run) -> None:
    async def main() -> None:
        one = Waiting()
        await asyncio.sleep(0)
        one.pause.end()
        assert not one.went_on
        await one.task
        assert one.went_on

    run(main())


def test_what_has_ended_is_not_waited_for(run: Run) -> None:
    async def main() -> None:
        pause = Pause(asyncio.get_running_loop())
        pause.end()
        await pause
        assert pause.done()
        assert not pause.cancel()

    run(main())


def test_a_task_goes_on_in_its_own_context(run: Run) -> None:
    name: ContextVar[str] = ContextVar("name")

    async def main() -> None:
        pause = Pause(asyncio.get_running_loop())

        async def work() -> str:
            token = name.set("the task's")
            await pause
            found = name.get()
            name.reset(token)
            return found

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        await called(pause.end)
        assert await task == "the task's"

    run(main())


def test_a_task_that_is_cancelled_hears_of_it_and_no_end_wakes_it_again(run: Run) -> None:
    async def main() -> None:
        one = Waiting()
        await asyncio.sleep(0)
        one.task.cancel()
        await called(one.pause.end)
        with pytest.raises(asyncio.CancelledError):
            await one.task
        assert one.pause.cancelled()

    run(main())


def test_deadlines_hold(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await Pause(asyncio.get_running_loop())

    run(main())


def test_to_asyncio_it_is_a_future(run: Run) -> None:
    async def main() -> None:
        assert asyncio.isfuture(Pause(asyncio.get_running_loop()))

    run(main())
