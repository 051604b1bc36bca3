"""Clocks: the one place where time enters. Components hold a `Clock` and never ask the operating system themselves."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time and lets it pass."""

    def now(self) -> datetime:
        """The wall-clock time, in UTC, with microseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for measuring durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock's time."""
        ...


class SystemClock:
    """The operating system's clock and the running event loop's timers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    # Asked several times in each request: nothing stands between.
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
