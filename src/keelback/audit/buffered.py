"""Events are kept and passed on in batches, so that no request waits for it: the mode `batch`.

What does not fit is lost, and counted. How often batches leave is limited, and how many are under way at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from keelback.audit.backends import AuditMetrics, Backend
from keelback.audit.events import Event
from keelback.audit.options import BatchConfig
from keelback.concurrency.clock import Clock

CLOSE_SECONDS = 10.0
"""How long the last batches may take when the server ends."""


class Buffered:
    """A backend in front of another that may be slow."""

    def __init__(self, backend: Backend, config: BatchConfig, clock: Clock, metrics: AuditMetrics) -> None:
        self._backend = backend
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._kept: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._filled = asyncio.Event()
        # As many as may leave at once may be under way: without a limit a slow receiver would fill the memory.
        self._sending = asyncio.Semaphore(max(config.burst, 1))
        self._sends: set[asyncio.Task[bool]] = set()
        self._tokens = float(config.burst)
        self._counted = clock.monotonic()

    async def process(self, events: Sequence[Event]) -> bool:
        room = self._config.buffer_size - len(self._kept)
        if room < len(events):
            self._metrics.lost("buffered", "audit buffer queue blocked", events[max(room, 0) :])
        self._kept.extend(events[: max(room, 0)])
        if self._kept:
            self._arrived.set()
        if len(self._kept) >= self._config.max_batch_size:
            self._filled.set()
        return True

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._backend.run())
            while True:
                await self._arrived.wait()
                await self._filled_or_late()
                await self._throttle()
                await self._sending.acquire()
                self._send(self._taken())

    async def close(self) -> None:
        """Send what is kept, unthrottled, and wait for what is under way, no longer than ten seconds."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._kept:
                    await self._backend.process(self._taken())
                await asyncio.gather(*self._sends)
        except TimeoutError:
            self._metrics.lost("buffered", "the server ended before they were taken", tuple(self._kept))
        for one in self._sends:
            one.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)
        await self._backend.close()

    async def _filled_or_late(self) -> None:
        """Until a whole batch is there, or its first event has waited long enough."""
        if self._filled.is_set() or self._config.max_wait_seconds <= 0:
            return
        late = asyncio.ensure_future(self._clock.sleep(self._config.max_wait_seconds))
        filled = asyncio.ensure_future(self._filled.wait())
        try:
            await asyncio.wait((late, filled), return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
            filled.cancel()

    async def _throttle(self) -> None:
        config = self._config
        if not config.is_throttled:
            return
        now = self._clock.monotonic()
        self._tokens = min(config.burst, self._tokens + (now - self._counted) * config.queries_per_second)
        self._counted = now
        self._tokens -= 1
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / config.queries_per_second)

    def _taken(self) -> list[Event]:
        size = min(len(self._kept), self._config.max_batch_size)
        taken = [self._kept.popleft() for _ in range(size)]
        if not self._kept:
            self._arrived.clear()
        if len(self._kept) < self._config.max_batch_size:
            self._filled.clear()
        return taken

    def _send(self, batch: Sequence[Event]) -> None:
        task = asyncio.ensure_future(self._backend.process(batch))
        self._sends.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[bool]) -> None:
        self._sends.discard(task)
        self._sending.release()
