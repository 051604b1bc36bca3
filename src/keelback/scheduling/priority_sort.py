"""PrioritySort: the higher priority first; among equals, who has waited longer."""

from __future__ import annotations

from keelback.scheduling.pod_info import PodInfo


def rank(pod: PodInfo, queued_at: float) -> tuple[int, float]:
    """A key for sorting: the smaller comes first. `queued_at` in seconds."""
    return -pod.priority, queued_at
