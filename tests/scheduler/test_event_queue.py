"""Events that wait for their writers."""

from __future__ import annotations

import asyncio

from keelback.api.core_v1 import ObjectReference
from keelback.apimachinery.meta import Object, ObjectMeta
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
        slow, queue = Slow(), EventQueue()
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
