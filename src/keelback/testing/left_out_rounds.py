"""Which rounds of a cluster's routine a jump of virtual time may leave out: `keelback.concurrency.rounds` in a test.

Of reports (leases, statuses of nodes) the first of a call is carried out, and one for all others when the call has
ended: whoever looks then finds them fresh. Of notices only that last one is. Looks are left out until something has
happened since the last, and watches over reports while all goes well. Deadlines are never left out, but that one has
come to nothing is no news. What nobody waits for as a round is an event.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Final

from keelback.concurrency.rounds import Round, Waiting

_SAME_INSTANT_SECONDS: Final = 1e-6
_SAID_LATE: Final = (Round.REPORT, Round.NOTICE)


@dataclass(slots=True, eq=False)
class _Waiting:
    handle: asyncio.TimerHandle
    purpose: Waiting
    due: float
    period_seconds: float
    since: int
    """How many events there had been when its last round was over."""
    calls: int
    """And how many calls of the test's."""


class LeftOutRounds:
    """Holds the timers of rounds, and says when the next is to be carried out."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._chosen: list[_Waiting] = []
        self._events = 0
        self._last_event = 0.0
        self._calls = 0
        self._left_out_until = -math.inf

    def add(self, handle: asyncio.TimerHandle, purpose: Waiting, now: float) -> None:
        """A round is over, and the next is due when the timer says."""
        period = max(handle.when() - now, _SAME_INSTANT_SECONDS)
        self._waiting.append(_Waiting(handle, purpose, handle.when(), period, self._events, self._calls))

    def happened(self, now: float) -> None:
        """Something that is no round has happened."""
        self._events += 1
        self._last_event = now

    def asked(self, now: float) -> None:
        """A call of the test's begins: whatever it changes, the next report may be others than those before."""
        self._calls += 1
        self.happened(now)

    def left_out_until(self, now: float) -> float:
        """Until when reports were last left out: until now, where one is still due."""
        if any(one.purpose.what is Round.REPORT and _is_overdue(one, now) for one in self._waiting):
            self._left_out_until = now
        return self._left_out_until

    def next_stop(self, now: float, event: float | None, *, may_leave_out: bool) -> float | None:
        """When the next round is carried out; None where the next event, which is due then, comes first."""
        self._waiting = [one for one in self._waiting if not one.handle.cancelled()]
        wanted = [one for one in self._waiting if self._is_wanted(one, now, may_leave_out=may_leave_out)]
        first = min((one.due for one in wanted), default=None)
        if first is None or (event is not None and first > event):
            return None
        self._chosen = [one for one in wanted if one.due <= first + _SAME_INSTANT_SECONDS]
        return first

    def take(self) -> tuple[list[asyncio.TimerHandle], bool]:
        """The timers of the rounds that come now, and whether they are looks: what these change is an event."""
        reports = [one for one in self._chosen if one.purpose.what is Round.REPORT]
        chosen = reports or self._chosen
        self._waiting = [one for one in self._waiting if one not in chosen]
        return [one.handle for one in chosen], not reports

    def take_late(self, now: float) -> list[asyncio.TimerHandle]:
        """The timers of the reports and notices that were left out until now."""
        self.left_out_until(now)
        late = [one for one in self._waiting if one.purpose.what in _SAID_LATE and _is_overdue(one, now)]
        self._waiting = [one for one in self._waiting if one not in late]
        return [one.handle for one in late if not one.handle.cancelled()]

    def _is_wanted(self, one: _Waiting, now: float, *, may_leave_out: bool) -> bool:
        """Whether it is carried out when it is due, which may have been put off to its next turn."""
        what, lasting = one.purpose.what, one.purpose.lasting_seconds
        if not may_leave_out or (what is Round.REPORT and one.calls < self._calls):
            if what is Round.REPORT and _is_overdue(one, now):
                self._left_out_until = now
            one.due = max(one.due, now)
            return True
        if what is Round.DEADLINE:
            return True
        if what is not Round.LOOK:
            return False
        if one.due < now:
            one.due += math.ceil((now - one.due) / one.period_seconds) * one.period_seconds
        has_news = one.since < self._events
        return has_news or (lasting > 0 and one.due <= self._last_event + lasting + one.period_seconds)


def _is_overdue(one: _Waiting, now: float) -> bool:
    return one.due < now - _SAME_INSTANT_SECONDS
