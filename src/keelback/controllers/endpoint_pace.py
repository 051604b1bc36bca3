"""How soon after each other the endpoints of one Service are written, while its pods keep changing.

Each write goes to every node, whole. A change after a quiet time is written at once; then the Service rests, the longer
the more endpoints it has, so that what changes meanwhile goes into one write. A small Service never rests.
"""

from __future__ import annotations

from typing import Final

from keelback.api.core_v1 import Service

FREE_ENDPOINTS: Final = 100
"""A Service with so many, which one slice holds, is written as often as they change."""
SECONDS_PER_ENDPOINT: Final = 0.0025
"""What each further one adds: a Service with 1,000 is written every 2.25 seconds at most."""
MOST_SECONDS: Final = 3.0


class Pace:
    """Remembers, of each Service, until when it rests. Times are those of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._rests: dict[tuple[str, str], tuple[str, float]] = {}

    def seconds_left(self, service: Service, now: float) -> float:
        """How long the Service still rests: 0 once it does not, or has itself changed since."""
        metadata = service.metadata
        version, until = self._rests.get((metadata.namespace, metadata.name), ("", 0.0))
        return max(0.0, until - now) if version == metadata.resource_version else 0.0

    def wrote(self, service: Service, endpoints: int, now: float) -> None:
        """Something was written just now for the Service, which has so many endpoints."""
        key = (service.metadata.namespace, service.metadata.name)
        rest = min(MOST_SECONDS, (endpoints - FREE_ENDPOINTS) * SECONDS_PER_ENDPOINT)
        if rest > 0:
            self._rests[key] = (service.metadata.resource_version, now + rest)
        else:
            self._rests.pop(key, None)

    def forget(self, namespace: str, name: str) -> None:
        """The Service is gone."""
        self._rests.pop((namespace, name), None)
