"""Faults on demand: what stands between clients and the API server of a test's cluster, and what it spoils."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keelback.apiserver import request_info
from keelback.component.http import AnyResponse, Handler, Request, Response, StreamingResponse, Writer
from keelback.concurrency.clock import Clock

_REASONS: Final[Mapping[int, tuple[str, str]]] = {
    403: ("Forbidden", "forbidden by a fault of the test"),
    404: ("NotFound", "not found, by a fault of the test"),
    409: ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
    410: ("Expired", "too old resource version, by a fault of the test"),
    429: ("TooManyRequests", "too many requests, please try again later"),
    500: ("InternalError", "Internal error occurred: a fault of the test"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the request did not complete within the allotted timeout"),
}
_REMEMBERED: Final = 200
_REPORTS: Final = ("leases", "nodes/status")
_KUBELET: Final = "kubelet"
_WRITES: Final = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(slots=True, kw_only=True)
class Fault:
    """Which requests are spoiled, and how. What is left empty matches all; `times` 0 has no end.

    `status` answers instead of the server (with `retry_after` seconds where given), `latency` (seconds of the cluster's
    time) comes before whatever follows, `lost` carries the request out and loses its answer.
    """

    verb: str = ""  # get, list, watch, create, update, patch, delete, deletecollection
    resource: str = ""  # as "pods" or "pods/status"
    namespace: str = ""
    name: str = ""
    client: str = ""  # how the user agent begins: "kube-scheduler", "kube-controller-manager", "kubelet"
    status: int = 0
    retry_after: int = 0
    latency: float = 0.0
    lost: bool = False
    times: int = 0
    probability: float = 1.0
    hits: int = field(default=0, init=False)
    """How many requests it spoiled."""

    def __post_init__(self) -> None:
        if self.status and self.status not in _REASONS:
            raise ValueError(f"status {self.status}: one of {', '.join(map(str, sorted(_REASONS)))}")
        if not (self.status or self.latency or self.lost):
            raise ValueError("a fault needs a status, a latency, or to lose answers")

    def matches(self, asked: Asked) -> bool:
        """Whether it would spoil this request."""
        return all(
            (
                not self.times or self.hits < self.times,
                self.verb in ("", asked.verb),
                self.resource in ("", asked.resource),
                self.namespace in ("", asked.namespace),
                self.name in ("", asked.name),
                asked.client.startswith(self.client),
            )
        )


@dataclass(slots=True)
class Asked:
    """One request as the faults and the report see it."""

    at: datetime
    client: str
    verb: str
    resource: str
    namespace: str
    name: str
    path: str
    status: int = 0


@dataclass(slots=True)
class CrashPoint:
    """A client that crashes at one of its writes: before the server has got it, or when it has carried it out.

    Events and leases are not counted.
    """

    client: str  # how the user agent begins
    write: int  # counted from 1 on; 0 never comes
    is_carried_out: bool = False
    writes: list[Asked] = field(default_factory=list, init=False)
    crashed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def is_of(self, asked: Asked) -> bool:
        """Whether this client has asked."""
        return asked.client.startswith(self.client)

    def is_reached(self, asked: Asked) -> bool:
        """Count a request; whether it is the one."""
        if asked.verb not in _WRITES or asked.resource in ("events", "leases") or not self.is_of(asked):
            return False
        self.writes.append(asked)
        return len(self.writes) == self.write


class Faults:
    """Stands before a server. The test's own requests pass unspoiled; everybody else's may not."""

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self._clock = clock
        self._chance = chance
        self._active: list[Fault] = []
        self._watches: list[tuple[Asked, asyncio.Event]] = []
        self.requests: deque[Asked] = deque(maxlen=_REMEMBERED)
        """The last requests, oldest first; watches and renewals of leases left out."""
        self.witness: Callable[[Asked], object] | None = None
        """Who is told of each of those requests, however many there are."""
        self.is_down = False
        """Whether the server is stopped: nobody reaches it."""
        self.cut_off: set[str] = set()
        """User agents that do not reach the server."""
        self.crash_point: CrashPoint | None = None
        self.changes = 0
        """How many requests have changed something, but for renewals of leases."""
        self._failing: set[str] = set()

    def add(self, fault: Fault) -> Fault:
        """From now on."""
        self._active.append(fault)
        return fault

    def clear(self) -> None:
        """No more faults; nodes that are cut off stay so."""
        self._active.clear()

    @contextmanager
    def injected(self, fault: Fault) -> Iterator[Fault]:
        """While the block lasts."""
        self._active.append(fault)
        try:
            yield fault
        finally:
            self._active = [one for one in self._active if one is not fault]

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is spoiled, and nodes' reports are taken."""
        spoils = self._active or self.cut_off or self._failing or self.is_down
        return not spoils and self.crash_point is None

    def drop_watches(self, *, resource: str = "", client: str = "") -> int:
        """End running watches as a broken connection does; how many."""
        chosen = [
            (asked, end)
            for asked, end in self._watches
            if resource in ("", asked.resource) and asked.client.startswith(client)
        ]
        for _, end in chosen:
            end.set()
        return len(chosen)

    def around(self, handler: Callable[[], Handler], *, spares: bool = False) -> Handler:
        """The handler behind the faults. `spares` is for the test's own requests, which reach what is up."""

        async def handle(request: Request) -> AnyResponse:
            asked = self._asked(request)
            self._reach(asked)
            response = await self._answer(handler, request, asked, spares=spares)
            self._remember(asked, response)
            return response

        return handle

    def _remember(self, asked: Asked, response: AnyResponse) -> None:
        if isinstance(response, Response | StreamingResponse):
            asked.status = response.status
        if asked.resource in _REPORTS and asked.client.startswith(_KUBELET) and asked.verb in _WRITES:
            # A node that is gone has nothing more to report.
            if asked.status in (404, 200, 201):
                self._failing.discard(asked.client)
            else:
                self._failing.add(asked.client)
        if asked.verb in _WRITES and asked.resource != "leases":
            self.changes += 1
        if asked.verb != "watch" and asked.resource != "leases":
            self.requests.append(asked)
            if self.witness is not None:
                self.witness(asked)

    def _reach(self, asked: Asked) -> None:
        point = self.crash_point
        has_crashed = point is not None and point.crashed.is_set() and point.is_of(asked)
        if self.is_down or asked.client in self.cut_off or has_crashed:
            raise ConnectionRefusedError("the API server cannot be reached")

    async def _answer(
        self, handler: Callable[[], Handler], request: Request, asked: Asked, *, spares: bool
    ) -> AnyResponse:
        spoiling = [] if spares else [one for one in self._active if self._hits(one, asked)]
        for fault in spoiling:
            if fault.latency:
                await self._clock.sleep(fault.latency)
                # It may have gone meanwhile: a server that is closed would take the request, and never say anything.
                self._reach(asked)
            if fault.status:
                return _failure(fault)
        if self.crash_point is not None and self.crash_point.is_reached(asked):
            # From now on: what else it does at this instant nobody gets.
            self.crash_point.crashed.set()
            if self.crash_point.is_carried_out:
                self._remember(asked, await handler()(request))
            raise ConnectionResetError("the client crashed")
        response = await handler()(request)
        if any(fault.lost for fault in spoiling):
            self._remember(asked, response)  # it has been carried out
            raise ConnectionResetError("the answer was lost, by a fault of the test")
        if isinstance(response, StreamingResponse) and asked.verb == "watch":
            return self._droppable(response, asked)
        return response

    def _hits(self, fault: Fault, asked: Asked) -> bool:
        if not fault.matches(asked):
            return False
        if fault.probability < 1.0 and self._chance.random() >= fault.probability:
            return False
        fault.hits += 1
        return True

    def _droppable(self, response: StreamingResponse, asked: Asked) -> StreamingResponse:
        async def serve(writer: Writer) -> None:
            end = asyncio.Event()
            entry = (asked, end)
            self._watches.append(entry)
            serving = asyncio.ensure_future(response.serve(writer))
            ending = asyncio.ensure_future(end.wait())
            try:
                await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
            finally:
                self._watches.remove(entry)
                serving.cancel()
                ending.cancel()
                await asyncio.gather(serving, ending, return_exceptions=True)

        return StreamingResponse(response.status, response.headers, serve)

    def _asked(self, request: Request) -> Asked:
        info = request_info.parse(request)
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        return Asked(
            self._clock.now(),
            request.headers.get("user-agent", ""),
            info.verb,
            resource,
            info.namespace,
            info.name,
            request.path,
        )


def _failure(fault: Fault) -> Response:
    reason, message = _REASONS[fault.status]
    body: dict[str, object] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": fault.status,
    }
    headers = {"content-type": "application/json"}
    if fault.retry_after:
        body["details"] = {"retryAfterSeconds": fault.retry_after}
        headers["retry-after"] = str(fault.retry_after)
    return Response(fault.status, headers, json.dumps(body).encode())
