"""What is counted of each request, under upstream's names and labels: dashboards and alerts read these.

A request finds its numbers with one look-up; what can be counted when somebody looks is not counted before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from keelback.apiserver.request_info import RequestInfo
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse, UpgradeResponse
from keelback.component.metrics import Registry, Series

_LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope", "component")
_DRY_LABELS: Final = ("verb", "dry_run", *_LABELS[1:])
_SECONDS: Final = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3),
    *(4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)
_SIZES: Final = tuple(1_000 * 10**power for power in range(7))
_VERBS: Final = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETE"}
_APPLY: Final = "application/apply-patch+"
_CONNECTING: Final = frozenset(("exec", "attach", "portforward", "proxy"))
_COMPONENT: Final = "apiserver"
_SCOPES: Final = ("resource", "namespace", "cluster")
# Paths outside the API that are counted; of others there may be any number.
_PATHS: Final = frozenset(("/livez", "/readyz", "/healthz", "/metrics", "/version", "/openapi/v2", "/openapi/v3"))


class RequestMeter:
    """The requests of one kind."""

    __slots__ = ("codes", "long_running", "seconds", "sizes")

    def __init__(self, seconds: Series | None, sizes: Series | None) -> None:
        self.seconds = seconds
        self.sizes = sizes
        self.codes: dict[int, int] = {}
        self.long_running = 0

    def answered(self, response: AnyResponse, seconds: float) -> None:
        """Count an answer."""
        status = 101 if isinstance(response, UpgradeResponse) else response.status
        try:
            self.codes[status] += 1
        except KeyError:
            self.codes[status] = 1
        if self.seconds is not None:
            self.seconds.observe(seconds)
        if self.sizes is not None and isinstance(response, Response):
            body = response.body
            self.sizes.observe(len(body) if isinstance(body, bytes) else sum(map(len, body)))


class RequestMetrics:
    """All of them."""

    def __init__(self, metrics: Registry) -> None:
        self.in_flight = [0, 0]
        """Reads and writes that are being answered."""
        self.authenticated = [0, 0]
        """Attempts that failed, and those that did not."""
        self.authorized = [0, 0]
        """Requests that were refused, and those that were not."""
        self._meters: dict[tuple[str, ...], RequestMeter] = {}
        # Of each resource, by scope, those of each verb.
        self._places: dict[tuple[str, str, str, str], tuple[dict[str, RequestMeter], ...]] = {}
        self._requests = metrics.counter(
            "apiserver_request_total",
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
            "component, and HTTP response code.",
            (*_DRY_LABELS, "code"),
        )
        self._seconds = metrics.histogram(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource, "
            "subresource, scope and component.",
            _DRY_LABELS,
            _SECONDS,
        )
        # Upstream leaves out of it what webhooks take; dashboards ask for it.
        self._objective = metrics.view(
            "apiserver_request_sli_duration_seconds",
            "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in "
            "seconds for each verb, group, version, resource, subresource, scope and component.",
            self._seconds,
            without="dry_run",
        )
        self._sizes = metrics.histogram(
            "apiserver_response_sizes",
            "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and "
            "component.",
            _LABELS,
            _SIZES,
        )
        self._in_flight = metrics.gauge(
            "apiserver_current_inflight_requests",
            "Maximal number of currently used inflight request limit of this apiserver per request kind in last "
            "second.",
            ("request_kind",),
        )
        self._long_running = metrics.gauge(
            "apiserver_longrunning_requests",
            "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope "
            "and component. Not all requests are tracked this way.",
            _LABELS,
        )
        self._attempts = metrics.counter("authentication_attempts", "Counter of authenticated attempts.", ("result",))
        self._authorizations = metrics.counter(
            "authorization_attempts_total", "Counter of authorization attempts broken down by result.", ("result",)
        )
        metrics.before_collection(self._refresh)

    def of(self, request: Request, info: RequestInfo, knows: Callable[[RequestInfo], bool]) -> RequestMeter | None:
        """What a request is counted as: None for paths of no account. `knows` says what resources there are."""
        verb = info.verb
        if not info.is_resource_request:
            if info.path not in _PATHS:
                return None
            return self._of_key((request.method, "", "", "", "", info.path, "", _COMPONENT))
        place = (info.group, info.version, info.resource, info.subresource)
        of_place = self._places.get(place)
        if of_place is None:
            if not knows(info):
                # Clients can think of any number of resources that do not exist.
                return self._of_key((_verb(request, info), "", "", "", "", "", "", _COMPONENT))
            of_place = self._places[place] = ({}, {}, {})
        scope = 0 if info.name or verb == "create" else 1 if info.namespace else 2
        if verb == "patch" or "dryRun=All" in request.query:
            dry_run = "All" if "dryRun=All" in request.query else ""
            return self._of_key((_verb(request, info), dry_run, *place, _SCOPES[scope], _COMPONENT))
        meter = of_place[scope].get(verb)
        if meter is None:
            meter = self._of_key((_verb(request, info), "", *place, _SCOPES[scope], _COMPONENT))
            of_place[scope][verb] = meter
        return meter

    def _of_key(self, key: tuple[str, ...]) -> RequestMeter:
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = self._meter(key)
        return meter

    def _meter(self, key: tuple[str, ...]) -> RequestMeter:
        verb, _, *rest = key
        seconds = None if verb in ("WATCH", "CONNECT") else self._seconds.series(*key)
        sizes = self._sizes.series(verb, *rest) if verb in ("GET", "LIST") else None
        return RequestMeter(seconds, sizes)

    def _refresh(self) -> None:
        for kind, count in zip(("readOnly", "mutating"), self.in_flight, strict=True):
            self._in_flight.set(count, kind)
        for index, (known, allowed) in enumerate((("failure", "denied"), ("success", "allowed"))):
            self._attempts.set(self.authenticated[index], known)
            self._authorizations.set(self.authorized[index], allowed)
        for key, meter in self._meters.items():
            for code, count in meter.codes.items():
                self._requests.set(count, *key, str(code))
            if key[0] in ("WATCH", "CONNECT"):
                verb, _, *rest = key
                self._long_running.set(meter.long_running, verb, *rest)


def tracked(response: AnyResponse, meter: RequestMeter) -> AnyResponse:
    """A response that lasts, counted for as long as it does."""
    if isinstance(response, Response):
        return response

    async def serve(channel: Any) -> None:
        meter.long_running += 1
        try:
            await response.serve(channel)
        finally:
            meter.long_running -= 1

    if isinstance(response, StreamingResponse):
        return StreamingResponse(response.status, response.headers, serve)
    return UpgradeResponse(serve)


def add_object_metrics(metrics: Registry, handlers: Mapping[tuple[str, str], ResourceHandler]) -> None:
    """How many objects there are of each resource, and how large they are."""
    objects = metrics.gauge(
        "apiserver_resource_objects",
        "Number of stored objects at the time of last check split by kind.",
        ("group", "resource"),
    )
    older = metrics.gauge(
        "apiserver_storage_objects",
        "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will "
        "be -1.",
        ("resource",),
    )
    sizes = metrics.gauge(
        "apiserver_resource_size_estimate_bytes", "Estimated size of stored objects.", ("group", "resource")
    )
    watchers = metrics.gauge(
        "apiserver_registered_watchers",
        "Number of currently registered watchers for a given resource",
        (
            "group",
            "version",
            "kind",
        ),
    )

    def refresh() -> None:
        for (_, resource), handler in tuple(handlers.items()):
            kind, cache = handler.kind, handler.cache
            objects.set(len(cache), kind.group, resource)
            sizes.set(cache.size_bytes, kind.group, resource)
            older.set(len(cache), f"{resource}.{kind.group}" if kind.group else resource)
            watchers.set(cache.watchers, kind.group, kind.version, kind.kind)

    metrics.before_collection(refresh)


def _verb(request: Request, info: RequestInfo) -> str:
    """Upstream's verbs of metrics: those of HTTP, LIST, WATCH, APPLY and CONNECT."""
    verb = info.verb
    if info.subresource in _CONNECTING:
        return "CONNECT"
    if verb == "patch" and request.headers.get("content-type", "").startswith(_APPLY):
        return "APPLY"
    return _VERBS.get(verb) or verb.upper()
