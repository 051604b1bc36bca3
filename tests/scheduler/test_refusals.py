"""What is told of pods that fit nowhere: once, and the latest."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduler.binding import Jobs
from keelback.scheduler.cycle import Refused
from keelback.scheduler.queued_pod import Alike, QueuedPod
from keelback.scheduler.refusals import Refusals
from keelback.scheduling.pod_info import PodShapes
from keelback.scheduling.pod_to_place import PodToPlace
from keelback.testing.clock import HandClock

SHAPES = PodShapes()


def refused(uid: str, message: str, nominated: str | None = None) -> Refused:
    pod = PodToPlace(metadata=ObjectMeta(name=uid, uid=uid))
    return Refused(QueuedPod(pod, SHAPES.of(pod), 0.0, 0.0), frozenset(), message, None, nominated)


def test_the_last_word_on_each_pod_is_told_and_nothing_of_those_that_got_a_node() -> None:
    told: list[tuple[str, str, str | None]] = []
    pods = {uid: refused(uid, "").queued for uid in "abcd"}

    async def tell(one: Refused) -> None:
        told.append((one.queued.uid, one.message, one.nominated_node_name))
        if one.message == "wrong":
            raise RuntimeError("a defect stops no other")
        if one.message == "later" and told.count(told[-1]) == 1:
            raise ConnectionResetError("the API server is away")

    async def play() -> None:
        jobs = Jobs(2)
        clock = HandClock(datetime(2026, 1, 1, tzinfo=UTC))
        refusals = Refusals(tell, jobs.leisure, lambda uid: pods.get(uid), lambda one: False, clock)
        running = asyncio.ensure_future(refusals.run())
        refusals.put(refused("a", "first", ""))
        refusals.put(refused("b", "wrong"))
        refusals.put(refused("c", "placed meanwhile"))
        refusals.put(refused("a", "last"))
        refusals.forget("c")
        refusals.put(refused("gone", "bound meanwhile"))
        assert len(refusals) == 3
        for _ in range(10):
            await asyncio.sleep(0)
        refusals.put(refused("d", "later"))
        for _ in range(10):
            await asyncio.sleep(0)
        # What could not be told is told again.
        clock.advance(1)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(refusals) == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(play())
    assert told == [("a", "last", ""), ("b", "wrong", None), ("d", "later", None), ("d", "later", None)]


def test_a_refusal_waits_for_bindings_but_not_for_ever() -> None:
    order: list[str] = []

    async def tell(one: Refused) -> None:
        order.append(one.queued.uid)

    async def play() -> None:
        jobs = Jobs(1)
        clock = HandClock(datetime(2026, 1, 1, tzinfo=UTC))
        refusals = Refusals(tell, jobs.leisure, lambda uid: refused(uid, "").queued, lambda one: False, clock)
        for number in range(4):
            await jobs.put(lambda number=number: note(f"bind {number}"))  # type: ignore[misc]
        refusals.put(refused("a", "no room"))
        running = [asyncio.ensure_future(jobs.run()), asyncio.ensure_future(refusals.run())]
        for number in range(4, 40):
            await jobs.put(lambda number=number: note(f"bind {number}"))  # type: ignore[misc]
        for _ in range(40):
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def note(what: str) -> None:
        order.append(what)
        await asyncio.sleep(0)

    asyncio.run(play())
    assert order.index("bind 3") < order.index("a") < order.index("bind 39")
    assert len(order) == 41


def test_those_that_are_alike_are_told_after_the_one_that_was_tried_and_in_rounds() -> None:
    told: list[tuple[str, str]] = []
    pods = {uid: refused(uid, "").queued for uid in "abc"}
    alike = Alike(pods["a"].info, (frozenset(), False), 0.0, dict(pods))
    for queued in pods.values():
        queued.among, queued.is_single = alike, False

    async def tell(one: Refused) -> None:
        told.append((one.queued.uid, one.message))

    async def play() -> None:
        clock = HandClock(datetime(2026, 1, 1, tzinfo=UTC))
        refusals = Refusals(tell, Jobs(1).leisure, pods.get, lambda one: one.queued.uid == "c", clock)
        running = asyncio.ensure_future(refusals.run())
        for message, seconds in (("one", 0.0), ("one", 1.0), ("two", 1.0), ("three", 2.0), ("three", 1.0)):
            refusals.put(replace(refused("a", message), queued=pods["a"]), alike)
            for _ in range(10):
                await asyncio.sleep(0)
            clock.advance(seconds)
            for _ in range(10):
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(play())
    # The one that is tried is told each time; the others what is true when five seconds are over.
    assert told == [
        ("a", "one"),
        ("b", "one"),
        ("a", "one"),
        ("a", "two"),
        ("a", "three"),
        ("a", "three"),
        ("b", "three"),
    ]
