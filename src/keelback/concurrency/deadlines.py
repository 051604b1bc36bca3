"""Deadlines of much short work, of which hardly any is ever met: all of one length share a timer.

`asyncio.timeout` sets a timer for each and cancels it again, which is a tenth of what a small request takes.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

from keelback.concurrency.rounds import Round, Waiting, waiting_for

_MOST_LENGTHS: Final = 64
_PURPOSE: Final = Waiting(Round.DEADLINE)
TIMER_RESOLUTION_SECONDS: Final = 0.001
"""Of uvloop's timers, which may come that much too early."""


class Deadlines:
    """Deadlines on the loop that runs."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: dict[float, _Queue] = {}

    def within(self, seconds: float) -> Deadline:
        """What it encloses, in a `with`, is cancelled when it takes longer, and TimeoutError is raised."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._queues = {}
        queue = self._queues.get(seconds)
        if queue is None:
            if len(self._queues) >= _MOST_LENGTHS:
                self._queues = {length: one for length, one in self._queues.items() if one.under_way}
            queue = self._queues[seconds] = _Queue(loop, seconds)
        return Deadline(queue)


class _Queue:
    """Who has a deadline of one length, in the order of their coming, which is that of their ends."""

    __slots__ = ("_loop", "_timer", "seconds", "under_way")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds = seconds
        self.under_way: dict[Deadline, None] = {}
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def add(self, deadline: Deadline) -> None:
        deadline.ends_at = self._loop.time() + self.seconds
        self.under_way[deadline] = None
        if self._timer is None:
            self._look_at(deadline.ends_at)

    def _look(self) -> None:
        """Cancel those whose time is over, and look again when the next one's is."""
        self._timer = None
        now = self._loop.time()
        for deadline in list(self.under_way):
            if deadline.ends_at > now + TIMER_RESOLUTION_SECONDS:
                self._look_at(deadline.ends_at)
                return
            del self.under_way[deadline]
            deadline.expire()

    def _look_at(self, when: float) -> None:
        token = waiting_for.set(_PURPOSE)
        try:
            self._timer = self._loop.call_at(when, self._look)
        finally:
            waiting_for.reset(token)


class Deadline:
    """One deadline of the task that enters it."""

    __slots__ = ("_cancelling", "_is_over", "_queue", "_task", "ends_at")

    def __init__(self, queue: _Queue) -> None:
        self._queue = queue
        self._is_over = False
        self.ends_at = 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task has deadlines")
        self._task = task
        self._cancelling = task.cancelling()
        self._queue.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_over:
            del self._queue.under_way[self]
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            # Nobody else has cancelled the task meanwhile.
            raise TimeoutError from error

    def expire(self) -> None:
        """The time is over."""
        self._is_over = True
        self._task.cancel()
