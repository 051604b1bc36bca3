"""The work queue of every controller: a key waits once, has one worker at a time, and comes back later when it failed.

The promises are those of client-go's `workqueue`: a key added while it is worked on is handed out once more afterwards.
Bounded by the number of objects, since a key can wait only once.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock
from keelback.concurrency.rounds import Round, next_round
from keelback.reconcile.delayed_keys import DelayedKeys
from keelback.reconcile.queue_metrics import NO_METRICS, QueueObserver

K = TypeVar("K", bound=Hashable)

#: What client-go's default item rate limiter does: 5 ms doubling up to 1000 s.
DEFAULT_BACKOFF = Backoff(initial_seconds=0.005, cap_seconds=1000.0)


class QueueClosed(Exception):
    """Raised by `get` when the queue has been shut down and nothing more will come."""


class WorkQueue(Generic[K]):
    """Keys to be worked on; see the module's docstring for its promises."""

    def __init__(
        self,
        clock: Clock,
        *,
        backoff: Backoff = DEFAULT_BACKOFF,
        chance: random.Random | None = None,
        observer: QueueObserver = NO_METRICS,
    ) -> None:
        self._clock = clock
        self._backoff = backoff
        self._chance = chance
        self._observer = observer
        self._ready: OrderedDict[K, float] = OrderedDict()  # key -> when it was added
        self._working: dict[K, float] = {}  # key -> when its work began
        self._again: set[K] = set()  # added while being worked on
        self._failures: dict[K, int] = {}
        self._delayed = DelayedKeys(clock, self.add, clock.sleep)
        self._watched = DelayedKeys(clock, self.add, lambda seconds: next_round(clock, seconds, Round.WATCH))
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Have `key` worked on as soon as a worker is free."""
        if self._closed:
            return
        self._delayed.drop(key)
        self._watched.drop(key)
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = self._clock.monotonic()
            self._observer.added(len(self._ready))
            self._wake_one()

    def add_after(self, key: K, seconds: float, *, is_watch: bool = False) -> None:
        """Add `key` once `seconds` have passed; of several delays the shortest holds.

        With `is_watch` only to see whether others still report: a clock that jumps may leave that out.
        """
        if seconds <= 0:
            self.add(key)
        elif not self._closed and key not in self._ready:
            (self._watched if is_watch else self._delayed).add(key, seconds)

    def add_rate_limited(self, key: K) -> float:
        """Add `key` after a delay that doubles with each failure in a row; returns the delay in seconds."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        self._observer.retried()
        seconds = self._backoff.delay(failures, self._chance)
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Take `key` as healthy again: its next failure waits the shortest delay."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How many failures in a row `key` has had."""
        return self._failures.get(key, 0)

    def running_seconds(self) -> list[float]:
        """How long each key being worked on has been so."""
        now = self._clock.monotonic()
        return [now - started for started in self._working.values()]

    async def get(self) -> K:
        """Wait for a key and take it; the caller owes a `done`. Raises QueueClosed after `close`."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            await self._arrival()
        key, added = self._ready.popitem(last=False)
        now = self._clock.monotonic()
        self._working[key] = now
        self._observer.started(len(self._ready), now - added)
        return key

    def done(self, key: K) -> None:
        """The worker has finished with `key`; if it was added meanwhile it waits anew."""
        self._observer.finished(self._clock.monotonic() - self._working.pop(key))
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Hand out nothing more; workers that wait are told with QueueClosed."""
        self._closed = True
        self._ready.clear()
        while self._idle:
            self._wake_one()

    async def run_timers(self) -> None:
        """Turn delayed keys into waiting ones when their time comes; runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._delayed.run())
            tasks.create_task(self._watched.run())

    async def _arrival(self) -> None:
        """Return when a key has come for this worker; of those that wait one is woken for each."""
        waiter = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._idle:
                self._idle.remove(waiter)
            elif self._ready:
                # Woken for a key that it will not take.
                self._wake_one()
            raise

    def _wake_one(self) -> None:
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
