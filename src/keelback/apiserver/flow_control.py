"""Puts priority and fairness into a server: its objects from the caches, its metrics, its debug pages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NoReturn

from keelback.api.flowcontrol_v1 import FlowSchema, PriorityLevelConfiguration
from keelback.apiserver import flow_debug
from keelback.apiserver.admittance import is_mutating
from keelback.apiserver.context import RequestContext
from keelback.apiserver.flow_metrics import FlowMetrics
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.max_in_flight import MaxInFlight
from keelback.apiserver.priority_and_fairness import PriorityAndFairness
from keelback.apiserver.request_limits import RequestLimits
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.server import APIServer
from keelback.apiserver.watch_cache import WatchOptions
from keelback.component.http import query_flag
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.flowcontrol import width
from keelback.flowcontrol.levels import PriorityLevels
from keelback.flowcontrol.width import Width
from keelback.registry import bootstrap_flow_control


class FlowControl:
    """The gate of a server, and what keeps it as the FlowSchemas and PriorityLevelConfigurations say."""

    def __init__(
        self,
        lookup: CacheLookup,
        handlers: Mapping[tuple[str, str], ResourceHandler],
        seats: int,
        metrics: FlowMetrics,
        clock: Clock,
    ) -> None:
        """`handlers` are those of the resources, by group and plural; `seats` is how many requests may be in work."""
        self.levels = PriorityLevels(seats, *bootstrap_flow_control.mandatory(), clock.monotonic())
        metrics.watch(self.levels)
        self.gate = PriorityAndFairness(self.levels, _Widths(handlers), metrics, clock)
        self._lookup = lookup
        self._clock = clock

    def configure(self) -> None:
        """Let what the caches hold take effect."""
        schemas = self._lookup.scan(FlowSchema)
        levels = self._lookup.scan(PriorityLevelConfiguration)
        self.levels.configure(schemas, levels, self._clock.monotonic())
        self.gate.dispatch_all()

    async def run(self) -> NoReturn:
        """Do so whenever a schema or a level has changed."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(FlowSchema))
            group.create_task(self._follow(PriorityLevelConfiguration))
        raise AssertionError("unreachable")

    async def _follow(self, kind: type[FlowSchema] | type[PriorityLevelConfiguration]) -> NoReturn:
        while True:
            watcher = await self._lookup.cache(kind.__kind__).watch(WatchOptions())
            while records := await watcher.next_records():
                if any(record.type != "BOOKMARK" for record in records):
                    self.configure()
            await self._clock.sleep(0.1)


class _Widths:
    """Widths by what the caches hold, and by who watches them."""

    def __init__(self, handlers: Mapping[tuple[str, str], ResourceHandler]) -> None:
        self._handlers = handlers

    def width(self, context: RequestContext, most_seats: int) -> Width:
        info = context.info
        if not info.is_resource_request or info.verb == "get":
            return width.ONE
        is_watch = info.verb == "watch"
        if is_watch and not query_flag(context.query.get("sendInitialEvents")):
            return width.ONE
        handler = self._handlers.get((info.group, info.resource))
        if handler is None:
            return width.ONE
        cache = handler.cache
        if is_watch or info.verb == "list":
            stored = len(cache)
            average = -(-cache.size_bytes // stored) if stored else 0
            return width.of_list(
                stored, average, _limit(context.query), is_single=bool(info.name), most_seats=most_seats
            )
        return width.of_write(cache.broad_watchers, most_seats) if is_mutating(info) else width.ONE


def _limit(query: Mapping[str, str]) -> int:
    limit = query.get("limit", "")
    return int(limit) if limit.isascii() and limit.isdigit() else 0


def install(
    server: APIServer,
    limits: RequestLimits,
    lookup: CacheLookup,
    handlers: Mapping[tuple[str, str], ResourceHandler],
    metrics: Registry,
    clock: Clock,
) -> FlowControl | None:
    """Limit a server's requests: by priority and fairness, or without it by their mere number."""
    server.limits = limits
    dropped = metrics.counter(
        "apiserver_dropped_requests_total",
        "Number of requests dropped with 'Try again later' response",
        ("request_kind",),
    )
    if not limits.enable_priority_and_fairness:
        server.gate = MaxInFlight(
            limits.max_requests_inflight, limits.max_mutating_requests_inflight, clock, dropped.inc
        )
        return None
    control = FlowControl(lookup, handlers, limits.seats, FlowMetrics(metrics, dropped), clock)
    flow_debug.add(server, control.levels, clock)
    server.gate = control.gate
    return control
