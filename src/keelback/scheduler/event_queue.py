"""Events wait here for whoever writes them, so that no binding waits for an Event: people read them later than that.

While pods are being bound, few are written: a thousand that wait for a new node get it before it is told of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from keelback.api.core_v1 import ObjectReference
from keelback.client.events import reference_to
from keelback.component import logs
from keelback.scheduler.binding import Recorder
from keelback.scheduling.pod_to_place import PodToPlace

_WRITERS: Final = 2
_MOST_WAITING: Final = 50_000
"""Then whoever has more to tell waits: upstream drops Events from a thousand on."""

_log = logs.logger("scheduler")


class EventQueue:
    """What is to be told about pods, in the order of its coming."""

    def __init__(self, leisure: Callable[[], Awaitable[None]]) -> None:
        """`leisure` returns when there is time for one more."""
        self._leisure = leisure
        self._queue: asyncio.Queue[tuple[Recorder, ObjectReference, str, str, str]] = asyncio.Queue(_MOST_WAITING)

    async def put(self, recorder: Recorder, pod: PodToPlace, event_type: str, reason: str, message: str) -> None:
        """Have the recorder write of the pod."""
        await self._queue.put((recorder, reference_to(pod), event_type, reason, message))

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WRITERS):
                tasks.create_task(self._write())

    async def _write(self) -> None:
        while True:
            recorder, about, event_type, reason, message = await self._queue.get()
            if self._queue.qsize() < _MOST_WAITING // 2:
                await self._leisure()
            try:
                await recorder.event(about, event_type, reason, message)
            except Exception as error:
                _log.error("Failed to write an event", error=error)


@dataclass(frozen=True, slots=True)
class QueueingRecorder:
    """A recorder that puts into the queue what another is to write."""

    queue: EventQueue
    recorder: Recorder

    async def event(self, pod: PodToPlace, event_type: str, reason: str, message: str, /) -> None:
        """Tell people what happened to the pod, soon."""
        await self.queue.put(self.recorder, pod, event_type, reason, message)
