"""What was answered elsewhere, kept for a while: each answer by a key and for its own time; who asks at once shares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from keelback.concurrency.clock import Clock

AnswerT = TypeVar("AnswerT")


class AnswerCache(Generic[AnswerT]):
    """Up to `size` answers; the one that was used longest ago makes room."""

    def __init__(self, clock: Clock, size: int) -> None:
        self._clock = clock
        self._size = size
        self._kept: dict[bytes, tuple[float, AnswerT]] = {}
        self._asking: dict[bytes, asyncio.Future[None]] = {}

    def get(self, key: bytes) -> AnswerT | None:
        """The answer, if there is one that still counts."""
        entry = self._kept.pop(key, None)
        if entry is None or entry[0] <= self._clock.monotonic():
            return None
        self._kept[key] = entry
        return entry[1]

    def put(self, key: bytes, answer: AnswerT, seconds: float) -> None:
        """Keep an answer; for no time at all is not to keep it."""
        if seconds <= 0:
            return
        while len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._clock.monotonic() + seconds, answer)

    async def shared(self, key: bytes, ask: Callable[[], Awaitable[tuple[AnswerT, float]]]) -> AnswerT:
        """The kept answer, or that of `ask`, which says for how many seconds it counts. While one asks the others wait;
        where that failed or is not to be kept, each asks for itself. Raises what `ask` raises."""
        while (known := self.get(key)) is None:
            under_way = self._asking.get(key)
            if under_way is None:
                break
            await asyncio.wait((under_way,))
        else:
            return known
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking[key] = done
        try:
            answer, seconds = await ask()
            self.put(key, answer, seconds)
            return answer
        finally:
            del self._asking[key]
            done.set_result(None)
