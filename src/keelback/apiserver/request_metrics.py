"""What is counted of each request, under upstream's names and labels: dashboards and alerts read these.

A request finds its numbers with one look-up; what can be counted when somebody looks is not counted before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar, get_args

from keelback.apiserver.request_info import RequestInfo
from keelback.auth.attributes import Verdict
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse, UpgradeResponse
from keelback.component.http1_bodies import size_of
from keelback.component.metrics import Histogram, Registry, Series

_LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope", "component")
_DRY_LABELS: Final = ("verb", "dry_run", *_LABELS[1:])
_SECONDS: Final = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3),
    *(4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)
_SIZES: Final = tuple(1_000 * 10**power for power in range(7))
_ACCESS_SECONDS: Final = tuple(0.001 * 2**power for power in range(15))
_REMOVED: Final = re.compile(r"unavailable in v(1\.\d+)\+")
AuthenticationResult = Literal["success", "failure", "error"]
_VERBS: Final = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETE"}
_METHODS: Final = {**{one: one for one in ("GET", "POST", "PUT", "PATCH", "DELETE", "CONNECT")}, "HEAD": "GET"}
_SENDING: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "APPLY": "patch", "DELETE": "delete"}
_BODY_SIZES: Final = tuple(range(50_000, 3_100_000, 100_000))
_NAMED_USERS: Final = frozenset(
    ("admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default")
)
_OTHER: Final = "other"
"""What methods are called that clients think of: there may be any number of them."""
_APPLY: Final = "application/apply-patch+"
_CONNECTING: Final = frozenset(("exec", "attach", "portforward", "proxy"))
_COMPONENT: Final = "apiserver"
_SCOPES: Final = ("resource", "namespace", "cluster")
# Paths outside the API that are counted; of others there may be any number.
_PATHS: Final = frozenset(("/livez", "/readyz", "/healthz", "/metrics", "/version", "/openapi/v2", "/openapi/v3"))


class RequestMeter:
    """The requests of one kind."""

    __slots__ = ("bodies", "codes", "long_running", "seconds", "sizes", "terminations")

    def __init__(self, seconds: Series | None, sizes: Series | None, bodies: Series | None) -> None:
        self.seconds = seconds
        self.sizes = sizes
        self.bodies = bodies
        self.codes: dict[int, int] = {}
        self.long_running = 0
        self.terminations: dict[int, int] = {}

    def terminated(self, response: AnyResponse) -> None:
        """Count a request that was given up, with an answer that says so."""
        if isinstance(response, Response):
            self.terminations[response.status] = self.terminations.get(response.status, 0) + 1

    def answered(self, request: Request, response: AnyResponse, seconds: float) -> None:
        """Count an answer."""
        if self.bodies is not None:
            self.bodies.observe(len(request.body))
        status = 101 if isinstance(response, UpgradeResponse) else response.status
        try:
            self.codes[status] += 1
        except KeyError:
            self.codes[status] = 1
        if self.seconds is not None:
            self.seconds.observe(seconds)
        if self.sizes is not None and isinstance(response, Response):
            self.sizes.observe(size_of(response.body))


class RequestMetrics:
    """All of them."""

    def __init__(self, metrics: Registry) -> None:
        self.in_flight = [0, 0]
        """Reads and writes that are being answered."""
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
        self._bodies = metrics.histogram(
            "apiserver_request_body_size_bytes",
            "Apiserver request body size in bytes broken out by resource and verb.",
            ("resource", "verb"),
            _BODY_SIZES,
        )
        self._users = metrics.counter(
            "authenticated_user_requests", "Counter of authenticated requests broken out by username.", ("username",)
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
        self._terminations = metrics.counter(
            "apiserver_request_terminations_total",
            "Number of requests which apiserver terminated in self-defense.",
            (*_LABELS, "code"),
        )
        self._deprecated = metrics.gauge(
            "apiserver_requested_deprecated_apis",
            "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, "
            "subresource, and removed_release.",
            ("group", "version", "resource", "subresource", "removed_release"),
        )
        self._attempts = metrics.counter("authentication_attempts", "Counter of authenticated attempts.", ("result",))
        self._authorizations = metrics.counter(
            "authorization_attempts_total",
            "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', "
            "'no-opinion' or 'error'.",
            ("result",),
        )
        self.authentications: dict[AuthenticationResult, Series] = _series(
            metrics.histogram(
                "authentication_duration_seconds",
                "Authentication duration in seconds broken out by result.",
                ("result",),
                _ACCESS_SECONDS,
            ),
            get_args(AuthenticationResult),
        )
        """How long it took to know who asks, or not."""
        self._decisions = _series(
            metrics.histogram(
                "authorization_duration_seconds",
                "Authorization duration in seconds broken out by result.",
                ("result",),
                _ACCESS_SECONDS,
            ),
            ("allowed", "denied", "error"),
        )
        metrics.before_collection(self._refresh)

    def of(self, request: Request, info: RequestInfo, knows: Callable[[RequestInfo], bool]) -> RequestMeter | None:
        """What a request is counted as: None for paths of no account. `knows` says what resources there are."""
        verb = info.verb
        if not info.is_resource_request:
            if info.path not in _PATHS:
                return None
            return self._of_key((_METHODS.get(request.method, _OTHER), "", "", "", "", info.path, "", _COMPONENT))
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

    def known(self, user_name: str) -> None:
        """Count a request whose sender is known: under one of a few names, as upstream."""
        if user_name not in _NAMED_USERS:
            user_name = "email_id" if "@" in user_name else _OTHER
        self._users.inc(user_name)

    def decided(self, verdict: Verdict, seconds: float) -> None:
        """Count what an authorizer has said."""
        if verdict.is_allowed:
            self._decisions["allowed"].observe(seconds)
        else:
            self._decisions["error" if verdict.error else "denied"].observe(seconds)

    def requested_deprecated(self, info: RequestInfo, warning: str) -> None:
        """Note that somebody uses what will be removed, when its warning says that it will."""
        removed = _REMOVED.search(warning)
        release = "" if removed is None else removed[1]
        self._deprecated.set(1, info.group, info.version, info.resource, info.subresource, release)

    def _of_key(self, key: tuple[str, ...]) -> RequestMeter:
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = self._meter(key)
        return meter

    def _meter(self, key: tuple[str, ...]) -> RequestMeter:
        verb, _, *rest = key
        seconds = None if verb in ("WATCH", "CONNECT") else self._seconds.series(*key)
        sizes = self._sizes.series(verb, *rest) if verb in ("GET", "LIST") else None
        sending = _SENDING.get(verb)
        resource = _qualified(*rest[:3:2]) if rest[2] else ""
        bodies = self._bodies.series(resource, sending) if sending and resource else None
        return RequestMeter(seconds, sizes, bodies)

    def _refresh(self) -> None:
        for kind, count in zip(("readOnly", "mutating"), self.in_flight, strict=True):
            self._in_flight.set(count, kind)
        for result, seconds in self.authentications.items():
            self._attempts.set(sum(seconds.counts), result)
        for decision, seconds in self._decisions.items():
            self._authorizations.set(sum(seconds.counts), decision)
        for key, meter in self._meters.items():
            for code, count in meter.codes.items():
                self._requests.set(count, *key, str(code))
            verb, _, *rest = key
            for code, count in meter.terminations.items():
                self._terminations.set(count, verb, *rest, str(code))
            if verb in ("WATCH", "CONNECT"):
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


def _qualified(group: str, resource: str) -> str:
    """A resource as upstream writes GroupResources."""
    return f"{resource}.{group}" if group else resource


_Result = TypeVar("_Result", bound=str)


def _series(histogram: Histogram, results: Sequence[_Result]) -> dict[_Result, Series]:
    return {result: histogram.series(result) for result in results}


def _verb(request: Request, info: RequestInfo) -> str:
    """Upstream's verbs of metrics: those of HTTP, LIST, WATCH, APPLY and CONNECT."""
    verb = info.verb
    if info.subresource in _CONNECTING:
        return "CONNECT"
    if verb == "patch" and request.headers.get("content-type", "").startswith(_APPLY):
        return "APPLY"
    return _VERBS.get(verb) or verb.upper() or _OTHER
