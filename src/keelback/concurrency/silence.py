"""How long nothing may come of a stream: one timer, which is set again only when it has come too early.

`asyncio.timeout` around each wait would set a timer for every piece, and cancel it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from keelback.concurrency.deadlines import TIMER_RESOLUTION_SECONDS


class Silence:
    """Of one stream, on the loop that runs. `wake` is called when a wait has lasted for `seconds`; 0 is for ever."""

    __slots__ = ("_seconds", "_since", "_timer", "_wake", "is_over")

    def __init__(self, seconds: float, wake: Callable[[], None]) -> None:
        self.is_over = False
        """Whether a wait has lasted too long."""
        self._seconds = seconds
        self._wake = wake
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Somebody waits from now on."""
        if self._seconds:
            loop = asyncio.get_running_loop()
            self._since = loop.time()
            if self._timer is None:
                self._timer = loop.call_at(self._since + self._seconds, self._look, loop)

    def end(self) -> None:
        """What was waited for has come, or is waited for no longer."""
        self._since = None

    def close(self) -> None:
        """Nobody will wait any more."""
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._since is None:
            return
        ends_at = self._since + self._seconds
        if ends_at > loop.time() + TIMER_RESOLUTION_SECONDS:
            self._timer = loop.call_at(ends_at, self._look, loop)
        else:
            self.is_over = True
            self._wake()
