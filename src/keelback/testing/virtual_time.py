"""An event loop whose time is virtual: while somebody waits for a call, it jumps from timer to timer; else it stands.

A loop with a pace does not jump but lets time pass so many times as fast as the machine's, or as it can keep up with.

Whatever waits on the loop (`asyncio.sleep`, `asyncio.timeout`, `call_later`, a `LoopClock`) keeps this time. Threads
and sockets are of the real world: time does not pass while a thread works or somebody outside is asked something
(`keelback.concurrency.outside`), and pauses where a connection is open.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import itertools
import math
import selectors
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, TypeVar

from keelback.concurrency.clock import Clock, SystemClock
from keelback.concurrency.paced_clock import PacedClock
from keelback.concurrency.rounds import waiting_for
from keelback.testing.left_out_rounds import LeftOutRounds

T = TypeVar("T")

START: Final = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
_SAME_INSTANT_SECONDS: Final = 1e-6
_TURN_SECONDS: Final = 1e-10
_TURNS: Final = 5000
PATIENCE_SECONDS: Final = 0.02
"""How long, in real seconds, others at open connections are given before each jump of time."""
_CLOSE_SECONDS: Final = 10.0
_OF_THE_LOOP: Final = 1
"""How many sockets it listens to of its own accord: the one by which other threads wake it."""


class LoopClock:
    """The clock of a loop: `start` is what it showed when the loop's time was zero."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        """The start, and what has passed on the loop since."""
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def left_out_until(self) -> float:
        """Until when reports were last left out, in the loop's time; minus infinity where none were."""
        return self._loop.left_out_until() if isinstance(self._loop, VirtualTimeLoop) else -math.inf

    def step(self, seconds: float) -> None:
        """Show another time from now on, as a machine's clock does that is set: later, or earlier. Waits go on."""
        self._start += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait for that much of the loop's time."""
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class _Call:
    task: asyncio.Task[Any]
    settled: concurrent.futures.Future[Any]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time passes only while a call of `submit` is under way, and then at once. Calls end when all is quiet."""

    def __init__(self, machine: Clock | None = None) -> None:
        self._machine = machine or SystemClock()
        self._pace: PacedClock | None = None
        self.patience_seconds = PATIENCE_SECONDS
        self.has_company: Callable[[], bool] = lambda: False
        """Whether somebody outside is connected, who lives in real time and should get to act before time goes on."""
        self.is_undisturbed: Callable[[], bool] = lambda: True
        """Whether rounds that would find and tell nothing new may be left out."""
        self.changes: Callable[[], int] = lambda: 0
        """How much has been changed so far: who does not count it gets fewer looks at what other looks have changed."""
        self._rounds = LeftOutRounds()
        self._changes_before_look: int | None = None
        self._now = 0.0
        self._calls: list[_Call] = []
        self._in_threads = 0
        self._held_until: list[float] = []
        self._ahead = 0.0
        self._timers = 0
        self._opened: list[socket.socket] = []
        super().__init__(_IdleSelector(self._when_idle))
        self.set_task_factory(_NumberedTask)  # type: ignore[arg-type]
        self.task_numbers = itertools.count()
        # The loop runs a timer that is due within its resolution: sums of floats need not be exact.
        self._clock_resolution = _SAME_INSTANT_SECONDS

    def time(self) -> float:
        """How much virtual time has passed, in seconds."""
        return self._now

    def left_out_until(self) -> float:
        """Until when reports were last left out; minus infinity where none were."""
        return self._rounds.left_out_until(self._now)

    def set_pace(self, speed: float) -> None:
        """From now on let this much time pass for each second of the machine's, where it passes. Raises ValueError."""
        self._pace = PacedClock(self._machine, speed)
        self._ahead = self._now - self._pace.monotonic()

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
        """Do it, from any thread. The future is done once it has ended and all is quiet at that instant."""
        settled: concurrent.futures.Future[T] = concurrent.futures.Future()

        def begin() -> None:
            self._rounds.asked(self._now)
            self._calls.append(_Call(self.create_task(work()), settled))

        self.call_soon_threadsafe(begin)
        return settled

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As of any loop; of two timers for one instant the one that was set first runs first."""
        if 0.0 < when - self._now < _SAME_INSTANT_SECONDS:
            # It would run without time going on, and who waits for a moment that sums of floats missed would for ever.
            when = self._now + _SAME_INSTANT_SECONDS
        purpose = waiting_for.get()
        if purpose is not None:
            handle = asyncio.TimerHandle(when, callback, args, self, context)
            self._rounds.add(handle, purpose, self._now)
            return handle
        self._timers = (self._timers + 1) % _TURNS
        # Less than the loop's resolution: they still run in one round.
        return super().call_at(when + self._timers * _TURN_SECONDS, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As of any loop; time stands still until the thread is done."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """As of any loop; the connection is remembered while it is open."""
        self._opened.append(sock)
        await super().sock_connect(sock, address)

    @contextmanager
    def hold_time(self, seconds: float) -> Iterator[None]:
        """Let no time pass while the block lasts, for so many seconds of the machine's at most."""
        until = self._machine.monotonic() + seconds
        self._held_until.append(until)
        try:
            yield
        finally:
            self._held_until.remove(until)
            self._rounds.happened(self._now)

    def _thread_done(self, _future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1
        self._rounds.happened(self._now)

    def _when_idle(self, seconds: float | None, poll: Callable[[float | None], list[Any]]) -> list[Any]:
        """Nothing is left to run, and the next timer is due in `seconds`: say what the selector should return."""
        if self._in_threads:
            return poll(None)
        if any(one.task.done() for one in self._calls) and (late := self._rounds.take_late(self._now)):
            self._ready.extend(late)  # type: ignore[attr-defined]  # the base loop's own queue
            return []
        self._calls, ended = (
            [one for one in self._calls if not one.task.done()],
            [one for one in self._calls if one.task.done()],
        )
        for call in ended:
            _pass_on(call)
        if not self._calls:
            return poll(None)
        if self._held_until and (held := max(self._held_until) - self._machine.monotonic()) > 0:
            return poll(held)
        is_talking = self._is_talking() or self.has_company()
        event = None if seconds is None else self._now + seconds
        stop = self._next_round(event, may_leave_out=self._pace is None and not is_talking)
        if stop is not None:
            seconds = stop - self._now
        if self._pace is not None and seconds is not None:
            early = self._now + seconds - self._ahead - self._pace.monotonic()
            if early > 0 and (events := poll(early / self._pace.rate)):
                # Somebody spoke meanwhile: what is done about it happens at the time that it is by now.
                self._now = max(self._now, round(self._pace.monotonic() + self._ahead, 6))
                return events
        elif is_talking and (events := poll(self.patience_seconds)):
            return events
        if seconds is None:
            return poll(None)
        # Whole microseconds: what tells timers of one instant apart does not add up.
        later = round(self._now + seconds, 6)
        if stop is None:
            # A timer that is due within less than that would be rounded away, and asked for again without end.
            self._now = later if later > self._now else self._now + _SAME_INSTANT_SECONDS
            self._rounds.happened(self._now)
        else:
            self._now = max(self._now, later)
            self._begin_rounds(is_event=event is not None and event <= self._now + _SAME_INSTANT_SECONDS)
        return []

    def _next_round(self, event: float | None, *, may_leave_out: bool) -> float | None:
        if self._changes_before_look is not None and self._changes_before_look != self.changes():
            self._rounds.happened(self._now)
        self._changes_before_look = None
        return self._rounds.next_stop(self._now, event, may_leave_out=may_leave_out and self.is_undisturbed())

    def _begin_rounds(self, *, is_event: bool) -> None:
        handles, are_looks = self._rounds.take()
        self._ready.extend(handles)  # type: ignore[attr-defined]  # the base loop's own queue
        if are_looks:
            self._changes_before_look = self.changes()
        if is_event:
            self._rounds.happened(self._now)

    def _is_talking(self) -> bool:
        if self._opened:
            self._opened = [one for one in self._opened if one.fileno() != -1]
        return bool(self._opened)


class _NumberedTask(asyncio.Task[T]):
    """Its hash is its number: a set of tasks (a TaskGroup's) has the same order each time, and is cancelled in it."""

    _number: int

    def __new__(cls, loop: VirtualTimeLoop, *_: Any, **__: Any) -> Self:
        # The first of all that is done to it: sets have it before it is initialised.
        made = super().__new__(cls)
        made._number = next(loop.task_numbers)
        return made

    def __init__(self, loop: VirtualTimeLoop, work: Coroutine[Any, Any, T], **options: Any) -> None:
        super().__init__(work, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


def _pass_on(call: _Call) -> None:
    if call.task.cancelled():
        call.settled.cancel()
    elif (error := call.task.exception()) is not None:
        call.settled.set_exception(error)
    else:
        call.settled.set_result(call.task.result())


class _IdleSelector(selectors.BaseSelector):
    """Asks what to do whenever a loop would block."""

    def __init__(self, when_idle: Callable[[float | None, Callable[[float | None], list[Any]]], list[Any]]) -> None:
        self._real = selectors.DefaultSelector()
        self._when_idle = when_idle

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout == 0 and len(self._real.get_map()) <= _OF_THE_LOOP:
            # Who calls from another thread has put the call where the loop finds it, and only wakes it by this.
            return []
        events = self._real.select(0)
        if events or timeout == 0:
            return events
        return self._when_idle(timeout, self._real.select)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class LoopThread:
    """A loop in a thread of its own, for callers that have none. `is_real` keeps the machine's time, `speed` paces."""

    def __init__(self, *, is_real: bool = False, speed: float = 0.0) -> None:
        self.loop: asyncio.SelectorEventLoop = asyncio.SelectorEventLoop() if is_real else VirtualTimeLoop()
        if speed and isinstance(self.loop, VirtualTimeLoop):
            self.loop.set_pace(speed)
        self._thread = threading.Thread(target=self._serve, name="keelback-cluster", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
        """Do it on the loop. In virtual time the future is done when all is quiet."""
        if isinstance(self.loop, VirtualTimeLoop):
            return self.loop.submit(work)
        return asyncio.run_coroutine_threadsafe(work(), self.loop)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it on the loop, and wait for its result."""
        return self.submit(work).result()

    def close(self) -> None:
        """End what still runs on the loop, then the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSE_SECONDS)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
