"""/debug/api_priority_and_fairness: the levels, queues and requests of this moment, as tables with commas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from keelback.apiserver.context import RequestContext
from keelback.apiserver.server import APIServer
from keelback.component.http import AnyResponse, text_response
from keelback.concurrency.clock import Clock
from keelback.flowcontrol.levels import Flow, Level, PriorityLevels
from keelback.flowcontrol.queue_set import Ticket

PATHS = tuple(f"/debug/api_priority_and_fairness/dump_{what}" for what in ("priority_levels", "queues", "requests"))
_LEVELS = ("PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests")
_QUEUES = (
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
)
_REQUESTS = (
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
)
_DETAILS = ("UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")


def add(server: APIServer, levels: PriorityLevels, clock: Clock) -> None:
    """Route them. Who may read them is a matter of authorization: of paths, as for /metrics."""

    async def dump_levels(context: RequestContext) -> AnyResponse:
        return _table(_LEVELS, (_level_row(level) for level in levels.all_levels()))

    async def dump_queues(context: RequestContext) -> AnyResponse:
        return _table(_QUEUES, (row for level in levels.all_levels() for row in _queue_rows(level)))

    async def dump_requests(context: RequestContext) -> AnyResponse:
        with_details = bool(context.query.get("includeRequestDetails"))
        started = clock.now() - timedelta(seconds=clock.monotonic())
        rows = (row for level in levels.all_levels() for row in _request_rows(level, started, with_details))
        return _table((*_REQUESTS, *_DETAILS) if with_details else _REQUESTS, rows)

    for path, route in zip(PATHS, (dump_levels, dump_queues, dump_requests), strict=True):
        server.routes.add_path(path, route)


def _level_row(level: Level) -> Sequence[str]:
    queues = level.queues
    if level.limits.is_exempt:
        return (level.name, *["<none>"] * 5)
    active = sum(1 for queue in queues.queues if queue.waiting)
    flags = (str(value).lower() for value in (queues.is_idle, level.is_quiescing))
    return (level.name, str(active), *flags, str(queues.waiting), str(queues.executing))


def _queue_rows(level: Level) -> Iterator[Sequence[str]]:
    if level.limits.is_exempt:
        yield (level.name, *["<none>"] * 8)
        return
    for index, queue in enumerate(level.queues.queues):
        widths = [ticket.width for ticket in queue.waiting]
        yield (
            level.name,
            str(index),
            str(len(widths)),
            str(queue.executing),
            str(queue.seats_in_use),
            f"{queue.next_dispatch:.8f}ss",
            str(sum(width.initial_seats for width in widths)),
            str(sum(width.most_seats for width in widths)),
            f"{queue.waiting_work:.8f}ss",
        )


def _request_rows(level: Level, started: datetime, with_details: bool) -> Iterator[Sequence[str]]:
    for index, queue in enumerate(level.queues.queues):
        for place, ticket in enumerate(queue.waiting):
            yield _request_row(level, index, place, ticket, started, with_details)


def _request_row(
    level: Level, index: int, place: int, ticket: Ticket, started: datetime, with_details: bool
) -> Sequence[str]:
    subject = ticket.subject
    assert isinstance(subject, tuple)
    flow: Flow = subject[0]
    context: RequestContext = subject[1]
    arrived = started + timedelta(seconds=ticket.arrived)
    row = (
        level.name,
        flow.schema,
        str(index),
        str(place),
        flow.distinguisher,
        arrived.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        str(ticket.width.initial_seats),
        str(ticket.width.final_seats),
        f"{ticket.width.final_seconds * 1000:g}ms" if ticket.width.final_seconds else "0s",
    )
    if not with_details:
        return row
    info = context.info
    api_version = f"{info.group}/{info.version}" if info.group else info.version
    return (
        *row,
        context.user.name,
        info.verb,
        info.path,
        info.namespace,
        info.name,
        api_version,
        info.resource,
        info.subresource,
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> AnyResponse:
    """Columns as Go's tabwriter lines them up: at least eight wide, a comma and a blank after each."""
    lines = [head, *rows]
    widths = [max(8, *(len(line[column]) + 2 for line in lines)) for column in range(len(head))]
    texts = []
    for line in lines:
        *cells, last = line
        aligned = "".join(f"{cell},".ljust(width) for cell, width in zip(cells, widths, strict=False))
        texts.append(f"{aligned}{last}\n")
    return text_response("".join(texts))
