"""A clock for tests: time stands still until the test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

_NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
_TURNS = 100
"""How often the loop goes round before everybody who is not waiting for the clock counts as done."""


class HandClock:
    """Time that passes when it is told to. `seconds` is how much of it has passed."""

    def __init__(self, start: datetime = _NOON) -> None:
        self.seconds = 0.0
        self._start = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """The start, and what has passed since."""
        return self._start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """How much time has passed."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved the clock that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds + seconds, next(self._order), waiter))
        await waiter

    def advance(self, seconds: float) -> None:
        """Let time pass at once. Who waited for it wakes when the loop goes round."""
        self._move_to(self.seconds + seconds)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass from sleeper to sleeper. Each acts before the next wakes, and what it then waits for counts."""
        end = self.seconds + seconds
        while True:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if not self._sleepers or self._sleepers[0][0] > end:
                return self._move_to(end)
            self._move_to(self._sleepers[0][0])

    def _move_to(self, instant: float) -> None:
        self.seconds = instant
        while self._sleepers and self._sleepers[0][0] <= instant:
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)
