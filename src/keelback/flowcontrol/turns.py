"""Whose request the event loop takes up next.

Seats bound how many requests are in work at once. Where one thread does all the work they bound little: what does not
wait is carried out whole before anything else is looked at. So those that have a seat take turns on the loop. In each
round, between two looks at the sockets, work of about `ROUND_SECONDS` is begun; priority levels share the loop's time
by their weights, and the flows of a level evenly, as start-time fair queuing has it, by what they have really used.
Who has had less than its part does not wait for a round: it goes ahead of those who do.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

ROUND_SECONDS: Final = 0.0004
"""Long enough that looking at the sockets costs little beside it, where one flow has the loop for itself."""
SHARED_ROUND_SECONDS: Final = 0.00004
"""Mostly one step: so long who comes waits for those of others."""
INSIDE_ROUND_SECONDS: Final = 0.002
"""Where nobody has come by the sockets lately. What one commit lets go on is mostly carried out in one round, and meets
in the next commit again."""
_KEPT_ROUNDS: Final = 1_000
"""For so many rounds it is remembered that another flow has used the loop, and then that one from outside has."""
_IDLE_FLOWS: Final = 256

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Share(Generic[T]):
    """A priority level's part of the loop. Times are virtual, in seconds of the loop divided by the weight."""

    weight: float
    used: float = 0.0
    clock: float = 0.0
    """Where its flows' virtual time stands."""
    latest: float = 0.0
    """What that of its flows has used which has used most."""
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
    from_outside: bool = True
    """Whether its requests come by the sockets: who does not has no use for a look at them."""
    waiting: deque[T] = field(default_factory=deque)


class Turns(Generic[T]):
    """Orders what waits for the loop. When somebody waits, or a round is used up, the next is due once the sockets have
    been looked at: `begin_round`, then each whom `chosen` names."""

    def __init__(self) -> None:
        self.waiting = 0
        self.round_seconds = ROUND_SECONDS
        """Who has gone on for so long gives way where it can: it is time to look at the sockets."""
        self._shared_rounds = 0
        self._outside_rounds = _KEPT_ROUNDS
        self._latest_flow: FlowShare[T] | None = None
        self._chosen_flow: FlowShare[T] | None = None
        self._spent = 0.0
        self._spent_ahead = 0.0
        self._clock = 0.0
        self._latest = 0.0
        self._backlog: dict[Share[T], None] = {}

    def may_begin(self, flow: FlowShare[T]) -> bool:
        """Whether the flow can go ahead now: nobody waits and the round is not used up, or it is due before all others.
        Of those that are so much goes ahead in a round as is begun in one: there may be many."""
        if not self.waiting and self._spent < self.round_seconds:
            return True
        return self._spent_ahead < self.round_seconds and self._is_due(flow)

    def wait(self, flow: FlowShare[T], who: T) -> None:
        """Queue up for a turn."""
        level = flow.level
        if not flow.waiting:
            if not level.backlog:
                # What was used while nobody had to wait is nobody's debt.
                level.clock = max(level.clock, level.latest)
                if not self._backlog:
                    self._clock = max(self._clock, self._latest)
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
        if flow is not self._latest_flow:
            self._latest_flow = flow
            if flow.from_outside:
                self._shared_rounds = _KEPT_ROUNDS
                self.round_seconds = SHARED_ROUND_SECONDS
        if flow.from_outside and not self._outside_rounds:
            self._outside_rounds = _KEPT_ROUNDS
            self.round_seconds = min(self.round_seconds, ROUND_SECONDS)
        level = flow.level
        goes_ahead = self.waiting or self._spent >= self.round_seconds
        self._spent += seconds
        if flow is self._chosen_flow:
            self._chosen_flow = None
        else:
            if goes_ahead:
                self._spent_ahead += seconds
            # Nobody who was idle has saved anything up.
            if level.used < self._clock:
                level.used = self._clock
            if flow.used < level.clock:
                flow.used = level.clock
        flow.used += seconds
        level.used += seconds / level.weight
        if level.latest < flow.used:
            level.latest = flow.used
        if self._latest < level.used:
            self._latest = level.used
        return self._spent >= self.round_seconds

    def begin_round(self) -> None:
        """The sockets have been looked at."""
        self._spent = self._spent_ahead = 0.0
        if self._shared_rounds:
            self._shared_rounds -= 1
        elif self._outside_rounds:
            self._outside_rounds -= 1
            self.round_seconds = ROUND_SECONDS
        else:
            self.round_seconds = INSIDE_ROUND_SECONDS

    def chosen(self) -> T | None:
        """Whose turn it is; nobody's when the round is used up, or nobody waits. It is charged before the next one is
        chosen."""
        if not self._backlog or self._spent >= self.round_seconds:
            return None
        level = next(iter(self._backlog)) if len(self._backlog) == 1 else min(self._backlog, key=_used)
        if self._clock < level.used:
            self._clock = level.used
        # A flood is mostly alone.
        flow = next(iter(level.backlog)) if len(level.backlog) == 1 else min(level.backlog, key=_used)
        if level.clock < flow.used:
            level.clock = flow.used
        self._chosen_flow = flow
        chosen = flow.waiting.popleft()
        self._left(flow)
        return chosen

    def lasted(self, seconds: float) -> bool:
        """So long the round has lasted, with what is done around steps: others wait for that too. Whether it is used
        up."""
        if self._spent < seconds:
            self._spent = seconds
        return self._spent >= self.round_seconds

    def _is_due(self, flow: FlowShare[T]) -> bool:
        """Whether the flow would be chosen before all who wait, and was not the last to use the loop."""
        level = flow.level
        if not self.waiting:
            return flow is not self._latest_flow
        if flow.waiting:
            return False
        if level.backlog and flow.used > level.clock:
            return False
        if len(self._backlog) == 1 and level.backlog:
            return True
        used = level.used if level.backlog else max(level.used, self._clock)
        return all(one.used >= used for one in self._backlog)

    def _left(self, flow: FlowShare[T]) -> None:
        self.waiting -= 1
        if not flow.waiting:
            level = flow.level
            del level.backlog[flow]
            if not level.backlog:
                del self._backlog[level]


def _used(one: Share[T] | FlowShare[T]) -> float:
    return one.used
