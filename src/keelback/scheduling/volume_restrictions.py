"""VolumeRestrictions: a claim with access mode ReadWriteOncePod is used by one pod at a time, and a disk that pods name
themselves by one pod of a node, or by readers alone."""

from __future__ import annotations

import numpy as np

from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(
    ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",)
)

_DISK = Unschedulable(("node(s) had no available disk",))


class VolumeRestrictions:
    name = "VolumeRestrictions"
    scope = Scope.CLUSTER
    wakes_on = frozenset({Event.ASSIGNED_POD_REMOVED, Event.VOLUMES_CHANGED, Event.NODE_ADDED})

    def concerns(self, pod: PodInfo) -> bool:
        """Whether the pod has volumes that this is about."""
        return bool(pod.claims or pod.disks)

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """False everywhere while some pod uses a claim that only one may use, and where disks are taken."""
        for name in pod.claims:
            key = (pod.namespace, name)
            claim = state.objects.claims.get(key)
            if claim is not None and "ReadWriteOncePod" in claim.access_modes and nodes.claim_users(key):
                return np.zeros(len(nodes), np.bool_)[rows]
        taken = _taken(pod, nodes)
        if not taken:
            return None
        mask = np.ones(len(nodes), np.bool_)
        mask[taken] = False
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Disks are looked at first, as upstream."""
        return _DISK if row in _taken(pod, nodes) else _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Which claims are in use, and where."""
        wishes = []
        for name in pod.claims:
            key = (pod.namespace, name)
            claim = state.objects.claims.get(key)
            if claim is not None and "ReadWriteOncePod" in claim.access_modes and nodes.claim_users(key):
                users = ", ".join(sorted(nodes.claim_users(key)))
                wishes.append(f"remove the pod on node {users} that uses claim {name}, which is for one pod at a time")
        if row in _taken(pod, nodes):
            wishes.append("remove the pod on the node that uses a disk of this pod")
        return tuple(wishes)


def _taken(pod: PodInfo, nodes: NodeTable) -> list[int]:
    # The rows where another pod uses a disk in a way that leaves none for this one.
    return [
        row
        for disk, read_only in pod.disks
        for node_name, use in nodes.disk_users(disk).items()
        if (use.writers or not read_only) and (row := nodes.row_of.get(node_name)) is not None
    ]
