"""The time to live of keys: which key ends when, and a sleep until the next one does."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Coroutine, Iterable

from keelback.concurrency.clock import Clock
from keelback.storage.key_index import Record

EXPIRE_GROUP = 1_000


class Expiry:
    """Calls back when keys reach the end of their time to live; sleeps exactly until the next one."""

    def __init__(self, clock: Clock, expire: Callable[[str, int], Coroutine[None, None, None]]) -> None:
        self._clock = clock
        self._expire = expire
        self._queue: list[tuple[float, int, str]] = []
        self._sleeper: asyncio.Task[None] | None = None
        self._sleeps_until = math.inf

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            heapq.heappush(self._queue, (record.expires, record.revision, record.key))
        if self._queue and self._queue[0][0] < self._sleeps_until:
            self.close()
            self._sleeps_until = self._queue[0][0]
            self._sleeper = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        if self._sleeper is not None:
            self._sleeper.cancel()

    async def _run(self) -> None:
        while self._queue:
            self._sleeps_until = self._queue[0][0]
            await self._clock.sleep(max(self._sleeps_until - self._clock.now().timestamp(), 0.0))
            # While keys are being deleted nobody needs to wake this task, and nobody may cancel it.
            self._sleeps_until = -math.inf
            now = self._clock.now().timestamp()
            due: list[Coroutine[None, None, None]] = []
            while self._queue and self._queue[0][0] <= now and len(due) < EXPIRE_GROUP:
                _, revision, key = heapq.heappop(self._queue)
                due.append(self._expire(key, revision))
            await asyncio.gather(*due)
        self._sleeps_until = math.inf
