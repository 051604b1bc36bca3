"""VolumeRestrictions: a claim with access mode ReadWriteOncePod is used by one pod at a time."""

from __future__ import annotations

import numpy as np

from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(
    ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",)
)


class VolumeRestrictions:
    name = "VolumeRestrictions"
    scope = Scope.CLUSTER
    wakes_on = frozenset({Event.ASSIGNED_POD_REMOVED, Event.VOLUMES_CHANGED, Event.NODE_ADDED})

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """False everywhere while some pod of the cluster uses a claim that only one may use."""
        for name in pod.claims:
            key = (pod.namespace, name)
            claim = state.objects.claims.get(key)
            if claim is not None and "ReadWriteOncePod" in claim.access_modes and nodes.claim_users(key):
                return np.zeros(len(nodes), np.bool_)[rows]
        return None

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Which claims are in use, and where."""
        wishes = []
        for name in pod.claims:
            key = (pod.namespace, name)
            claim = state.objects.claims.get(key)
            if claim is not None and "ReadWriteOncePod" in claim.access_modes and nodes.claim_users(key):
                users = ", ".join(sorted(nodes.claim_users(key)))
                wishes.append(f"remove the pod on node {users} that uses claim {name}, which is for one pod at a time")
        return tuple(wishes)
