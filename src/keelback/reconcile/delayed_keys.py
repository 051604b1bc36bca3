"""Keys that come after a time: of several delays of one key the shortest holds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from keelback.concurrency.clock import Clock

K = TypeVar("K", bound=Hashable)


class DelayedKeys(Generic[K]):
    """`release` is called with each key when its time has come, `sleep` waits for the first. Bounded by the keys."""

    def __init__(self, clock: Clock, release: Callable[[K], None], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._release = release
        self._sleep = sleep
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._sequence = itertools.count()
        self._earlier = asyncio.Event()

    def add(self, key: K, seconds: float) -> None:
        """Release `key` once `seconds` have passed."""
        due = self._clock.monotonic() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._timers, (due, next(self._sequence), key))
        if self._timers[0][2] == key:
            self._earlier.set()

    def drop(self, key: K) -> None:
        """Forget it: its timer, if any, finds nothing due and is dropped."""
        self._due.pop(key, None)

    async def run(self) -> None:
        """Release keys until cancelled."""
        while True:
            self._earlier.clear()
            if not self._timers:
                await self._earlier.wait()
                continue
            seconds = self._timers[0][0] - self._clock.monotonic()
            if seconds > 0:
                await self._sleep_or_earlier(seconds)
                continue
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                self._release(key)

    async def _sleep_or_earlier(self, seconds: float) -> None:
        async def sleep() -> None:
            await self._sleep(seconds)
            self._earlier.set()

        async with asyncio.TaskGroup() as tasks:
            sleeper = tasks.create_task(sleep())
            await self._earlier.wait()
            sleeper.cancel()
