"""Telling people why pods have no node: the last word on each pod, and after what places pods.

A pod that is refused again before its refusal is told is told once. So what is still to be told is bounded by the pods
that wait, and capacity that appears is given away before ten thousand pods have said that there was none. What one pod
is told in the name of others that are alike they are told after it, and only where it is news to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from keelback.concurrency.clock import Clock
from keelback.scheduler import binding
from keelback.scheduler.cycle import Refused
from keelback.scheduler.queued_pod import Alike, QueuedPod

_WORKERS: Final = 4
_AGAIN_SECONDS: Final = 1.0
_LOOKED_AT_IN_A_TURN: Final = 32
_ROUND_SECONDS: Final = 5.0
"""How often those that are alike are told something else: each time means a write for each of them."""


class Refusals:
    """What is still to be told."""

    def __init__(
        self,
        tell: Callable[[Refused], Awaitable[None]],
        leisure: Callable[[], Awaitable[None]],
        waiting: Callable[[str], QueuedPod | None],
        is_told: Callable[[Refused], bool],
        clock: Clock,
    ) -> None:
        """`leisure` returns when there is time for one more; `waiting` finds a pod by its uid if it still is, and
        `is_told` says whether its status has it already."""
        self._tell = tell
        self._leisure = leisure
        self._find = waiting
        self._is_told = is_told
        self._clock = clock
        self._waiting: dict[str, Refused] = {}
        self._others: dict[Alike, tuple[Refused, Iterator[str]]] = {}
        self._later: dict[Alike, Refused] = {}
        self._postponed = asyncio.Event()
        self._work = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, refused: Refused, alike: Alike | None = None) -> None:
        """Have it told when there is time, in place of an earlier refusal of the pod, and to those that are `alike`."""
        uid = refused.queued.uid
        earlier = self._waiting.get(uid)
        if earlier is not None and refused.nominated_node_name is None:
            refused = replace(refused, nominated_node_name=earlier.nominated_node_name)
        self._waiting[uid] = refused
        among = refused.queued.among
        if alike is None and among is not None and among.said != refused.message:
            among.said = ""
        if alike is not None and alike.said != refused.message:
            alike.said = refused.message
            if len(alike.pods) > 1:
                self._later[alike] = refused
                self._begin_rounds()
                self._postponed.set()
        self._work.set()

    def forget(self, uid: str) -> None:
        """The pod has a node, or something else is told of it."""
        self._waiting.pop(uid, None)

    async def run(self) -> None:
        """Tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pace())
            for _ in range(_WORKERS):
                tasks.create_task(self._run())

    async def _pace(self) -> None:
        while True:
            while self._later:
                due = min(alike.told_at for alike in self._later) + _ROUND_SECONDS
                await self._clock.sleep(max(due - self._clock.monotonic(), 0.0))
                self._begin_rounds()
            self._postponed.clear()
            await self._postponed.wait()

    def _begin_rounds(self) -> None:
        now = self._clock.monotonic()
        for alike in [alike for alike in self._later if now - alike.told_at >= _ROUND_SECONDS]:
            alike.told_at = now
            self._others[alike] = self._later.pop(alike), iter(tuple(alike.pods))
            self._work.set()

    async def _run(self) -> None:
        while True:
            while self._waiting or self._others:
                await self._leisure()
                if self._waiting:
                    await self._tell_one(self._waiting.pop(next(iter(self._waiting))))
                elif self._others:
                    await self._tell_others(next(iter(self._others)))
            self._work.clear()
            await self._work.wait()

    async def _tell_one(self, refused: Refused) -> None:
        queued = self._find(refused.queued.uid)
        if queued is None:
            return
        if queued.among is not None and not queued.is_single and queued.among.said:
            # Another one may have been told something newer in its name.
            refused = replace(refused, message=queued.among.said)
        if await binding.attempt(partial(self._tell, refused)):
            return
        # Nobody else would tell of it: unless the pod is tried again, this is the last word on it.
        await self._clock.sleep(_AGAIN_SECONDS)
        self._waiting.setdefault(queued.uid, refused)
        self._work.set()

    async def _tell_others(self, alike: Alike) -> None:
        # One that does not know yet, or so many that do: then whatever has come up meanwhile goes first.
        refused, uids = self._others[alike]
        for _ in range(_LOOKED_AT_IN_A_TURN):
            uid = next(uids, None)
            if uid is None:
                self._others.pop(alike, None)
                return
            queued = self._find(uid)
            if queued is None or queued.among is not alike or uid == refused.queued.uid or uid in self._waiting:
                continue
            news = replace(refused, queued=queued)
            if not self._is_told(news):
                await self._tell_one(news)
                return
        await asyncio.sleep(0)
