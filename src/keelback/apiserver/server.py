"""The API server: authentication, authorization, and the Status of everything that goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from keelback.apimachinery import errors
from keelback.apimachinery.go_text import go_quoted
from keelback.apiserver import negotiation, request_info, storage_failures
from keelback.apiserver.admittance import Gate, is_mutating
from keelback.apiserver.audit_ids import HEADER
from keelback.apiserver.auditing import Auditor
from keelback.apiserver.context import RequestContext
from keelback.apiserver.request_limits import RequestLimits
from keelback.apiserver.request_metrics import AuthenticationResult, RequestMetrics, tracked
from keelback.apiserver.routes import Routes
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

OWN = UserInfo("system:apiserver", groups=(MASTERS_GROUP, "system:authenticated"))
"""Who this server is to itself."""
_log = logger("apiserver")


class APIServer:
    """Answers requests, by its routes."""

    def __init__(
        self, authenticator: RequestAuthenticator, authorizer: Authorizer, clock: Clock, metrics: Registry
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._clock = clock
        self._yaml_bodies = YAMLBodies()
        self.routes = Routes()
        self.auditor: Auditor | None = None
        self.shared_store: SharedStore | None = None
        """Set where others write to the store too."""
        self.gate: Gate | None = None
        """What lets requests in, in some order; without one everybody is let in at once."""
        self.limits = RequestLimits()
        self.watch_seconds: Callable[[], float] = lambda: self.limits.min_request_timeout_seconds
        self.metrics = RequestMetrics(metrics)

    async def handle(self, request: Request, audit_id: str = "") -> AnyResponse:
        """Answer any request: never raises. The answer carries the identifier, where there is one."""
        started = time.perf_counter()
        info = request_info.parse(request)
        counted, in_flight, is_write = self.metrics, self.metrics.in_flight, is_mutating(info)
        in_flight[is_write] += 1
        context = RequestContext(request, info, _NOBODY, self._clock.now())
        try:
            response = await self._answer(context)
        except errors.StatusError as error:
            response = self._failed(context, error)
        except TimeoutError:
            context.is_terminated = True
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
            in_flight[is_write] -= 1
            raise
        if context.audit is not None:
            response = await context.audit.answered(response)
        if isinstance(response, negotiation.ToBeYAML):
            response = await self._yaml_bodies.write(response)
        elif negotiation.wants_indentation(request) and _is_of_api(request.path):
            response = negotiation.indented(response)
        if audit_id:
            response = with_headers(response, audit_id, context.answer_headers)
        in_flight[is_write] -= 1
        meter = counted.of(request, info, self.routes.knows)
        if meter is not None:
            meter.answered(request, response, time.perf_counter() - started)
            if context.is_terminated:
                meter.terminated(response)
            if context.deprecation:
                counted.requested_deprecated(info, context.deprecation)
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
            identity = context.request.identity
            context.user = identity if type(identity) is UserInfo else await self._authenticated(context)
        except errors.Unauthorized:
            if auditor is not None:
                auditor.refused(context)
            raise
        attributes = context.attributes()
        if auditor is not None:
            await auditor.begin(context, attributes)
        if "impersonate-" in " ".join(context.request.headers):
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
        started = time.perf_counter()
        verdict = await self._authorizer.authorize(attributes)
        self.metrics.decided(verdict, time.perf_counter() - started)
        if context.audit is not None:
            context.audit.authorized(verdict)
        if not verdict.is_allowed:
            if verdict.error:
                return _undecided(context.request, verdict.error)
            raise denial(attributes, verdict.reason)
        if self.shared_store is not None:
            is_known = self.routes.knows(context.info)
            await self.shared_store.prepare(context.request.method, context.info, is_known=is_known)
        route = self.routes.find(context.request.method, context.info, is_own=context.user is OWN)
        await self._yaml_bodies.read_ahead(context)
        return await route(context)

    async def _authenticated(self, context: RequestContext) -> UserInfo:
        started = time.perf_counter()
        try:
            known = await self._authenticator.authenticate(context.request)
        except AuthenticationFailed as failure:
            _log.debug("Authentication failed", reason=str(failure))
            self.metrics.authentications["error"].observe(time.perf_counter() - started)
            raise errors.Unauthorized from failure
        result: AuthenticationResult = "failure" if known is None else "success"
        self.metrics.authentications[result].observe(time.perf_counter() - started)
        if known is None:
            raise errors.Unauthorized
        self.metrics.known(known.user.name)
        if known.audit_annotation is not None:
            key, value = known.audit_annotation
            context.audit_annotations[key] = value
            if known.warning:
                context.warn(known.warning)
        return known.user

    def _failed(self, context: RequestContext, error: errors.StatusError) -> Response:
        return negotiation.respond_error(error, context.request.headers.get("accept", ""), warnings=context.warnings)


_NOBODY = UserInfo("")


def with_headers(response: AnyResponse, audit_id: str, headers: Mapping[str, str]) -> AnyResponse:
    """The answer with these headers too, its own first. A connection that leaves HTTP writes its own head."""
    if isinstance(response, Response):
        all_headers = {HEADER: audit_id, **headers, **response.headers}
        return Response(response.status, all_headers, response.body, response.pace)
    if isinstance(response, StreamingResponse):
        return StreamingResponse(response.status, {HEADER: audit_id, **headers, **response.headers}, response.serve)
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
