"""Events without waiting: workers leave them here, one task writes them. What does not fit is dropped, as upstream."""

from __future__ import annotations

import asyncio
from typing import Final

from keelback.apimachinery.meta import Object
from keelback.client.events import EventRecorder

_ROOM: Final = 1000


class EventQueue:
    """A `Recorder` in front of the client's."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder
        self._queue: asyncio.Queue[tuple[Object, str, str, str, str]] = asyncio.Queue(_ROOM)

    def event(self, obj: Object, kind: str, reason: str, message: str, *, container: str = "") -> None:
        """Leave an event to be written."""
        if not self._queue.full():
            self._queue.put_nowait((obj, kind, reason, message, container))

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            obj, kind, reason, message, container = await self._queue.get()
            await self._recorder.event(obj, kind, reason, message, field_path=container)
