"""Events that wait for their writers."""

from __future__ import annotations

import asyncio
from functools import partial

from keelback.api.core_v1 import ObjectReference
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.scheduler.binding import Jobs
from keelback.scheduler.event_queue import EventQueue, QueueingRecorder
from keelback.scheduling.pod_to_place import PodToPlace


class Slow:
    """Writes nothing until it may; fails with the first."""

    def __init__(self) -> None:
        self.may_write = asyncio.Event()
        self.written: list[tuple[str, str]] = []
        self.all_written = asyncio.Event()

    async def event(self, obj: Object | ObjectReference, event_type: str, reason: str, message: str) -> None:
        await self.may_write.wait()
        assert isinstance(obj, ObjectReference)
        if message == "0":
            raise RuntimeError("a broken recorder")
        self.written.append((obj.name, message))
        if message == "9":
            self.all_written.set()


def test_who_tells_does_not_wait_and_a_failure_stops_no_other_event() -> None:
    async def scenario() -> None:
        slow, queue = Slow(), EventQueue(Jobs(1).leisure)
        recorder = QueueingRecorder(queue, slow)
        writing = asyncio.ensure_future(queue.run())
        for number in range(10):
            await recorder.event(PodToPlace(metadata=ObjectMeta(name="p")), "Normal", "Scheduled", str(number))
        assert not slow.written
        slow.may_write.set()
        async with asyncio.timeout(5):
            await slow.all_written.wait()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert sorted(slow.written) == [("p", str(number)) for number in range(1, 10)]

    asyncio.run(scenario())


def test_bindings_go_before_what_is_told_of_them() -> None:
    order: list[str] = []

    class Recorder:
        async def event(self, obj: Object | ObjectReference, event_type: str, reason: str, message: str) -> None:
            order.append(message)

    async def scenario() -> None:
        jobs = Jobs(1)
        queue = EventQueue(jobs.leisure)
        recorder = QueueingRecorder(queue, Recorder())

        async def bind(number: int) -> None:
            await recorder.event(PodToPlace(metadata=ObjectMeta(name="p")), "Normal", "Scheduled", f"told {number}")
            order.append(f"bound {number}")
            await asyncio.sleep(0)

        running = [asyncio.ensure_future(jobs.run()), asyncio.ensure_future(queue.run())]
        for number in range(8):
            await jobs.put(partial(bind, number))
        for _ in range(60):
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(scenario())
    assert order[:8] == [f"bound {number}" for number in range(8)]
    assert sorted(order[8:]) == [f"told {number}" for number in range(8)]
