"""Steps that come due: one for each key, the last that was planned, carried out when its time has come.

What fails is tried again a second later, unless something else was planned meanwhile.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from keelback.apimachinery.errors import NotFound, StatusError
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

WORKERS: Final = 32
_RETRY_SECONDS: Final = 1.0

_log = logger("kubelet.simulated")


class DueSteps(Generic[K, S]):
    """`carry_out` raises NotFound for what is gone, StatusError, OSError or TimeoutError for what may yet succeed."""

    def __init__(self, clock: Clock, carry_out: Callable[[K, S], Awaitable[None]]) -> None:
        self._clock = clock
        self._carry_out = carry_out
        self._planned: dict[K, S] = {}
        self._due: list[tuple[float, int, K, S]] = []
        self._order = itertools.count()
        self._earlier = asyncio.Event()
        self._sleep: asyncio.Task[None] | None = None
        # One entry per key at most: `_planned` bounds it by the number of keys.
        self._work: asyncio.Queue[tuple[K, S]] = asyncio.Queue(maxsize=WORKERS)

    def planned(self, key: K) -> S | None:
        """What will be done next, or is being done."""
        return self._planned.get(key)

    def plan(self, key: K, step: S, after_seconds: float) -> None:
        """Do this after so many seconds, instead of what was planned."""
        self._planned[key] = step
        self._push(key, step, after_seconds)

    def drop(self, key: K) -> None:
        """Do nothing."""
        self._planned.pop(key, None)

    async def run(self) -> None:
        """Carry steps out until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._release())
            for _ in range(WORKERS):
                tasks.create_task(self._work_on())

    def _push(self, key: K, step: S, after_seconds: float) -> None:
        entry = (self._clock.monotonic() + after_seconds, next(self._order), key, step)
        heapq.heappush(self._due, entry)
        if self._due[0] is entry:
            self._earlier.set()
            if self._sleep is not None:
                self._sleep.cancel()

    async def _release(self) -> None:
        while True:
            self._earlier.clear()
            now = self._clock.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, key, step = heapq.heappop(self._due)
                if self._planned.get(key) is step:
                    await self._work.put((key, step))
            await self._until_due()

    async def _until_due(self) -> None:
        """Return when the first is due, or another one has become the first."""
        if self._earlier.is_set():
            return
        if not self._due:
            await self._earlier.wait()
            return
        pause = self._due[0][0] - self._clock.monotonic()
        self._sleep = asyncio.create_task(self._clock.sleep(max(0.0, pause)))
        try:
            await asyncio.wait((self._sleep,))
        finally:
            self._sleep.cancel()
            self._sleep = None

    async def _work_on(self) -> None:
        while True:
            key, step = await self._work.get()
            if self._planned.get(key) is not step:
                continue
            try:
                await self._carry_out(key, step)
            except NotFound:
                self._planned.pop(key, None)
            except (StatusError, OSError, TimeoutError) as error:
                _log.warning("Could not carry out a step", object=key, error=str(error))
                if self._planned.setdefault(key, step) is step:
                    self._push(key, step, _RETRY_SECONDS)
