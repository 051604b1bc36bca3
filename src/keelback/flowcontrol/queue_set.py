"""Fair queuing of one priority level's requests for its seats, in virtual time (KEP-1040).

A queue's virtual time says how much work it would have been given were all queues served at once, a bit each. The
request whose work would be finished first is begun next: a queue that is flooded waits for itself, not others for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal, TypeAlias

from keelback.flowcontrol.seat_demand import Demand, DemandMeter
from keelback.flowcontrol.width import SERVICE_SECONDS, Width

QUEUE_FULL: Final = "queue-full"
CONCURRENCY_LIMIT: Final = "concurrency-limit"
TIME_OUT: Final = "time-out"
CANCELLED: Final = "cancelled"

State: TypeAlias = Literal["arriving", "waiting", "executing", "ending", "gone"]


@dataclass(frozen=True, slots=True)
class Queuing:
    """How many queues there are, how many of them a flow may use, and how many requests each holds."""

    queues: int
    hand_size: int
    length_limit: int


@dataclass(slots=True, eq=False)
class Ticket:
    """One request in a queue set. `subject` is whatever its owner wants to find again."""

    width: Width
    arrived: float
    hand: tuple[int, ...] = ()
    subject: object = None
    state: State = "arriving"
    queue: int = -1
    started: float = 0.0
    seats: int = 0


@dataclass(slots=True)
class Queue:
    """One queue: who waits, what is in work, and its virtual time."""

    next_dispatch: float = 0.0
    waiting: dict[Ticket, None] = field(default_factory=dict)
    waiting_work: float = 0.0
    executing: int = 0
    executing_work: float = 0.0
    executing_seats: int = 0
    started: float = 0.0
    """The sum of when those in work began, each as often as it has seats."""
    seats_in_use: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self.executing and not self.waiting


class QueueSet:
    """The queues of one priority level, or none of them where it turns away what it has no seat for."""

    def __init__(self, seats: int, queuing: Queuing | None, now: float) -> None:
        self.seats = seats
        self.queues: list[Queue] = []
        self.seats_in_use = 0
        self.waiting = 0
        self.executing = 0
        self.virtual_time = 0.0
        self._demand = DemandMeter(now)
        self._queuing: Queuing | None = None
        self._waiting_seats = 0
        self._active = 0
        self._now = now
        self._backlog: dict[int, None] = {}
        self._ending: list[tuple[float, int, Ticket]] = []
        self._order = count()
        self.configure(seats, queuing)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits and nobody is served."""
        return not self.waiting and not self.executing and not self._ending

    @property
    def wakes_at(self) -> float | None:
        """When those who wait should be looked at again though nobody comes or goes: seats become free then."""
        return self._ending[0][0] if self.waiting and self._ending else None

    def configure(self, seats: int, queuing: Queuing | None) -> None:
        """Take over other limits. Who is in a queue that is no more dealt stays in it until served."""
        self.seats = seats
        self._queuing = queuing
        wanted = 1 if queuing is None else queuing.queues
        while len(self.queues) < wanted:
            self.queues.append(Queue())
        while len(self.queues) > wanted and self.queues[-1].is_idle:
            self.queues.pop()

    def arrive(self, ticket: Ticket, now: float) -> str:
        """Take a request in: it is then `executing` or `waiting`. What is returned says why it is turned away, if so.

        Nobody else's state changes.
        """
        self._pass_time(now)
        index = self._choose(ticket.hand)
        queue = self.queues[index]
        ticket.queue = index
        if queue.is_idle:
            queue.next_dispatch = self.virtual_time
        if not self.waiting and self._fits(ticket):
            self._execute(ticket, queue, now)
        elif self._queuing is None:
            ticket.state = "gone"
            return CONCURRENCY_LIMIT
        elif len(queue.waiting) >= self._queuing.length_limit:
            ticket.state = "gone"
            return QUEUE_FULL
        else:
            if queue.is_idle:
                self._active += 1
            queue.waiting[ticket] = None
            queue.waiting_work += ticket.width.work
            self.waiting += 1
            self._waiting_seats += ticket.width.most_seats
            self._backlog[index] = None
            ticket.state = "waiting"
            self._demand.highest = max(self._demand.highest, self.seats_in_use + self._waiting_seats)
            if len(queue.waiting) == 1 and self._fits(ticket) and self._is_first(index):
                # Those who wait are wider than what is free, or this is due before them.
                self._begin_waiting(ticket, now)
        return ""

    def take_demand(self, now: float) -> Demand:
        """How many seats were wanted since this was last asked."""
        self._pass_time(now)
        return self._demand.reset(self.seats_in_use + self._waiting_seats, now)

    def admit(self, ticket: Ticket, now: float) -> None:
        """Take a request in that is exempt: it is executing, whatever seats there are."""
        self._pass_time(now)
        ticket.queue = 0
        self._execute(ticket, self.queues[0], now)

    def begin_step(self, hand: tuple[int, ...], seats: int, now: float, *, is_exempt: bool) -> bool:
        """Take a request in that may well be answered before anybody else is looked at; whether there is room at once,
        in a queue where nobody else is.

        Then `end_step` follows, or `stay` where the request turns out to wait for something. Such a request changes
        nothing for others but for the time that it takes: no ticket is made, no queue is touched.
        """
        if self.waiting and not is_exempt:
            return False
        for index in hand:
            queue = self.queues[index]
            if not queue.executing and not queue.waiting:
                break
        else:
            if hand:
                return False
        in_use = self.seats_in_use + seats
        if in_use > self.seats and not is_exempt:
            return False
        if self.seats_in_use or self._active or self._waiting_seats:
            self._pass_time(now)
            in_use = self.seats_in_use + seats
        elif now > self._now:
            self._now = now
        self.seats_in_use = in_use
        if in_use + self._waiting_seats > self._demand.highest:
            self._demand.highest = in_use + self._waiting_seats
        self._active += 1
        self.executing += 1
        return True

    def end_step(self, seats: int, now: float) -> None:
        """The request has been answered: its seats are free."""
        self._pass_time(now)
        self.seats_in_use -= seats
        self._active -= 1
        self.executing -= 1

    def stay(self, ticket: Ticket, started: float) -> None:
        """The request was not answered in one step: it is executing from when that began, in a queue of its hand."""
        self.seats_in_use -= ticket.width.most_seats
        self._active -= 1
        self.executing -= 1
        ticket.queue = self._choose(ticket.hand)
        queue = self.queues[ticket.queue]
        if queue.is_idle:
            queue.next_dispatch = self.virtual_time
        self._execute(ticket, queue, started)

    def leave(self, ticket: Ticket, now: float) -> None:
        """A request has been answered, or is no longer waited for. `dispatch` then says who is next."""
        self._pass_time(now)
        if ticket.state == "waiting":
            self._unqueue(ticket)
            if self.queues[ticket.queue].is_idle:
                self._active -= 1
            ticket.state = "gone"
        elif ticket.state == "executing":
            self._end(ticket, now)

    def dispatch(self, now: float) -> Iterator[Ticket]:
        """Begin whoever can begin now, in the order of virtual finishing times."""
        self._pass_time(now)
        while self._backlog:
            index = min(self._backlog, key=self._virtual_finish)
            ticket = next(iter(self.queues[index].waiting))
            if not self._fits(ticket):
                break
            self._begin_waiting(ticket, now)
            yield ticket

    def _is_first(self, index: int) -> bool:
        own = self._virtual_finish(index)
        return all(own <= self._virtual_finish(other) for other in self._backlog)

    def _begin_waiting(self, ticket: Ticket, now: float) -> None:
        queue = self.queues[ticket.queue]
        self._unqueue(ticket)
        if queue.is_idle:
            self._active -= 1
        self._execute(ticket, queue, now)

    def _virtual_finish(self, index: int) -> tuple[float, int, float]:
        queue = self.queues[index]
        oldest = next(iter(queue.waiting))
        # Upstream counts what is in work as estimated until it has ended: a flow whose requests last longer is then
        # taken to be behind, and others wait until it has caught up. Here it is counted as it has lasted.
        lasted = queue.executing_seats * self._now - queue.started
        finish = queue.next_dispatch + max(0.0, lasted - queue.executing_work) + oldest.width.work
        # Who has exactly what is due to it goes behind who has nothing.
        return round(finish, 6), queue.executing_seats, oldest.arrived

    def _choose(self, hand: tuple[int, ...]) -> int:
        best, least = 0, float("inf")
        for index in hand:
            queue = self.queues[index]
            work = queue.waiting_work + queue.executing_work
            if work < least:
                best, least = index, work
                if not work:
                    break
        return best

    def _fits(self, ticket: Ticket) -> bool:
        seats = ticket.width.most_seats
        if seats > self.seats:
            # Wider than the level is: it is served alone.
            return not self.seats_in_use
        return self.seats_in_use + seats <= self.seats

    def _execute(self, ticket: Ticket, queue: Queue, now: float) -> None:
        if not queue.executing and not queue.waiting:
            self._active += 1
        work, seats = ticket.width.work, ticket.width.most_seats
        queue.next_dispatch += work
        queue.executing += 1
        queue.executing_work += work
        queue.executing_seats += ticket.width.initial_seats
        queue.started += ticket.width.initial_seats * now
        ticket.seats = seats
        queue.seats_in_use += seats
        self.seats_in_use += seats
        wanted = self.seats_in_use + self._waiting_seats
        if wanted > self._demand.highest:
            self._demand.highest = wanted
        self.executing += 1
        ticket.started = now
        ticket.state = "executing"

    def _end(self, ticket: Ticket, now: float) -> None:
        queue, width = self.queues[ticket.queue], ticket.width
        # What was estimated becomes what it was.
        queue.next_dispatch += width.initial_seats * (now - ticket.started - SERVICE_SECONDS)
        self.executing -= 1
        queue.executing -= 1
        if queue.executing:
            queue.executing_work = max(0.0, queue.executing_work - width.work)
            queue.executing_seats -= width.initial_seats
            queue.started -= width.initial_seats * ticket.started
        else:
            queue.executing_work = queue.started = 0.0
            queue.executing_seats = 0
        if not queue.executing and not queue.waiting:
            self._active -= 1
        if not width.final_seconds:
            seats = ticket.seats
            queue.seats_in_use -= seats
            self.seats_in_use -= seats
            ticket.state = "gone"
            return
        self._free(ticket, ticket.seats - width.final_seats)
        ticket.state = "ending"
        heapq.heappush(self._ending, (now + width.final_seconds, next(self._order), ticket))

    def _free(self, ticket: Ticket, seats: int) -> None:
        ticket.seats -= seats
        self.seats_in_use -= seats
        self.queues[ticket.queue].seats_in_use -= seats

    def _unqueue(self, ticket: Ticket) -> None:
        queue = self.queues[ticket.queue]
        del queue.waiting[ticket]
        queue.waiting_work = max(0.0, queue.waiting_work - ticket.width.work) if queue.waiting else 0.0
        self.waiting -= 1
        self._waiting_seats -= ticket.width.most_seats
        if not queue.waiting:
            del self._backlog[ticket.queue]

    def _pass_time(self, now: float) -> None:
        elapsed = now - self._now
        if elapsed > 0.0:
            self._now = now
            wanted = self.seats_in_use + self._waiting_seats
            if wanted:
                area = wanted * elapsed
                self._demand.integral += area
                self._demand.squares += wanted * area
            if self._active:
                self.virtual_time += elapsed * (wanted if wanted < self.seats else self.seats) / self._active
        while self._ending and self._ending[0][0] <= now:
            ticket = heapq.heappop(self._ending)[2]
            self._free(ticket, ticket.seats)
            ticket.state = "gone"
