"""Where events go: what a backend promises, and what may stand between it and the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn, Protocol

import msgspec

from keelback.audit.events import Event, encode, text_line
from keelback.component.logs import logger
from keelback.component.metrics import Registry

_SHOWN_EVENTS = 5
_log = logger("apiserver.audit")


class Backend(Protocol):
    """Takes events."""

    async def process(self, events: Sequence[Event]) -> bool:
        """Take the events; False where they are lost and requests may want to fail for it. Never raises."""
        ...

    async def run(self) -> None:
        """Work in the background until cancelled; return where there is nothing to do."""
        ...

    async def close(self) -> None:
        """Pass on what is still kept, in bounded time, and give everything up."""
        ...


class AuditMetrics:
    """What happened to events, under upstream's names."""

    def __init__(self, metrics: Registry) -> None:
        self.events = metrics.counter(
            "apiserver_audit_event_total", "Counter of audit events generated and sent to the audit backend."
        )
        self._errors = metrics.counter(
            "apiserver_audit_error_total",
            "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the "
            "error.",
            ("plugin",),
        )
        self.levels = metrics.counter(
            "apiserver_audit_level_total",
            "Counter of policy levels for audit events (1 per request).",
            ("level",),
        )
        self.rejected = metrics.counter(
            "apiserver_audit_requests_rejected_total",
            "Counter of apiserver requests rejected due to an error in audit logging backend.",
        )

    def lost(self, plugin: str, why: str, events: Sequence[Event]) -> None:
        """Count events that a backend could not take, and log a few of them: nothing else will tell of them."""
        self._errors.inc(plugin, amount=float(len(events)))
        shown = [text_line(one) for one in events[:_SHOWN_EVENTS]]
        _log.error("Audit events were lost", plugin=plugin, error=why, events=len(events), first=shown)


class Union:
    """Several backends, each of which gets every event."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = tuple(backends)

    async def process(self, events: Sequence[Event]) -> bool:
        taken = [await one.process(events) for one in self._backends]
        return all(taken)

    async def run(self) -> NoReturn:
        """Let all work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self._backends:
                group.create_task(one.run())
            while True:
                await asyncio.Event().wait()

    async def close(self) -> None:
        for one in self._backends:
            await one.close()


class Forgiving:
    """A backend whose failures stop no request: the mode `blocking`, where `blocking-strict` lets them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def process(self, events: Sequence[Event]) -> bool:
        await self._backend.process(events)
        return True

    async def run(self) -> None:
        await self._backend.run()

    async def close(self) -> None:
        await self._backend.close()


class Truncating:
    """Takes the objects out of events that are too large, drops what is too large still, and divides batches."""

    def __init__(self, backend: Backend, max_event_bytes: int, max_batch_bytes: int, metrics: AuditMetrics) -> None:
        self._backend = backend
        self._max_event_bytes = max_event_bytes
        self._max_batch_bytes = max_batch_bytes
        self._metrics = metrics

    async def process(self, events: Sequence[Event]) -> bool:
        batch: list[Event] = []
        batch_bytes = 0
        is_taken = True
        for event in events:
            fitting, size = self._fitting(event)
            if size > self._max_event_bytes:
                self._metrics.lost("truncate", "event is too large even after truncating", [event])
                continue
            if batch and batch_bytes + size > self._max_batch_bytes:
                is_taken = await self._backend.process(batch) and is_taken
                batch, batch_bytes = [], 0
            batch.append(fitting)
            batch_bytes += size
        if batch:
            is_taken = await self._backend.process(batch) and is_taken
        return is_taken

    async def run(self) -> None:
        await self._backend.run()

    async def close(self) -> None:
        await self._backend.close()

    def _fitting(self, event: Event) -> tuple[Event, int]:
        """The event, smaller where it is too large, and its size."""
        size = len(encode(event))
        if size <= self._max_event_bytes or (event.request_object is None and event.response_object is None):
            return event, size
        annotations = {**event.annotations, "audit.k8s.io/truncated": "true"}
        smaller = msgspec.structs.replace(event, request_object=None, response_object=None, annotations=annotations)
        return smaller, len(encode(smaller))
