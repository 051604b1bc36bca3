"""SchedulingGates: a pod that has gates is not tried before they are removed."""

from __future__ import annotations

from typing import Final

from keelback.scheduling.pod_info import PodInfo

NAME: Final = "SchedulingGates"
MESSAGE: Final = "Scheduling is blocked due to non-empty scheduling gates"


def holds_back(pod: PodInfo) -> bool:
    """Whether the pod is not to be tried yet."""
    return bool(pod.gates)
