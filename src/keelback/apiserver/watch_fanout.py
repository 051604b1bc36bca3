"""When the watchers of one change are many: they are woken a few at a time, and then let be for as long as that took.

What changes meanwhile reaches them in one write. So telling everybody takes half of the event loop at most, no request
waits for it, and the more is written the less each event costs. Where few listen, they hear of everything at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NoReturn, Protocol

from keelback.concurrency.clock import Clock

MANY = 64
_REST_SECONDS = 0.2


class Sleeper(Protocol):
    """Who can be woken."""

    def wake(self) -> None: ...


class Fanout:
    """Wakes in `run`, until that is cancelled."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asleep: dict[Sleeper, None] = {}
        self._asked = asyncio.Event()

    def wake(self, sleepers: Iterable[Sleeper]) -> None:
        """Wake them all, soon."""
        self._asleep.update(dict.fromkeys(sleepers))
        self._asked.set()

    async def run(self) -> NoReturn:
        """Wake whoever is to be woken."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            started = self._clock.monotonic()
            woken = list(self._asleep)
            self._asleep.clear()
            for at in range(0, len(woken), MANY):
                for sleeper in woken[at : at + MANY]:
                    sleeper.wake()
                # The woken write now, and whoever has sent a request is answered.
                await asyncio.sleep(0)
            await self._clock.sleep(min(self._clock.monotonic() - started, _REST_SECONDS))
