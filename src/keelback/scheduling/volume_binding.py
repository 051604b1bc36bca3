"""VolumeBinding: a pod's claims must be bound, or be bindable where the pod goes.

A claim whose class binds immediately must be bound before the pod is placed; one that waits for its first consumer must
find a volume on the node, or a provisioner that makes one.
"""

from __future__ import annotations

import numpy as np

from keelback.scheduling import label_selectors, node_affinity
from keelback.scheduling.cluster_objects import ClaimInfo, ClusterObjects, VolumeInfo
from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, OnlyNodes, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_UNBOUND = Unschedulable(("pod has unbound immediate PersistentVolumeClaims",), unresolvable=True)
_NO_VOLUME = Unschedulable(("node(s) didn't find available persistent volumes to bind",), unresolvable=True)
_CONFLICT = Unschedulable(("node(s) didn't match PersistentVolume's node affinity",), unresolvable=True)
_GONE = Unschedulable(("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",), unresolvable=True)


class VolumeBinding:
    name = "VolumeBinding"
    scope = Scope.CLUSTER
    wakes_on = frozenset({Event.NODE_ADDED, Event.NODE_LABELS_CHANGED, Event.VOLUMES_CHANGED, Event.POD_CHANGED})

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable) -> Unschedulable | OnlyNodes | None:
        """Why the claims themselves keep the pod from every node."""
        for name in pod.claims:
            claim = state.objects.claims.get((pod.namespace, name))
            if claim is None:
                return Unschedulable((f'persistentvolumeclaim "{name}" not found',), unresolvable=True)
            if claim.phase == "Lost":
                text = f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.volume_name}"'
                return Unschedulable((text,), unresolvable=True)
            if claim.terminating:
                return Unschedulable((f'persistentvolumeclaim "{name}" is being deleted',), unresolvable=True)
            if not claim.is_bound and not waits_for_consumer(state.objects, claim):
                return _UNBOUND
        return None

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the bound volumes can be reached and the unbound claims can be bound."""
        if not pod.claims:
            return None
        mask = np.ones(len(nodes), np.bool_)
        for name in pod.claims:
            claim = state.objects.claims.get((pod.namespace, name))
            if claim is None:
                mask[:] = False
            elif claim.is_bound:
                mask &= _bound_mask(state.objects, claim, nodes)
            else:
                mask &= _bindable_mask(state.objects, (pod.namespace, name), claim, nodes)
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Whether bound volumes are out of reach, or there is nothing to bind."""
        for name in pod.claims:
            claim = state.objects.claims.get((pod.namespace, name))
            if claim is not None and claim.is_bound and not _bound_mask(state.objects, claim, nodes)[row]:
                return _CONFLICT if claim.volume_name in state.objects.volumes else _GONE
        return _NO_VOLUME


def waits_for_consumer(objects: ClusterObjects, claim: ClaimInfo) -> bool:
    """Whether the claim is to be bound only when a pod that uses it has a node."""
    found = objects.classes.get(claim.storage_class)
    return found is not None and found.waits_for_consumer and not claim.volume_name


def choose_volume(
    objects: ClusterObjects, key: tuple[str, str], claim: ClaimInfo, nodes: NodeTable, row: int
) -> str | None:
    """The smallest existing volume that the claim can be bound to on the node; None when one must be provisioned."""
    fitting = [
        (volume.storage_bytes, name)
        for name, volume in objects.volumes.items()
        if _suits(volume, key, claim) and _volume_mask(volume, nodes)[row]
    ]
    return min(fitting)[1] if fitting else None


def _bound_mask(objects: ClusterObjects, claim: ClaimInfo, nodes: NodeTable) -> Mask:
    volume = objects.volumes.get(claim.volume_name)
    return np.zeros(len(nodes), np.bool_) if volume is None else _volume_mask(volume, nodes)


def _bindable_mask(objects: ClusterObjects, key: tuple[str, str], claim: ClaimInfo, nodes: NodeTable) -> Mask:
    found = objects.classes.get(claim.storage_class)
    if found is not None and found.provisions:
        if claim.selected_node:
            # A provisioner is at work for a node chosen earlier: going elsewhere would leave a volume behind.
            mask = np.zeros(len(nodes), np.bool_)
            row = nodes.row_of.get(claim.selected_node)
            if row is not None:
                mask[row] = True
                return mask
        return np.ones(len(nodes), np.bool_)
    mask = np.zeros(len(nodes), np.bool_)
    for volume in objects.volumes.values():
        if _suits(volume, key, claim):
            mask |= _volume_mask(volume, nodes)
    return mask


def _volume_mask(volume: VolumeInfo, nodes: NodeTable) -> Mask:
    if volume.node_affinity is None:
        return np.ones(len(nodes), np.bool_)
    return node_affinity.selector_mask(nodes, volume.node_affinity)


def _suits(volume: VolumeInfo, key: tuple[str, str], claim: ClaimInfo) -> bool:
    return (
        volume.phase in ("Available", "")
        and volume.claim in (None, key)
        and volume.storage_class == claim.storage_class
        and volume.storage_bytes >= claim.storage_bytes
        and set(claim.access_modes) <= set(volume.access_modes)
        and label_selectors.picks(claim.selector, volume.labels)
    )
