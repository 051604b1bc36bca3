"""The Audit-Id of an answer: what a client's log and a server's log have in common about one request."""

from __future__ import annotations

import random

from keelback.component.http import AnyResponse, Request, Response, StreamingResponse

_HEADER = "audit-id"
# The bits of a UUID that say its version, 4, and its variant (RFC 9562).
_RANDOM = ~((0xF << 76) | (0x3 << 62))
_FIXED = (0x4 << 76) | (0x2 << 62)


class AuditIDs:
    """Marks answers. An identifier that the client has given is kept as it is (upstream: `WithAuditInit`)."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def mark(self, request: Request, response: AnyResponse) -> AnyResponse:
        """The answer with its header. A connection that leaves HTTP writes its own head, without one."""
        if isinstance(response, Response):
            headers = {_HEADER: self._of(request), **response.headers}
            return Response(response.status, headers, response.body, response.pace)
        if isinstance(response, StreamingResponse):
            headers = {_HEADER: self._of(request), **response.headers}
            return StreamingResponse(response.status, headers, response.serve)
        return response

    def _of(self, request: Request) -> str:
        return request.headers.get(_HEADER) or self.new()

    def new(self) -> str:
        """A new identifier."""
        # Every answer pays for this: uuid.UUID takes twice as long.
        digits = f"{self._chance.getrandbits(128) & _RANDOM | _FIXED:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
