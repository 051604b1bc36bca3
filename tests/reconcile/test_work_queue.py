from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.component.metrics import Registry
from keelback.reconcile.queue_metrics import QueueMetrics
from keelback.reconcile.work_queue import QueueClosed, WorkQueue
from keelback.testing.clock import HandClock


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def play(scenario: Callable[[WorkQueue[str], HandClock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = HandClock()
        queue: WorkQueue[str] = WorkQueue(clock)
        timers = asyncio.get_running_loop().create_task(queue.run_timers())
        try:
            await scenario(queue, clock)
        finally:
            timers.cancel()
            await asyncio.gather(timers, return_exceptions=True)

    asyncio.run(run())


def test_a_key_added_twice_is_handed_out_once() -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add("a")
        queue.add("a")
        queue.add("b")
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    play(scenario)


def test_a_key_added_while_it_is_worked_on_comes_back_afterwards_once() -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.done(key)
        assert len(queue) == 1
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    play(scenario)


def test_of_several_delays_the_shortest_holds() -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 7)
        await clock.pass_time(2.9)
        assert len(queue) == 0
        await clock.pass_time(0.2)
        assert len(queue) == 1
        queue.done(await queue.get())
        await clock.pass_time(20)
        assert len(queue) == 0

    play(scenario)


def test_failures_wait_longer_each_time_until_they_are_forgotten() -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        delays = []
        for _ in range(4):
            delays.append(queue.add_rate_limited("a"))
            await clock.pass_time(delays[-1])
            queue.done(await queue.get())
        assert delays == [0.005, 0.01, 0.02, 0.04]
        queue.forget("a")
        assert queue.add_rate_limited("a") == 0.005

    play(scenario)


def test_a_closed_queue_tells_those_who_wait() -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        waiting = [asyncio.get_running_loop().create_task(queue.get()) for _ in range(3)]
        await settle()
        queue.close()
        queue.add("a")
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, QueueClosed) for result in results)

    play(scenario)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "after", "work", "time"])), max_size=60))
def test_no_key_is_lost_and_none_has_two_workers(steps: list[tuple[str, str]]) -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        owed: set[str] = set()
        for key, step in steps:
            if step == "add":
                queue.add(key)
                owed.add(key)
            elif step == "after":
                queue.add_after(key, 1)
                owed.add(key)
            elif step == "time":
                await clock.pass_time(1)
            elif len(queue):
                taken = await queue.get()
                owed.discard(taken)
                queue.add(taken)
                owed.add(taken)
                assert taken not in list(queue._ready)
                queue.done(taken)
        await clock.pass_time(2)
        seen = set()
        while len(queue):
            seen.add(await queue.get())
        assert owed <= seen

    play(scenario)


def test_the_queue_counts_under_upstreams_names() -> None:
    async def run() -> None:
        registry = Registry()
        metrics = QueueMetrics(registry)
        queue: WorkQueue[str] = WorkQueue(
            HandClock(), chance=random.Random(1), observer=metrics.observer("deployment-controller")
        )
        queue.add("a")
        queue.done(await queue.get())
        queue.add_rate_limited("a")
        metrics.watch("deployment-controller", queue.running_seconds)
        text = registry.exposition().decode()
        assert 'workqueue_adds_total{name="deployment-controller"} 1' in text
        assert 'workqueue_unfinished_work_seconds{name="deployment-controller"} 0' in text
        assert 'workqueue_retries_total{name="deployment-controller"} 1' in text
        assert 'workqueue_work_duration_seconds_count{name="deployment-controller"} 1' in text

    asyncio.run(run())


def test_get_raises_after_close() -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.close()
        with pytest.raises(QueueClosed):
            await queue.get()

    play(scenario)


def test_one_worker_is_woken_for_each_key() -> None:
    class Counting(WorkQueue[str]):
        woken = 0

        async def _arrival(self) -> None:
            await super()._arrival()
            self.woken += 1

    async def run() -> None:
        queue = Counting(HandClock())
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await settle()
        queue.add("a")
        queue.add("b")
        await settle()
        assert queue.woken == 2
        assert [worker.done() for worker in workers] == [True, True, False]
        queue.add("c")
        assert await workers[2] == "c"
        assert queue.woken == 3

    asyncio.run(run())


@pytest.mark.parametrize("is_woken", [True, False])
def test_a_key_goes_to_another_worker_where_the_one_that_waited_first_is_cancelled(is_woken: bool) -> None:
    async def scenario(queue: WorkQueue[str], clock: HandClock) -> None:
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await settle()
        if is_woken:
            queue.add("a")
        first.cancel()
        if not is_woken:
            queue.add("a")
        await settle()
        assert first.cancelled()
        assert second.done()
        assert second.result() == "a"

    play(scenario)
