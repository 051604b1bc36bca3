"""Waits between the rounds of what is done again and again for as long as a process lives.

A clock that jumps from event to event (a test's virtual time) need not carry out each of them: who waits here says what
its rounds are for, and so which may be left out without anybody being able to tell. Every other clock just waits.
"""

from __future__ import annotations

import enum
import math
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from keelback.concurrency.clock import Clock


class Round(enum.Enum):
    """What a round is for."""

    REPORT = "says once more what was said before: the last says as much as all before it"
    NOTICE = "says how far things have come: only the last is of any use"
    LOOK = "looks for what has happened, and finds nothing new where nothing has since the last"
    DEADLINE = "ends what has taken too long, and mostly finds that nothing has: always carried out, and no event"
    WATCH = "sees whether reports or news have ceased: it finds nothing as long as they come"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the wait is for, and for how long after an event a look may still find something of it."""

    what: Round
    lasting_seconds: float = 0.0


waiting_for: Final[ContextVar[Waiting | None]] = ContextVar("waiting_for", default=None)
"""What a timer that is set now is for: asked by the loops of clocks that jump."""


async def next_round(clock: Clock, seconds: float, what: Round, *, lasting_seconds: float = 0.0) -> None:
    """Return when the next round is due, in `seconds`; later, where rounds were left out."""
    token = waiting_for.set(Waiting(what, lasting_seconds))
    try:
        await clock.sleep(seconds)
    finally:
        waiting_for.reset(token)


@runtime_checkable
class LeavesOut(Protocol):
    """A clock that leaves rounds out."""

    def left_out_until(self) -> float:
        """Until when reports were last left out, in its monotonic seconds; minus infinity where none were."""
        ...


def reports_left_out_until(clock: Clock) -> float:
    """Before when nobody's silence means anything: until then no reports were waited for, in monotonic seconds."""
    return clock.left_out_until() if isinstance(clock, LeavesOut) else -math.inf
