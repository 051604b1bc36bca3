"""Passes the requests of one APIService on to the server behind it, as who has been authenticated here.

Answers are passed back piece by piece, watches and upgraded connections too; redirects are not.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import Final

from keelback.admission.webhook_client import certificate_problem
from keelback.api.apiregistration_v1 import APIServiceSpec, ServiceReference
from keelback.apimachinery import errors
from keelback.apiserver import request_header_identity as identity_headers
from keelback.apiserver.api_service_routing import CertificateProblem, Dialling, NoRouteError, Target
from keelback.apiserver.context import RequestContext
from keelback.apiserver.request_info import is_long_running
from keelback.auth.users import UserInfo
from keelback.client.https import HTTPSTransport
from keelback.client.transport import StreamedResponse
from keelback.client.upgrade_proxy import pass_on
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse, Writer, text_response

# Upstream's request timeout.
_REQUEST_SECONDS: Final = 60.0
# Of what has no end: longer than any server lets a watch last before it says so itself.
_LONG_RUNNING_SECONDS: Final = 3600.0
_KEPT_TARGETS: Final = 16
_ANSWER_DROPPED: Final = re.compile(
    r"connection|content-length|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|date|audit-id"
    r"|access-control-allow-(credentials|headers|methods|origin)"
)


class APIServiceProxy:
    """The server of one APIService. `is_available` is what the APIService's condition says."""

    def __init__(self, dialling: Dialling, identity_names: frozenset[str]) -> None:
        """`identity_names` are headers that name users in this cluster, which no client's request keeps."""
        self._dialling = dialling
        self._identity_names = identity_names
        self._spec = APIServiceSpec()
        self._certificate_time: tuple[int, ...] = ()
        self._context: ssl.SSLContext | CertificateProblem | None = None
        self._transports: dict[Target, HTTPSTransport] = {}
        self._retired: list[HTTPSTransport] = []
        self.is_available = False

    def use(self, spec: APIServiceSpec) -> None:
        """Pass requests on as this spec says, from now on."""
        if spec != self._spec:
            self._spec = spec
            self._begin_anew()

    def refresh(self) -> None:
        """Use the proxy's own certificate as it is now."""
        if self._dialling.certificate_time() != self._certificate_time:
            self._begin_anew()

    async def close(self) -> None:
        """Give up the connections that are idle."""
        self._begin_anew()
        while self._retired:
            await self._retired.pop().close()

    async def handle(self, context: RequestContext) -> AnyResponse:
        """Answer a request that has been authenticated and authorized."""
        if not self.is_available:
            return _failed("service unavailable")
        try:
            transport = await self._transport()
        except NoRouteError:
            return _failed("service unavailable")
        except CertificateProblem as problem:
            return text_response(f"{problem}\n", 500)
        request = self._request(context)
        if "upgrade" in context.request.headers:
            return await self._upgrade(transport, request)
        if request.method == "HEAD":
            return await self._head(transport, request)
        seconds = _LONG_RUNNING_SECONDS if is_long_running(context.info) else _REQUEST_SECONDS
        return await self._stream(transport, request, seconds)

    async def fetch(
        self, path: str, headers: Mapping[str, str], user: UserInfo, *, timeout_seconds: float, most_bytes: int
    ) -> Response:
        """What the server answers this server itself, acting as `user`.

        Raises OSError (also for an answer that is too large), TimeoutError, NoRouteError, CertificateProblem.
        """
        transport = await self._transport()
        request = Request("GET", path, headers=headers, header_lines=identity_headers.identity(user))
        async with (
            asyncio.timeout(timeout_seconds),
            transport.stream(request, timeout_seconds=timeout_seconds) as answer,
        ):
            pieces, size = [], 0
            async for piece in answer.chunks():
                pieces.append(piece)
                size += len(piece)
                if size > most_bytes:
                    raise ConnectionError(f"{path} is larger than {most_bytes} bytes")
            return Response(answer.status, answer.headers, b"".join(pieces))

    def _request(self, context: RequestContext) -> Request:
        given = context.request
        headers = identity_headers.passed_on(given, self._identity_names)
        earlier = [headers["x-forwarded-for"]] if "x-forwarded-for" in headers else []
        headers |= {
            "x-forwarded-for": ", ".join([*earlier, given.remote or "127.0.0.1"]),
            "x-forwarded-host": given.headers.get("host", ""),
            "x-forwarded-proto": "https",
        }
        if "upgrade" in given.headers:
            headers = identity_headers.upgrading(headers, given)
        return Request(
            given.method,
            given.path,
            given.query,
            headers,
            given.body,
            header_lines=identity_headers.identity(context.user),
        )

    async def _stream(self, transport: HTTPSTransport, request: Request, timeout_seconds: float) -> AnyResponse:
        clock = self._dialling.clock
        began = clock.monotonic()
        stack = transport.stream(request, timeout_seconds=timeout_seconds)
        try:
            answer = await stack.__aenter__()
        except (OSError, TimeoutError, ValueError) as error:
            if isinstance(error, TimeoutError) and clock.monotonic() - began >= timeout_seconds:
                raise errors.Timeout("request did not complete within the allotted timeout") from error
            return _failed(f"error trying to reach service: {reason(error, transport.address)}")
        if _is_redirect(answer.status, answer.headers):
            await stack.__aexit__(None, None, None)
            return _refused_redirect()

        async def serve(writer: Writer) -> None:
            try:
                await _copy(answer, writer)
            finally:
                await stack.__aexit__(None, None, None)

        return StreamingResponse(answer.status, _answer_headers(answer.headers), serve)

    async def _head(self, transport: HTTPSTransport, request: Request) -> AnyResponse:
        try:
            answer = await transport.send(request, timeout_seconds=_REQUEST_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            return _failed(f"error trying to reach service: {reason(error, transport.address)}")
        if _is_redirect(answer.status, answer.headers):
            return _refused_redirect()
        return Response(answer.status, _answer_headers(answer.headers))

    async def _upgrade(self, transport: HTTPSTransport, request: Request) -> AnyResponse:
        try:
            answer = await pass_on(transport, request, request.path, request.query, all_headers=True)
        except (OSError, TimeoutError, ValueError) as error:
            return _failed(f"error dialing backend: {reason(error, transport.address)}")
        if isinstance(answer, Response):
            if _is_redirect(answer.status, answer.headers):
                return _refused_redirect()
            return Response(answer.status, _answer_headers(answer.headers), answer.body)
        return answer

    async def _transport(self) -> HTTPSTransport:
        """A transport to one of the targets. Raises NoRouteError, CertificateProblem."""
        spec = self._spec
        assert spec.service is not None
        while self._retired:
            await self._retired.pop().close()
        target = await self._dialling.routing.target(spec.service)
        known = self._transports.get(target)
        if known is None:
            known = self._made(spec, spec.service, target)
        return known

    def _made(self, spec: APIServiceSpec, reference: ServiceReference, target: Target) -> HTTPSTransport:
        if self._context is None:
            self._certificate_time = self._dialling.certificate_time()
            try:
                self._context = self._dialling.context(spec)
            except CertificateProblem as problem:
                self._context = problem
        if isinstance(self._context, CertificateProblem):
            raise self._context
        while len(self._transports) >= _KEPT_TARGETS:
            # Endpoints come and go; requests that are under way keep their connection.
            self._retired.append(self._transports.pop(next(iter(self._transports))))
        made = self._transports[target] = self._dialling.transport(reference, target, self._context)
        return made

    def _begin_anew(self) -> None:
        self._context = None
        self._retired.extend(self._transports.values())
        self._transports.clear()


def reason(error: Exception, address: str) -> str:
    """Why a server is not reached, in Go's words as far as they are known."""
    match error:
        case ssl.SSLCertVerificationError():
            return certificate_problem(error)
        case TimeoutError():
            return f"dial tcp {address}: i/o timeout"
        case ConnectionRefusedError():
            return f"dial tcp {address}: connect: connection refused"
        case ConnectionResetError():
            return "EOF"
    return str(error) or type(error).__name__


async def _copy(answer: StreamedResponse, writer: Writer) -> None:
    """Pass an answer's body back until it ends, or nobody reads it any more: a quiet watch would not notice."""

    async def carry() -> None:
        async for chunk in answer.chunks():
            writer.write(chunk)
            await writer.drain()

    carrying = asyncio.ensure_future(carry())
    leaving = asyncio.ensure_future(writer.wait_closed())
    try:
        await asyncio.wait((carrying, leaving), return_when=asyncio.FIRST_COMPLETED)
        if carrying.done():
            carrying.result()
    finally:
        carrying.cancel()
        leaving.cancel()
        await asyncio.gather(carrying, leaving, return_exceptions=True)


def _answer_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not _ANSWER_DROPPED.fullmatch(name)}


def _is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    return 300 <= status <= 399 and "location" in headers


def _refused_redirect() -> Response:
    # A client that followed it would take its credentials elsewhere.
    return text_response("the backend attempted to redirect this request, which is not permitted", 502)


def _failed(text: str) -> Response:
    return text_response(f"{text}\n", 503)
