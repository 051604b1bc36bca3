"""SchedulingGates: a pod that has gates is not considered before they are removed."""

from __future__ import annotations

from keelback.scheduling.pod_info import PodInfo

NAME = "SchedulingGates"


def waiting_message(pod: PodInfo) -> str | None:
    """What the pod waits for, or None when nothing holds it back."""
    return f"waiting for scheduling gates: [{' '.join(pod.gates)}]" if pod.gates else None
