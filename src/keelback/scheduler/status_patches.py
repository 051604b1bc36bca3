"""What the scheduler writes into the status of pods: patches of the fields it owns, and nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from keelback.client.patches import StrategicMergePatch
from keelback.scheduling.pod_to_place import PodToPlace


def pod_scheduled_false(
    pod: PodToPlace, reason: str, message: str, now: datetime, nominated_node_name: str | None = None
) -> StrategicMergePatch | None:
    """Say that the pod has no node and why; None when its status says so already.

    `nominated_node_name` is written where it is given: empty removes it.
    """
    old = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
    status: dict[str, Any] = {}
    if old is None or (old.status, old.reason, old.message) != ("False", reason, message):
        since = old.last_transition_time if old is not None and old.status == "False" else None
        condition: dict[str, Any] = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": seconds(since or now),
        }
        if pod.metadata.generation:
            condition["observedGeneration"] = pod.metadata.generation
        status["conditions"] = [condition]
    if nominated_node_name is not None and nominated_node_name != pod.status.nominated_node_name:
        status["nominatedNodeName"] = nominated_node_name or None
    return StrategicMergePatch({"status": status}) if status else None


def no_nomination() -> StrategicMergePatch:
    """Take back the promise of a node."""
    return StrategicMergePatch({"status": {"nominatedNodeName": None}})


def preempted(scheduler_name: str, now: datetime) -> StrategicMergePatch:
    """Say why a victim has to go."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": f"{scheduler_name}: preempting to accommodate a higher priority pod",
        "lastProbeTime": None,
        "lastTransitionTime": seconds(now),
    }
    return StrategicMergePatch({"status": {"conditions": [condition]}})


def seconds(instant: datetime) -> str:
    """An instant as conditions have it."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
