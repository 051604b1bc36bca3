"""Which requests are let in at once: what priority and fairness and the plain limits on requests in flight share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias

from keelback.apiserver.context import RequestContext
from keelback.apiserver.request_info import RequestInfo
from keelback.auth.attributes import Attributes
from keelback.component.http import TEXT_HEADERS, AnyResponse, Response

Proceed: TypeAlias = Callable[[RequestContext, Attributes], Coroutine[Any, Any, AnyResponse]]

_READS = frozenset({"get", "list", "watch", "head", "options"})
_BODY = b"Too many requests, please try again later.\n"


class Gate(Protocol):
    """Lets requests in, in some order, or turns them away."""

    async def serve(self, context: RequestContext, attributes: Attributes, proceed: Proceed) -> AnyResponse:
        """The answer of `proceed` when the request's turn has come, or one that says to come back later."""
        ...


def is_mutating(info: RequestInfo) -> bool:
    """Whether a request counts as a write."""
    return info.verb not in _READS


def too_many_requests(retry_after_seconds: int) -> Response:
    """The answer to who is turned away."""
    return Response(429, {**TEXT_HEADERS, "retry-after": str(retry_after_seconds)}, _BODY)
