"""How far the caches have followed the store, and waiting until they have come far enough."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from keelback.concurrency.clock import Clock

# A write that was just acknowledged reaches the caches in the event loop's next round: no need for a timer then.
YIELDS = 3


class Progress:
    """`revision` only rises; all caches of one feed share it."""

    def __init__(self, clock: Clock) -> None:
        self.revision = 0
        self._clock = clock
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ids = count()

    def advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        while self._waiters and self._waiters[0][0] <= self.revision:
            _, _, future = heapq.heappop(self._waiters)
            if not future.done():
                future.set_result(None)

    async def wait_until(self, revision: int, timeout_seconds: float) -> bool:
        """Whether the revision was reached in time."""
        for _ in range(YIELDS):
            if self.revision >= revision:
                return True
            await asyncio.sleep(0)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (revision, next(self._ids), future))
        deadline = asyncio.ensure_future(self._clock.sleep(timeout_seconds))
        try:
            await asyncio.wait((future, deadline), return_when=asyncio.FIRST_COMPLETED)
            return future.done()
        finally:
            deadline.cancel()
            future.cancel()
