"""Telling people why pods have no node: the last word on each pod, and after what places pods.

A pod that is refused again before its refusal is told is told once. So what is still to be told is bounded by the pods
that wait, and capacity that appears is given away before ten thousand pods have said that there was none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from keelback.concurrency.clock import Clock
from keelback.scheduler import binding
from keelback.scheduler.cycle import Refused

_WORKERS: Final = 4
_AGAIN_SECONDS: Final = 1.0


class Refusals:
    """What is still to be told."""

    def __init__(
        self,
        tell: Callable[[Refused], Awaitable[None]],
        leisure: Callable[[], Awaitable[None]],
        is_waiting: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """`leisure` returns when there is time for one more; `is_waiting` says of a uid whether its pod still is."""
        self._tell = tell
        self._leisure = leisure
        self._is_waiting = is_waiting
        self._clock = clock
        self._waiting: dict[str, Refused] = {}
        self._work = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, refused: Refused) -> None:
        """Have it told when there is time, in place of an earlier refusal of the pod."""
        uid = refused.queued.uid
        earlier = self._waiting.get(uid)
        if earlier is not None and refused.nominated_node_name is None:
            refused = replace(refused, nominated_node_name=earlier.nominated_node_name)
        self._waiting[uid] = refused
        self._work.set()

    def forget(self, uid: str) -> None:
        """The pod has a node, or something else is told of it."""
        self._waiting.pop(uid, None)

    async def run(self) -> None:
        """Tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WORKERS):
                tasks.create_task(self._run())

    async def _run(self) -> None:
        while True:
            while self._waiting:
                await self._leisure()
                if not self._waiting:
                    break
                uid = next(iter(self._waiting))
                refused = self._waiting.pop(uid)
                if not self._is_waiting(uid) or await binding.attempt(partial(self._tell, refused)):
                    continue
                # Nobody else would tell of it: unless the pod is tried again, this is the last word on it.
                await self._clock.sleep(_AGAIN_SECONDS)
                self._waiting.setdefault(uid, refused)
            self._work.clear()
            await self._work.wait()
