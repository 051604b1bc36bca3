"""The Audit-Id of an answer: what a client's log and a server's log have in common about one request."""

from __future__ import annotations

import random
from typing import Final

from keelback.component.http import Request

HEADER: Final = "audit-id"
# The bits of a UUID that say its version, 4, and its variant (RFC 9562).
_RANDOM = ~((0xF << 76) | (0x3 << 62))
_FIXED = (0x4 << 76) | (0x2 << 62)


class AuditIDs:
    """Names requests. An identifier that the client has given is kept as it is (upstream: `WithAuditInit`)."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def of(self, request: Request) -> str:
        """The identifier of a request."""
        return request.headers.get(HEADER) or self.new()

    def new(self) -> str:
        """A new identifier."""
        # Every answer pays for this: uuid.UUID takes twice as long.
        digits = f"{self._chance.getrandbits(128) & _RANDOM | _FIXED:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
