"""NodeVolumeLimits: a node takes no more volumes of a CSI driver than its CSINode says.

Each claim in use is counted at most once, so nodes with few claims need no closer look; on the others every volume is
counted once, however many pods and claims use it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) exceed max volume count",))


class NodeVolumeLimits:
    name = "NodeVolumeLimits"
    scope = Scope.CLUSTER
    wakes_on = frozenset({Event.NODE_ADDED, Event.ASSIGNED_POD_REMOVED, Event.VOLUMES_CHANGED})

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the pod's new volumes are within the limit of each driver."""
        if not pod.claims or not state.objects.volume_limits:
            return None
        volumes = _volumes(state.objects, pod.namespace, pod.claims)
        crowded = [
            row
            for name, limits in state.objects.volume_limits.items()
            if (row := nodes.row_of.get(name)) is not None
            and _least(limits, volumes) < int(nodes.claim_count[row]) + len(pod.claims)
        ]
        if not volumes or not crowded:
            return None
        mask = np.ones(len(nodes), np.bool_)
        for row in crowded:
            mask[row] = not _exceeded(state.objects, nodes, row, volumes)
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Which driver has too many volumes, and how many too many."""
        volumes = _volumes(state.objects, pod.namespace, pod.claims)
        return tuple(
            f"free {surplus} volume(s) of driver {driver}, of which the node takes {limit}"
            for driver, surplus, limit in _exceeded(state.objects, nodes, row, volumes)
        )


def _exceeded(
    objects: ClusterObjects, nodes: NodeTable, row: int, volumes: set[tuple[str, str]]
) -> list[tuple[str, int, int]]:
    # Driver, how many volumes too many, limit.
    name = nodes.nodes[row].name
    attached = {
        volume for pod in nodes.pods_on(name) for volume in _volumes(objects, pod.info.namespace, pod.info.claims)
    }
    used = Counter(driver for driver, _ in attached | volumes)
    # A driver that gets nothing new may be beyond its limit: that is no matter of this pod.
    limits, new = objects.volume_limits[name], {driver for driver, _ in volumes - attached}
    return [
        (one, used[one] - limits[one], limits[one]) for one in sorted(new & limits.keys()) if used[one] > limits[one]
    ]


def _least(limits: dict[str, int], volumes: set[tuple[str, str]]) -> float:
    return min((limits[driver] for driver, _ in volumes if driver in limits), default=float("inf"))


def _volumes(objects: ClusterObjects, namespace: str, claims: tuple[str, ...]) -> set[tuple[str, str]]:
    # Driver and handle of each volume that the node would attach through CSI; one to be made is known by its claim.
    found = set()
    for name in claims:
        claim = objects.claims.get((namespace, name))
        volume = objects.volumes.get(claim.volume_name) if claim is not None and claim.volume_name else None
        if volume is not None:
            if volume.driver:
                found.add((volume.driver, volume.handle))
        elif claim is not None:
            storage_class = objects.classes.get(claim.storage_class)
            if storage_class is not None and storage_class.provisioner:
                found.add((storage_class.provisioner, f"{namespace}/{name}"))
    return found
