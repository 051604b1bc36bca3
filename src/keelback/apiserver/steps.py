"""A request carried out step by step: what each step takes of the event loop's time is told to whoever counts it.

A step goes on until the request waits for something. Most reads are a single step, and cost no task, timer or future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Steps(Generic[T]):
    """A coroutine that is measured. `finish` it once `begin` has said that it has not ended; or, where somebody else
    has begun it, with what it `waits_for`."""

    __slots__ = ("_charge", "_coroutine", "_now", "_waits_for", "result")

    result: T
    """What the coroutine returned, once it has."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        now: Callable[[], float],
        charge: Callable[[float], None],
        waits_for: Any = None,
    ) -> None:
        self._coroutine = coroutine
        self._now = now
        self._charge = charge
        self._waits_for = waits_for

    def begin(self) -> bool:
        """Take the first step; whether it was the last. Raises what the coroutine raises."""
        started = self._now()
        try:
            self._waits_for = self._coroutine.send(None)
        except StopIteration as ended:
            self.result = ended.value
            return True
        finally:
            self._charge(self._now() - started)
        return False

    async def finish(self, timeout_seconds: float | None) -> T:
        """Take the other steps. Raises what the coroutine raises, and TimeoutError when it has waited for too long."""
        if timeout_seconds is None:
            return await self
        async with asyncio.timeout(timeout_seconds):
            return await self

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[], Any]
        while True:
            try:
                value = yield self._waits_for
            except BaseException as error:
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, value)
            started = self._now()
            try:
                self._waits_for = step()
            except StopIteration as ended:
                self.result = ended.value
                return self.result
            finally:
                self._charge(self._now() - started)
