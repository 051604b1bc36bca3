"""A request carried out step by step: what each step takes of the event loop's time is told to whoever counts it.

A step goes on until the request waits for something, or offers to be interrupted where somebody else waits. Most reads
are a single step, and cost no task, timer or future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from keelback.concurrency.pause import Pause

T = TypeVar("T")

_OFFERS: Final = 16
"""So many offers in a row that nobody takes, and the loop has its turn: who only waits that way must not stop it."""


class Turns(Protocol):
    """Who goes on next, where many want to."""

    @property
    def round_seconds(self) -> float:
        """A step that has taken less goes on when it has made an offer."""
        ...

    def may_begin(self) -> bool:
        """Whether nobody else waits, so that who has begun may go on."""
        ...

    def wait(self, who: Turn) -> None:
        """Queue up: its wait is ended when it is its turn."""
        ...

    def give_up(self, who: Turn) -> None:
        """It waits no more."""
        ...


class Turn(Pause):
    """A wait for a turn, that can be had again and again; for one among those who can go on at last, where something
    else is waited for before."""

    __slots__ = ("_turns", "_waits_for")

    def __init__(self, turns: Turns) -> None:
        super().__init__(asyncio.get_running_loop())
        self._turns = turns
        self._waits_for: Any = None

    def again(self, waits_for: Any = None) -> Self:
        """To be awaited, or yielded to a task: for another turn, and before it for what a task would wait for."""
        self._is_over = self._is_cancelled = False
        self._asyncio_future_blocking = True
        self._waits_for = waits_for
        if waits_for is None:
            self._turns.wait(self)
        else:
            # As a task does with what is yielded to it.
            waits_for._asyncio_future_blocking = False
            waits_for.add_done_callback(self._came)
        return self

    def cancel(self, msg: object = None) -> bool:
        if self._waits_for is not None:
            return bool(self._waits_for.cancel(msg))
        self._turns.give_up(self)
        return super().cancel(msg)

    def _came(self, waits_for: Any) -> None:
        """What was waited for is there."""
        self._waits_for = None
        if self._turns.may_begin() or waits_for.cancelled():
            self.end_between_tasks()
        else:
            self._turns.wait(self)


class _Offer:
    def __await__(self) -> Generator[None, None, None]:
        yield


OFFER: Final = _Offer()
"""Await it between the parts of what takes long: then others may have their turn. Where nobody waits it is over at
once; outside of `Steps` the loop goes round once."""


class Steps(Generic[T]):
    """A coroutine that is measured. `finish` it once `begin` has said that it has not ended; or, where somebody else
    has begun it, with what it `waits_for`."""

    __slots__ = ("_charge", "_coroutine", "_now", "_turns", "_waits_for", "result")

    result: T
    """What the coroutine returned, once it has."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        now: Callable[[], float],
        charge: Callable[[float], None],
        waits_for: Any = None,
        turns: Turns | None = None,
    ) -> None:
        """Each further step waits for one of the `turns`: those that waited for one commit all go on in one moment.
        Without turns a step follows as soon as it can."""
        self._coroutine = coroutine
        self._now = now
        self._charge = charge
        self._waits_for = waits_for
        self._turns = turns

    def begin(self) -> bool:
        """Take the first step; whether it was the last. Raises what the coroutine raises."""
        return self._step()

    async def finish(self, deadline: AbstractContextManager[None]) -> T:
        """Take the other steps. Raises what the coroutine raises, and TimeoutError when the deadline is not met."""
        with deadline:
            return await self

    def _step(self, error: BaseException | None = None) -> bool:
        """Go on until the request waits for something, or has made an offer after some time; whether it has ended."""
        now, send = self._now, self._coroutine.send
        started = now()
        try:
            waits_for = send(None) if error is None else self._coroutine.throw(error)
            if waits_for is None and self._turns is not None:
                ends = started + self._turns.round_seconds
                for _ in range(_OFFERS):
                    if waits_for is not None or now() >= ends:
                        break
                    waits_for = send(None)
            self._waits_for = waits_for
        except StopIteration as ended:
            self.result = ended.value
            return True
        finally:
            self._charge(now() - started)
        return False

    def __await__(self) -> Generator[Any, Any, T]:
        turns, offers = self._turns, 0
        turn = None if turns is None else Turn(turns)
        while True:
            error = None
            try:
                waits_for = self._waits_for
                if turns is None or turn is None:
                    yield waits_for
                elif waits_for is not None:
                    offers = 0
                    yield turn.again(waits_for)
                else:
                    offers += 1
                    if offers > _OFFERS:
                        offers = 0
                        yield
                    if not turns.may_begin():
                        offers = 0
                        yield turn.again()
            except BaseException as raised:
                error = raised
            if self._step(error):
                return self.result
