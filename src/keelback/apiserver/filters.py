"""What stands around all requests from the network: headers for browsers, and the ends of connections. Off by default.

As upstream's WithCORS, WithHSTS and WithProbabilisticGoaway (k8s.io/apiserver, pkg/server/filters).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keelback.apimachinery import go_regexp
from keelback.apiserver.audit_ids import HEADER
from keelback.component.http import AnyResponse, Handler, LastResponse, Request, Response, StreamingResponse

_CORS: Final[Mapping[str, str]] = {
    "access-control-allow-methods": "POST, GET, OPTIONS, PUT, DELETE, PATCH",
    "access-control-allow-headers": "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, "
    "X-Requested-With, If-Modified-Since",
    "access-control-expose-headers": "Date",
    "access-control-allow-credentials": "true",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSettings:
    """What is asked for; nothing, unless it is said."""

    cors_allowed_origins: tuple[str, ...] = ()
    """Go's regular expressions of the origins whose pages may ask with a user's credentials."""
    strict_transport_security: tuple[str, ...] = ()
    """The directives of the header of that name."""
    goaway_chance: float = 0.0
    """The share of requests whose connection ends with the answer, so that its client spreads anew over all servers."""


NO_FILTERS: Final = FilterSettings()


def around(
    handler: Handler, settings: FilterSettings, new_audit_id: Callable[[Request], str], chance: random.Random
) -> Handler:
    """The handler in its filters: itself where nothing is asked for. Raises ValueError for what is no expression."""
    if settings.cors_allowed_origins:
        handler = _with_cors(handler, settings.cors_allowed_origins, new_audit_id)
    if settings.strict_transport_security:
        handler = _with_hsts(handler, "; ".join(settings.strict_transport_security))
    if settings.goaway_chance:
        handler = _with_goaway(handler, settings.goaway_chance, chance)
    return handler


def _with_cors(handler: Handler, origins: tuple[str, ...], new_audit_id: Callable[[Request], str]) -> Handler:
    allowed = [go_regexp.compiled(one) for one in origins]

    async def handle(request: Request) -> AnyResponse:
        origin = request.headers.get("origin", "")
        if not origin or not any(one.search(origin) for one in allowed):
            return await handler(request)
        headers = {"access-control-allow-origin": origin, **_CORS}
        if request.method == "OPTIONS":
            # What a browser asks before the request itself: it has no credentials yet.
            own = {HEADER: new_audit_id(request), "cache-control": "no-cache, private"}
            return Response(204, {**own, **headers})
        return _with_headers(await handler(request), headers)

    return handle


def _with_hsts(handler: Handler, directives: str) -> Handler:
    headers = {"strict-transport-security": directives}

    async def handle(request: Request) -> AnyResponse:
        return _with_headers(await handler(request), headers)

    return handle


def _with_goaway(handler: Handler, share: float, chance: random.Random) -> Handler:
    async def handle(request: Request) -> AnyResponse:
        response = await handler(request)
        if chance.random() >= share or not isinstance(response, Response):
            return response
        return LastResponse(response.status, response.headers, response.body, response.pace)

    return handle


def _with_headers(response: AnyResponse, headers: Mapping[str, str]) -> AnyResponse:
    """The answer with these too, its own first. A connection that leaves HTTP writes its own head."""
    if isinstance(response, Response):
        return Response(response.status, {**headers, **response.headers}, response.body, response.pace)
    if isinstance(response, StreamingResponse):
        return StreamingResponse(response.status, {**headers, **response.headers}, response.serve)
    return response
