"""The API server: authentication, authorization, routing, and the Status of everything that goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

from keelback.apimachinery import errors
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import StatusDetails
from keelback.apiserver import negotiation, request_info, storage_failures
from keelback.apiserver.admittance import Gate, is_mutating
from keelback.apiserver.auditing import Auditor
from keelback.apiserver.context import RequestContext
from keelback.apiserver.request_info import RequestInfo
from keelback.apiserver.request_limits import RequestLimits
from keelback.apiserver.request_metrics import RequestMetrics, tracked
from keelback.apiserver.shared_store import SharedStore
from keelback.apiserver.yaml_bodies import YAMLBodies
from keelback.auth.attributes import Attributes, Authorizer, denial
from keelback.auth.authentication import AuthenticationFailed, RequestAuthenticator
from keelback.auth.impersonation import impersonate
from keelback.auth.users import MASTERS_GROUP, UserInfo
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse, text_response
from keelback.component.logs import logger
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.storage.protocol import StorageError

ResourceRoute: TypeAlias = Callable[[RequestContext], Awaitable[AnyResponse]]

OWN = UserInfo("system:apiserver", groups=(MASTERS_GROUP, "system:authenticated"))
"""Who this server is to itself."""
_log = logger("apiserver")


class APIServer:
    """Answers requests. Routes are added before it serves, or while it does (custom resources come and go)."""

    def __init__(
        self, authenticator: RequestAuthenticator, authorizer: Authorizer, clock: Clock, metrics: Registry
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._clock = clock
        self._yaml_bodies = YAMLBodies()
        self._paths: dict[str, ResourceRoute] = {}
        self._prefixes: dict[str, ResourceRoute] = {}
        self._resources: dict[tuple[str, str, str, str], ResourceRoute] = {}
        self._reserved: dict[tuple[str, str, str, str], ResourceRoute] = {}
        self._verbs: dict[tuple[str, str, str, str], frozenset[str]] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self.auditor: Auditor | None = None
        self.shared_store: SharedStore | None = None
        """Set where others write to the store too."""
        self.gate: Gate | None = None
        """What lets requests in, in some order; without one everybody is let in at once."""
        self.limits = RequestLimits()
        self.watch_seconds: Callable[[], float] = lambda: self.limits.min_request_timeout_seconds
        self.custom_groups: set[str] = set()
        """Groups in which an unknown version is an unknown path."""
        self.delegate: Callable[[RequestInfo], ResourceRoute | None] | None = None
        """Asked first, where it is set: who answers what is passed on to an aggregated API server."""
        self.metrics = RequestMetrics(metrics)

    def route_path(self, path: str, route: ResourceRoute) -> None:
        """Serve one path outside the resources; with a slash at its end, everything below it too."""
        (self._prefixes if path.endswith("/") and path != "/" else self._paths)[path] = route

    def route_resource(self, group: str, version: str, resource: str, subresource: str, route: ResourceRoute) -> None:
        """Serve a resource, or one subresource of it."""
        key = (group, version, resource, subresource)
        if key not in self._resources:
            self._versions[group, version] = self._versions.get((group, version), 0) + 1
        self._resources[key] = route

    def reserve_resource(self, group: str, version: str, resource: str, subresource: str, route: ResourceRoute) -> None:
        """Serve a resource, or one subresource of it, to this server itself; for others there is none."""
        self._reserved[group, version, resource, subresource] = route

    def restrict_resource(
        self, group: str, version: str, resource: str, subresource: str, verbs: Iterable[str]
    ) -> None:
        """Refuse every verb but these: a path that only takes a POST has no other method, whatever it would answer."""
        self._verbs[group, version, resource, subresource] = frozenset(verbs)

    def unroute_resource(self, group: str, version: str, resource: str, subresource: str) -> None:
        """Serve it no more."""
        if self._resources.pop((group, version, resource, subresource), None) is not None:
            self._versions[group, version] -= 1
            if not self._versions[group, version]:
                del self._versions[group, version]

    async def handle(self, request: Request) -> AnyResponse:
        """Answer any request: never raises."""
        started = time.perf_counter()
        info = request_info.parse(request)
        counted, is_write = self.metrics, int(is_mutating(info))
        counted.in_flight[is_write] += 1
        context = RequestContext(request, info, _NOBODY, self._clock.now())
        try:
            response = await self._answer(context)
        except errors.StatusError as error:
            response = self._failed(context, error)
        except TimeoutError:
            response = self._failed(context, errors.Timeout("request did not complete within the allotted timeout"))
        except StorageError as error:
            response = self._failed(context, storage_failures.status(error))
        except RecursionError:
            # Bodies are bounded in depth; patches upon patches can still build what is deeper.
            response = self._failed(context, errors.BadRequest("the object is nested too deeply"))
        except Exception as error:  # the edge: a defect is answered and logged, and the server lives on
            _log.exception("A request failed in an unforeseen way", error, method=request.method, path=request.path)
            response = self._failed(context, errors.InternalError(f"Internal error occurred: {error}"))
            if context.audit is not None:
                context.audit.failure = str(error) or type(error).__name__
        except asyncio.CancelledError:
            if context.audit is not None:
                await context.audit.abandoned()
            counted.in_flight[is_write] -= 1
            raise
        if context.audit is not None:
            response = await context.audit.answered(response)
        if isinstance(response, negotiation.ToBeYAML):
            response = await self._yaml_bodies.write(response)
        elif negotiation.wants_indentation(request) and _is_of_api(request.path):
            response = negotiation.indented(response)
        if context.answer_headers:
            response = _with_headers(response, context.answer_headers)
        counted.in_flight[is_write] -= 1
        meter = counted.of(request, info, self._knows(info))
        if meter is not None:
            meter.answered(response, time.perf_counter() - started)
            if not isinstance(response, Response):
                response = tracked(response, meter)
        return response

    async def _answer(self, context: RequestContext) -> AnyResponse:
        auditor = self.auditor
        context.timeout_seconds = self.limits.request_timeout_seconds
        if "timeout=" in context.request.query and not request_info.is_long_running(context.info):
            context.timeout_seconds = self.limits.timeout_seconds(context.query.get("timeout", ""))
        if context.info.verb == "watch":
            context.watch_seconds = self.watch_seconds
        try:
            context.user = await self._authenticated(context.request)
        except errors.Unauthorized:
            if auditor is not None:
                auditor.refused(context)
            raise
        attributes = context.attributes()
        if auditor is not None:
            await auditor.begin(context, attributes)
        if any(one.startswith("impersonate-") for one in context.request.headers):
            other = await impersonate(context.user, context.request, attributes, self._authorizer)
            if other is not None:
                context.user = other.user
                if context.audit is not None:
                    context.audit.impersonated(*other)
                attributes = context.attributes()
        if self.gate is None:
            return await self._authorized(context, attributes)
        return await self.gate.serve(context, attributes, self._authorized)

    async def _authorized(self, context: RequestContext, attributes: Attributes) -> AnyResponse:
        verdict = await self._authorizer.authorize(attributes)
        self.metrics.authorized[verdict.is_allowed] += 1
        if context.audit is not None:
            context.audit.authorized(verdict)
        if not verdict.is_allowed:
            if verdict.error:
                return _undecided(context.request, verdict.error)
            raise denial(attributes, verdict.reason)
        if self.shared_store is not None:
            await self.shared_store.prepare(context.request.method, context.info, is_known=self._knows(context.info))
        route = self._route(context)
        await self._yaml_bodies.read_ahead(context)
        return await route(context)

    async def _authenticated(self, request: Request) -> UserInfo:
        if isinstance(request.identity, UserInfo):
            return request.identity
        try:
            known = await self._authenticator.authenticate(request)
        except AuthenticationFailed as failure:
            _log.debug("Authentication failed", reason=str(failure))
            self.metrics.authenticated[False] += 1
            raise errors.Unauthorized from failure
        self.metrics.authenticated[known is not None] += 1
        if known is None:
            raise errors.Unauthorized
        return known.user

    def _knows(self, info: RequestInfo) -> bool:
        """Whether the resource is served; what is none is known."""
        place = (info.group, info.version, info.resource, info.subresource)
        return not info.is_resource_request or place in self._resources

    def _route(self, context: RequestContext) -> ResourceRoute:
        info = context.info
        if self.delegate is not None and (elsewhere := self.delegate(info)) is not None:
            return elsewhere
        if info.is_resource_request:
            found = self._resources.get((info.group, info.version, info.resource, info.subresource))
            if found is not None:
                if context.request.method == "HEAD" and info.subresource != "proxy":
                    raise errors.MethodNotSupported.unrouted()
                verbs = self._verbs.get((info.group, info.version, info.resource, info.subresource))
                if verbs is not None and info.verb not in verbs:
                    raise errors.MethodNotSupported.unrouted()
                return found
            if self._reserved and context.user is OWN:
                reserved = self._reserved.get((info.group, info.version, info.resource, info.subresource))
                if reserved is not None:
                    return reserved
            if (info.group, info.version) in self._versions:
                raise self._unknown_resource(info)
            if info.group in self.custom_groups:
                return _not_found
        path = info.path
        if context.request.method != "GET" and self._can_only_be_read(path):
            raise errors.MethodNotSupported.unrouted()
        found = self._paths.get(path) or (self._paths.get(path.rstrip("/")) if path != "/" else None)
        if found is not None:
            return found
        for prefix, route in self._prefixes.items():
            if path.startswith(prefix):
                return route
        if info.path.startswith("/api/") or any(
            info.path.startswith(f"/apis/{group}/") for group, _ in self._versions if group
        ):
            raise self._unknown_resource(info)
        return _not_found

    def _can_only_be_read(self, path: str) -> bool:
        """Whether a path is that of the version or of discovery."""
        match path.strip("/").split("/"):
            case ["version" | "api" | "apis"]:
                return True
            case ["api", version]:
                return ("", version) in self._versions
            case ["apis", group]:
                return any(one == group for one, _ in self._versions)
            case ["apis", group, version]:
                return (group, version) in self._versions
        return False

    def _unknown_resource(self, info: RequestInfo) -> errors.NotFound:
        return errors.NotFound("the server could not find the requested resource", details=StatusDetails())

    def _failed(self, context: RequestContext, error: errors.StatusError) -> Response:
        return negotiation.respond_error(error, context.request.headers.get("accept", ""), warnings=context.warnings)


_NOBODY = UserInfo("")


def _with_headers(response: AnyResponse, headers: Mapping[str, str]) -> AnyResponse:
    """The answer with these headers too. A connection that leaves HTTP writes its own head."""
    if isinstance(response, Response):
        return Response(response.status, {**headers, **response.headers}, response.body, response.pace)
    if isinstance(response, StreamingResponse):
        return StreamingResponse(response.status, {**headers, **response.headers}, response.serve)
    return response


def too_large(limit_bytes: int) -> Response:
    """The answer to a body that is too large to be read: a request's front door gives it."""
    return negotiation.respond_error(errors.RequestEntityTooLarge(f"Request entity too large: limit is {limit_bytes}"))


def _undecided(request: Request, problem: str) -> Response:
    """The answer where an authorizer failed, so that nobody knows whether the caller may; in upstream's plain words."""
    uri = f"{request.path}?{request.query}" if request.query else request.path
    text = f"Internal Server Error: {go_quoted(uri)}: {problem}\n"
    return text_response(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), 500)


def _is_of_api(path: str) -> bool:
    """Whether what stands there are objects, which a person may want to read."""
    return path.startswith(("/api/", "/apis/")) or path in ("/api", "/apis")


async def _not_found(context: RequestContext) -> AnyResponse:
    return text_response("404 page not found\n", 404)
