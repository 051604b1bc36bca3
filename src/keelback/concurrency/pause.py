"""A task's wait that ends at once: the task goes on inside the call that ends the wait.

A future that is done has its task go on when the loop comes round to it, after all that has become ready before, and
after one look at the sockets. Whoever decides who goes on next decides nothing that way: by then others have come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Pause:
    """One wait of one task. To asyncio it is a future, as `asyncio.isfuture` has it."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_is_cancelled", "_is_over", "_loop", "_wake_up")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._is_over = False
        self._is_cancelled = False
        self._wake_up: Callable[[Any], object] | None = None
        self._context: Context | None = None

    def end(self) -> None:
        """The wait is over. Who waits goes on before this returns; where a task is at work, as soon as the loop can."""
        if asyncio.current_task(self._loop) is None:
            self.end_between_tasks()
        elif not self._is_over:
            self._is_over = True
            if self._wake_up is not None:
                self._loop.call_soon(self._wake_up, self, context=self._context)

    def end_between_tasks(self) -> None:
        """The same for who knows that no task is at work: a callback of the loop."""
        if self._is_over:
            return
        self._is_over = True
        wake_up = self._wake_up
        if wake_up is not None:
            if self._context is None:
                wake_up(self)
            else:
                self._context.run(wake_up, self)

    def __await__(self) -> Generator[Any, None, None]:
        if not self._is_over:
            self._asyncio_future_blocking = True
            yield self
        if self._is_cancelled:
            raise asyncio.CancelledError

    # What tasks ask of a future.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Who waits: one."""
        self._wake_up, self._context = callback, context

    def done(self) -> bool:
        return self._is_over

    def cancelled(self) -> bool:
        return self._is_cancelled

    def result(self) -> None:
        if self._is_cancelled:
            raise asyncio.CancelledError

    def cancel(self, msg: object = None) -> bool:
        """Whether the wait is given up: who waits is told when the loop comes round to it."""
        if self._is_over:
            return False
        self._is_over = self._is_cancelled = True
        if self._wake_up is not None:
            self._loop.call_soon(self._wake_up, self, context=self._context)
        return True
