"""What a server lets in at once and how long requests may take, as upstream's flags say."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keelback.apimachinery import errors
from keelback.component.flags import parse_duration

_DURATION_PROBLEM: Final = "invalid timeout specified in the request URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """The limits of one server; times in seconds. Without priority and fairness, 0 requests in flight are no limit."""

    enable_priority_and_fairness: bool = True
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    request_timeout_seconds: float = 60.0
    min_request_timeout_seconds: float = 1800.0

    @property
    def seats(self) -> int:
        """How many requests of the usual width may be in work at once."""
        return self.max_requests_inflight + self.max_mutating_requests_inflight

    def watch_seconds(self, chance: random.Random) -> Callable[[], float]:
        """How long a watch lasts whose client leaves it to the server: spread, so that not all come back at once."""
        return lambda: self.min_request_timeout_seconds * (1.0 + chance.random())

    def timeout_seconds(self, asked: str) -> float:
        """How long a request may take whose query asks for that. Raises BadRequest for what is no duration."""
        if not asked:
            return self.request_timeout_seconds
        try:
            seconds = parse_duration(asked)
        except ValueError as error:
            raise errors.BadRequest(f"{_DURATION_PROBLEM} - {error}") from None
        return min(seconds, self.request_timeout_seconds) if seconds > 0 else self.request_timeout_seconds


DEFAULT: Final = RequestLimits()
