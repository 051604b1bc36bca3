"""When the change happened that endpoints are written for: what network programming latency is measured from.

As upstream's trigger time tracker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from keelback.api.core_v1 import Service
from keelback.controllers.observed import PodView

ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


class TriggerTimes:
    """Remembers, of each Service, what it was last asked about."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], Mapping[str, datetime]] = {}

    def observe(self, service: Service, pods: Iterable[PodView]) -> datetime | None:
        """The earliest change since the last time; the Service's creation the first time; None where nothing changed
        that has a time."""
        key = (service.metadata.namespace, service.metadata.name)
        before = self._pods.get(key)
        now = {pod.metadata.name: time for pod in pods if (time := _of_pod(pod)) is not None}
        self._pods[key] = now
        if before is None:
            return service.metadata.creation_timestamp
        changed = [time for name, time in now.items() if name not in before or time > before[name]]
        return min(changed, default=None)

    def forget(self, namespace: str, name: str) -> None:
        """The Service is gone."""
        self._pods.pop((namespace, name), None)


def annotated(annotations: Mapping[str, str], time: datetime | None) -> dict[str, str]:
    """The annotations with the time, or without one."""
    kept = {key: value for key, value in annotations.items() if key != ANNOTATION}
    if time is not None:
        kept[ANNOTATION] = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return kept


def _of_pod(pod: PodView) -> datetime | None:
    return next((one.last_transition_time for one in pod.status.conditions if one.type == "Ready"), None)
