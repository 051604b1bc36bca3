"""Whose request the event loop takes up next.

Seats bound how many requests are in work at once. Where one thread does all the work they bound little: what does not
wait is carried out whole before anything else is looked at. So those that have a seat take turns on the loop. In each
round, between two looks at the sockets, work of about `ROUND_SECONDS` is begun; priority levels share the loop's time
by their weights, and the flows of a level evenly, as start-time fair queuing has it, by what they have really used.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

ROUND_SECONDS: Final = 0.0002
"""Long enough that looking at the sockets costs little beside it, short enough that nobody notices the wait."""
_FIRST_GUESS_SECONDS: Final = 0.0001
_NEW: Final = 0.25
"""How much the latest step counts in what the next is expected to take."""
_IDLE_FLOWS: Final = 256

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Share(Generic[T]):
    """A priority level's part of the loop. Times are virtual, in seconds of the loop divided by the weight."""

    weight: float
    used: float = 0.0
    clock: float = 0.0
    """Where its flows' virtual time stands."""
    flows: dict[str, FlowShare[T]] = field(default_factory=dict)
    backlog: dict[FlowShare[T], None] = field(default_factory=dict)

    def flow(self, name: str) -> FlowShare[T]:
        """The flow of that name: its past counts as long as it is ahead of others."""
        found = self.flows.get(name)
        if found is None:
            if len(self.flows) >= _IDLE_FLOWS:
                self.flows = {key: one for key, one in self.flows.items() if one.waiting or one.used > self.clock}
            found = self.flows[name] = FlowShare(self, self.clock)
        return found


@dataclass(slots=True, eq=False)
class FlowShare(Generic[T]):
    """A flow's part of its level's part."""

    level: Share[T]
    used: float
    step_seconds: float = _FIRST_GUESS_SECONDS
    """What its next step is expected to take."""
    prepaid: deque[float] = field(default_factory=deque)
    """What those who have been chosen were expected to take, and have not been charged with yet."""
    waiting: deque[T] = field(default_factory=deque)


class Turns(Generic[T]):
    """Orders what waits for the loop. When somebody waits, or a round is used up, `next_round` is due once the sockets
    have been looked at."""

    def __init__(self, round_seconds: float = ROUND_SECONDS) -> None:
        self.waiting = 0
        self._round_seconds = round_seconds
        self._spent = 0.0
        self._clock = 0.0
        self._backlog: dict[Share[T], None] = {}

    def may_begin(self) -> bool:
        """Whether who comes now can go ahead: nobody waits, and the round is not used up."""
        return not self.waiting and self._spent < self._round_seconds

    def wait(self, flow: FlowShare[T], who: T) -> None:
        """Queue up for a turn."""
        level = flow.level
        if not flow.waiting:
            if not level.backlog:
                level.used = max(level.used, self._clock)
                self._backlog[level] = None
            flow.used = max(flow.used, level.clock)
            level.backlog[flow] = None
        flow.waiting.append(who)
        self.waiting += 1

    def give_up(self, flow: FlowShare[T], who: T) -> None:
        """Wait no more. Whoever has had the turn is not waiting."""
        if who in flow.waiting:
            flow.waiting.remove(who)
            self._left(flow)

    def charge(self, flow: FlowShare[T], seconds: float) -> bool:
        """A step of the flow has taken that much of the loop's time. Whether the round is used up, so that another has
        to begin before anybody can go ahead."""
        level = flow.level
        self._spent += seconds
        flow.step_seconds += (seconds - flow.step_seconds) * _NEW
        if flow.prepaid:
            seconds -= flow.prepaid.popleft()
        else:
            # Nobody who was idle has saved anything up.
            if level.used < self._clock:
                level.used = self._clock
            if flow.used < level.clock:
                flow.used = level.clock
        flow.used += seconds
        level.used += seconds / level.weight
        return self._spent >= self._round_seconds

    def next_round(self) -> list[T]:
        """Whose turn it is in the round that begins."""
        self._spent = 0.0
        expected = 0.0
        chosen: list[T] = []
        while self._backlog and expected < self._round_seconds:
            level = next(iter(self._backlog)) if len(self._backlog) == 1 else min(self._backlog, key=_used)
            if self._clock < level.used:
                self._clock = level.used
            if len(level.backlog) == 1:
                # A flood is mostly alone.
                flow = next(iter(level.backlog))
                earliest = flow.used
            else:
                flow = min(level.backlog, key=_finish)
                earliest = min(one.used for one in level.backlog)
            if level.clock < earliest:
                level.clock = earliest
            chosen.append(flow.waiting.popleft())
            expected += flow.step_seconds
            flow.prepaid.append(flow.step_seconds)
            flow.used += flow.step_seconds
            level.used += flow.step_seconds / level.weight
            self._left(flow)
        return chosen

    def _left(self, flow: FlowShare[T]) -> None:
        self.waiting -= 1
        if not flow.waiting:
            level = flow.level
            del level.backlog[flow]
            if not level.backlog:
                del self._backlog[level]


def _used(level: Share[T]) -> float:
    return level.used


def _finish(flow: FlowShare[T]) -> float:
    return flow.used + flow.step_seconds
