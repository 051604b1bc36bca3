"""Priority and fairness at work: a request waits here for its seats, then for its turn on the event loop.

`keelback.flowcontrol` decides; this waits, measures and answers. Watches are in work until their initial events are
sent, other long-running requests are not limited. Large answers and streams take turns for each piece that they send.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial
from typing import Final, Protocol

from keelback.apiserver.admittance import Proceed, is_mutating, too_many_requests
from keelback.apiserver.context import RequestContext
from keelback.apiserver.flow_metrics import FlowMeter, FlowMetrics
from keelback.apiserver.request_info import is_long_running
from keelback.apiserver.steps import Steps, Turn
from keelback.auth.attributes import Attributes
from keelback.component.http import AnyResponse, Response, StreamingResponse, Writer
from keelback.concurrency.clock import Clock
from keelback.concurrency.deadlines import Deadlines
from keelback.flowcontrol.levels import ADJUSTMENT_SECONDS, Flow, PriorityLevels
from keelback.flowcontrol.queue_set import CANCELLED, TIME_OUT, QueueSet, Ticket
from keelback.flowcontrol.turns import Turns
from keelback.flowcontrol.width import ONE, Width

MOST_WAIT_SECONDS: Final = 60.0
"""How long a request is queued at most, and no longer than a quarter of the time that it may take in all."""
_PACED_BYTES: Final = 128 << 10
"""Smaller answers are sent in the turn in which they were made."""
_TURN_BYTES: Final = 48 << 10
"""Of larger ones, and of streams, so much is sent in a turn: a write of the front door's is a bit more."""
_PACED_PIECES: Final = 96
"""A body in more pieces, three for each object of a list, is taken to be large."""


class WidthEstimator(Protocol):
    """Says how many seats a request needs."""

    def width(self, context: RequestContext, most_seats: int) -> Width:
        """Its width, in a level where none may take more than that (0: no such bound)."""
        ...


class PriorityAndFairness:
    """The gate."""

    def __init__(
        self,
        levels: PriorityLevels,
        widths: WidthEstimator,
        metrics: FlowMetrics,
        clock: Clock,
    ) -> None:
        self.levels = levels
        self._widths = widths
        self._metrics = metrics
        self.now = clock.monotonic
        self._deadlines = Deadlines()
        self._waiters: dict[Ticket, asyncio.Future[None]] = {}
        self.turns: Turns[Turn] = Turns()
        self._round_is_due = False
        self._watched: set[QueueSet] = set()
        self._adjusts_at = self.now() + ADJUSTMENT_SECONDS

    async def serve(self, context: RequestContext, attributes: Attributes, proceed: Proceed) -> AnyResponse:
        info = context.info
        is_watch = info.verb == "watch"
        if not is_watch and is_long_running(info):
            return await proceed(context, attributes)
        now = self.now()
        if now >= self._adjusts_at:
            self._adjust(now)
        flow = self.levels.classify(attributes)
        context.answer_headers = flow.headers
        # Who has said itself who it is has come without a socket.
        flow.share.from_outside = context.request.identity is None
        level = flow.level
        queues, is_exempt = level.queues, level.limits.is_exempt
        width = ONE if info.verb == "get" else self._widths.width(context, level.most_seats)
        if (
            is_watch
            or width.final_seats
            or not self.turns.may_begin(flow.share)
            or not queues.begin_step(flow.hand, width.most_seats, now, is_exempt=is_exempt)
        ):
            return await self._serve_in_turn(context, attributes, proceed, flow, Ticket(width, now, flow.hand))
        # Most reads are a single step, at a time when nobody waits: they get by without a ticket.
        meter = self._metrics.of(flow)
        seats = width.most_seats
        meter.executing += 1
        meter.seats_in_use += seats
        coroutine = proceed(context, attributes)
        has_ended = True
        response = waits_for = None
        try:
            waits_for = coroutine.send(None)
            has_ended = False
        except StopIteration as ended:
            response = ended.value
        finally:
            ended_at = self.now()
            self.charge(flow, ended_at - now)
            meter.executing -= 1
            meter.seats_in_use -= seats
            if has_ended:
                queues.end_step(seats, ended_at)
                meter.passed(width, ended_at - now)
                if queues.waiting:
                    self._dispatch(queues)
        if has_ended:
            assert response is not None
            return self._paced(context, flow, response)
        ticket = Ticket(width, now, flow.hand, (flow, context))
        queues.stay(ticket, now)
        meter.began(ticket)
        steps = Steps(coroutine, self.now, partial(self.charge, flow), waits_for, _TurnsOf(self, flow))
        try:
            response = await steps.finish(self._deadlines.within(context.timeout_seconds))
        finally:
            meter.ended(ticket, self._leave(flow, ticket), is_watch=False)
        return self._paced(context, flow, response)

    async def _serve_in_turn(
        self, context: RequestContext, attributes: Attributes, proceed: Proceed, flow: Flow, ticket: Ticket
    ) -> AnyResponse:
        """Answer a request that may have to wait for its seats, or for its turn."""
        level, meter = flow.level, self._metrics.of(flow)
        is_watch = context.info.verb == "watch"
        ticket.subject = (flow, context)
        if level.limits.is_exempt:
            level.queues.admit(ticket, ticket.arrived)
        else:
            refused = level.queues.arrive(ticket, ticket.arrived)
            if ticket.state == "waiting":
                refused = await self._wait(flow, ticket, meter, context.timeout_seconds)
            if refused:
                context.is_terminated = True
                meter.rejected(refused, is_mutating=is_mutating(context.info))
                return too_many_requests(level.retry_after.turned_away(self.now()))
        response: AnyResponse | None = None
        try:
            if not self.may_begin(flow):
                await self.turn(flow)
            meter.began(ticket)
            if is_watch:
                context.initialized = partial(self._initialized, flow, ticket, meter)
            charge = partial(self.charge, flow)
            steps = Steps(proceed(context, attributes), self.now, charge, turns=_TurnsOf(self, flow))
            if steps.begin():
                response = steps.result
            else:
                response = await steps.finish(
                    nullcontext() if is_watch else self._deadlines.within(context.timeout_seconds)
                )
        finally:
            if not (is_watch and isinstance(response, StreamingResponse)):
                meter.ended(ticket, self._leave(flow, ticket), is_watch=is_watch)
        return self._paced(context, flow, response)

    def _paced(self, context: RequestContext, flow: Flow, response: AnyResponse) -> AnyResponse:
        """The answer, such that it takes turns with others if it is large or lasts."""
        if type(response) is Response:
            body = response.body
            if len(body) > (_PACED_BYTES if type(body) is bytes else _PACED_PIECES):
                return Response(response.status, response.headers, body, Pace(self, flow))
            return response
        if isinstance(response, StreamingResponse):
            return self._streamed(context, flow, response)
        return response

    async def _wait(self, flow: Flow, ticket: Ticket, meter: FlowMeter, timeout_seconds: float) -> str:
        """Wait for the request's seats. What is returned says why it gets none, if so."""
        queues = flow.level.queues
        meter.queued(queues, ticket)
        waiter = self._waiters[ticket] = asyncio.get_running_loop().create_future()
        self._watch_endings(queues)
        try:
            async with asyncio.timeout(min(timeout_seconds / 4, MOST_WAIT_SECONDS)):
                await waiter
        except TimeoutError:
            if ticket.state == "waiting":
                self._leave(flow, ticket)
                return TIME_OUT
        except asyncio.CancelledError:
            self._leave(flow, ticket)
            meter.rejected(CANCELLED)
            raise
        finally:
            del self._waiters[ticket]
            meter.dequeued()
        return ""

    def _adjust(self, now: float) -> None:
        """Let levels borrow anew. Where nobody asks for anything, nobody needs to: so a quiet server sleeps."""
        periods = 1 + int((now - self._adjusts_at) / ADJUSTMENT_SECONDS)
        self._adjusts_at += periods * ADJUSTMENT_SECONDS
        self.levels.adjust(now, periods)
        self.dispatch_all()

    def dispatch_all(self) -> None:
        """Begin whatever can begin, after limits have changed."""
        for level in self.levels.all_levels():
            if level.queues.waiting:
                self._dispatch(level.queues)

    def _leave(self, flow: Flow, ticket: Ticket) -> float:
        """Free a request's seats for others; when that was."""
        queues, now = flow.level.queues, self.now()
        queues.leave(ticket, now)
        if queues.waiting:
            self._dispatch(queues)
        return now

    def _dispatch(self, queues: QueueSet) -> None:
        for one in queues.dispatch(self.now()):
            waiter = self._waiters[one]
            if not waiter.done():
                waiter.set_result(None)
        self._watch_endings(queues)

    def _watch_endings(self, queues: QueueSet) -> None:
        """Look again when seats become free that a request keeps for a while after its answer."""
        wakes_at = queues.wakes_at
        if wakes_at is not None and queues not in self._watched:
            self._watched.add(queues)
            asyncio.get_running_loop().call_later(max(0.0, wakes_at - self.now()), self._look, queues)

    def _look(self, queues: QueueSet) -> None:
        self._watched.discard(queues)
        self._dispatch(queues)

    # Turns on the loop.

    def may_begin(self, flow: Flow) -> bool:
        """Whether the loop is free for the flow now."""
        return self.turns.may_begin(flow.share)

    def turn(self, flow: Flow) -> Turn:
        """Await it: it is over when it is the flow's turn on the loop."""
        return Turn(_TurnsOf(self, flow)).again()

    def charge(self, flow: Flow, seconds: float) -> None:
        """A request of the flow has used that much of the loop's time."""
        if self.turns.charge(flow.share, seconds) and not self._round_is_due:
            self.plan_round()

    def plan_round(self) -> None:
        """Somebody waits: begin a round once the sockets have been looked at."""
        if not self._round_is_due:
            self._round_is_due = True
            asyncio.get_running_loop().call_soon(self._begin_round)

    def _begin_round(self) -> None:
        self._round_is_due = False
        turns = self.turns
        turns.begin_round()
        started = self.now()
        for _ in range(turns.waiting):
            turn = turns.chosen()
            if turn is None:
                break
            turn.end_between_tasks()
            if turns.lasted(self.now() - started):
                break
        if turns.waiting:
            self.plan_round()

    # What is sent piece by piece.

    def _streamed(self, context: RequestContext, flow: Flow, response: StreamingResponse) -> StreamingResponse:
        async def serve(writer: Writer) -> None:
            try:
                await response.serve(PacedWriter(writer, Pace(self, flow)))
            finally:
                context.initialized()

        return StreamingResponse(response.status, response.headers, serve)

    def _initialized(self, flow: Flow, ticket: Ticket, meter: FlowMeter) -> None:
        """A watch has sent its initial events, or has ended: it is not in work any more."""
        if ticket.state == "executing":
            meter.ended(ticket, self._leave(flow, ticket), is_watch=True)


class _TurnsOf:
    """Turns for the further steps of one request."""

    __slots__ = ("_gate", "_share", "_turns")

    def __init__(self, gate: PriorityAndFairness, flow: Flow) -> None:
        self._gate = gate
        self._turns = gate.turns
        self._share = flow.share

    @property
    def round_seconds(self) -> float:
        return self._turns.round_seconds

    def may_begin(self) -> bool:
        return self._turns.may_begin(self._share)

    def wait(self, who: Turn) -> None:
        self._turns.wait(self._share, who)
        self._gate.plan_round()

    def give_up(self, who: Turn) -> None:
        self._turns.give_up(self._share, who)


class Pace:
    """Turns for the pieces of one answer."""

    __slots__ = ("_flow", "_gate", "_sent", "_started")

    def __init__(self, gate: PriorityAndFairness, flow: Flow) -> None:
        self._gate = gate
        self._flow = flow
        # The first piece has a turn of its own too, where others wait: to make the answer was a step that was long.
        self._sent = _TURN_BYTES
        self._started = gate.now()

    def begin(self) -> None:
        """A piece is about to be sent."""
        self._started = self._gate.now()

    def sent(self, size_bytes: int) -> None:
        """A piece has been sent."""
        self._gate.charge(self._flow, self._gate.now() - self._started)
        self._sent += size_bytes

    @property
    def is_due(self) -> bool:
        """Whether the next piece needs a turn of its own."""
        return self._sent >= _TURN_BYTES and not self._gate.may_begin(self._flow)

    async def turn(self) -> None:
        """Return when it is the answer's turn."""
        self._sent = 0
        await self._gate.turn(self._flow)


class PacedWriter:
    """A stream's writer whose large pieces take turns."""

    __slots__ = ("_pace", "_writer")

    def __init__(self, writer: Writer, pace: Pace) -> None:
        self._writer = writer
        self._pace = pace

    @property
    def closed(self) -> bool:
        return self._writer.closed

    def write(self, data: bytes) -> None:
        self._pace.begin()
        self._writer.write(data)
        self._pace.sent(len(data))

    async def drain(self) -> None:
        await self._writer.drain()
        if self._pace.is_due:
            await self._pace.turn()

    async def wait_closed(self) -> None:
        await self._writer.wait_closed()
