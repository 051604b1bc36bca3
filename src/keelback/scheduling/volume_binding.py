"""VolumeBinding: a pod's claims must be bound, or be bindable where the pod goes.

A claim whose class binds immediately must be bound before the pod is placed; one that waits for its first consumer must
find a volume on the node, or a provisioner that makes one there and, as far as it tells, has the room.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import numpy as np

from keelback.scheduling import label_selectors, node_selectors
from keelback.scheduling.cluster_objects import ClaimInfo, ClassInfo, ClusterObjects, VolumeInfo
from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, OnlyNodes, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_UNBOUND = Unschedulable(("pod has unbound immediate PersistentVolumeClaims",), unresolvable=True)
_NO_VOLUME: Final = "node(s) didn't find available persistent volumes to bind"
_NO_SPACE: Final = "node(s) did not have enough free storage"
_CONFLICT: Final = "node(s) didn't match PersistentVolume's node affinity"
_GONE: Final = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"

ClaimKey: TypeAlias = tuple[str, str]
"""Namespace and name."""

DEFAULT_BIND_TIMEOUT_SECONDS: Final = 600.0


class VolumeBinding:
    def __init__(self, bind_timeout_seconds: float = DEFAULT_BIND_TIMEOUT_SECONDS) -> None:
        self.bind_timeout_seconds = bind_timeout_seconds
        """How long a pod that has a node waits for its claims to be bound."""

    name = "VolumeBinding"
    scope = Scope.CLUSTER
    wakes_on = frozenset({Event.NODE_ADDED, Event.NODE_LABELS_CHANGED, Event.VOLUMES_CHANGED, Event.POD_CHANGED})

    def concerns(self, pod: PodInfo) -> bool:
        """Whether the pod has claims."""
        return bool(pod.claims)

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
        if all(_is_anywhere(state.objects, claim) for _, claim in _claims(state.objects, pod)):
            return None
        mask = np.ones(len(nodes), np.bool_)
        for broken, _ in _broken(state.objects, pod, nodes):
            mask &= ~broken
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """All of: bound volumes are out of reach, there is nothing to bind, no room, the volume is gone."""
        broken = _broken(state.objects, pod, nodes)
        return Unschedulable(tuple(reason for mask, reason in broken if mask[row]), unresolvable=True)

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """What each claim is bound to, or waits for."""
        wishes = []
        for key, claim in _claims(state.objects, pod):
            if claim.is_bound:
                if not _bound_mask(state.objects, claim, nodes)[row]:
                    wishes.append(f"claim {key[1]} is bound to volume {claim.volume_name}, which is not to be had here")
            elif not (_static_mask(state.objects, key, claim, nodes) | _made_mask(state.objects, claim, nodes))[row]:
                wishes.append(f"offer a volume of class {claim.storage_class!r} that claim {key[1]} can have here")
        return tuple(wishes) or ("offer a volume for each of the pod's claims",)


def waits_for_consumer(objects: ClusterObjects, claim: ClaimInfo) -> bool:
    """Whether the claim is to be bound only when a pod that uses it has a node."""
    found = objects.classes.get(claim.storage_class)
    return found is not None and found.waits_for_consumer and not claim.volume_name


def choose_volumes(
    objects: ClusterObjects, claims: Iterable[tuple[ClaimKey, ClaimInfo]], nodes: NodeTable, row: int
) -> dict[ClaimKey, str | None]:
    """For each unbound claim the smallest existing volume that it can have on the node, and no volume twice.

    None where one must be provisioned. The smallest claims choose first, as upstream has it. A claim that a provisioner
    is at work for takes no existing volume.
    """
    chosen: dict[ClaimKey, str | None] = {}
    for key, claim in sorted(claims, key=lambda one: one[1].storage_bytes):
        fitting = [
            (volume.claim != key, volume.storage_bytes, name)
            for name, volume in objects.volumes.items()
            if not claim.selected_node
            and name not in chosen.values()
            and _suits(volume, key, claim)
            and _volume_mask(volume, nodes)[row]
        ]
        # A volume that somebody reserved for the claim comes before those that are free to all.
        chosen[key] = min(fitting)[2] if fitting else None
    return chosen


def _broken(objects: ClusterObjects, pod: PodInfo, nodes: NodeTable) -> list[tuple[Mask, str]]:
    # Where each of upstream's four reasons holds, in its order.
    conflict, no_volume, no_space, gone = (np.zeros(len(nodes), np.bool_) for _ in range(4))
    unbound = []
    for key, claim in _claims(objects, pod):
        if not claim.is_bound:
            unbound.append((key, claim))
        elif claim.volume_name in objects.volumes:
            conflict |= ~_bound_mask(objects, claim, nodes)
        else:
            gone[:] = True
    for key, claim in unbound:
        static = _static_mask(objects, key, claim, nodes)
        no_volume |= ~(static | _topology_mask(objects, claim, nodes))
        no_space |= ~(static | _capacity_mask(objects, claim, nodes)) & _topology_mask(objects, claim, nodes)
    if len(unbound) > 1:
        # Alone each finds a volume; together they may want the same one.
        for row in np.flatnonzero(~(conflict | no_volume | no_space | gone)).tolist():
            chosen = choose_volumes(objects, unbound, nodes, row)
            for key, claim in unbound:
                if chosen[key] is None and not _made_mask(objects, claim, nodes)[row]:
                    no_volume[row] |= not _topology_mask(objects, claim, nodes)[row]
                    no_space[row] |= not no_volume[row]
    return [(conflict, _CONFLICT), (no_volume, _NO_VOLUME), (no_space, _NO_SPACE), (gone, _GONE)]


def _claims(objects: ClusterObjects, pod: PodInfo) -> list[tuple[ClaimKey, ClaimInfo]]:
    keys = [(pod.namespace, name) for name in dict.fromkeys(pod.claims)]
    return [(key, objects.claims.get(key, ClaimInfo())) for key in keys]


def _is_anywhere(objects: ClusterObjects, claim: ClaimInfo) -> bool:
    """Whether the claim is bound to a volume that every node reaches."""
    volume = objects.volumes.get(claim.volume_name) if claim.is_bound else None
    return volume is not None and volume.node_affinity is None


def _bound_mask(objects: ClusterObjects, claim: ClaimInfo, nodes: NodeTable) -> Mask:
    volume = objects.volumes.get(claim.volume_name)
    return np.zeros(len(nodes), np.bool_) if volume is None else _volume_mask(volume, nodes)


def _static_mask(objects: ClusterObjects, key: ClaimKey, claim: ClaimInfo, nodes: NodeTable) -> Mask:
    mask = np.zeros(len(nodes), np.bool_)
    if claim.selected_node:
        return mask
    for volume in objects.volumes.values():
        if _suits(volume, key, claim):
            mask |= _volume_mask(volume, nodes)
    return mask


def _made_mask(objects: ClusterObjects, claim: ClaimInfo, nodes: NodeTable) -> Mask:
    return _topology_mask(objects, claim, nodes) & _capacity_mask(objects, claim, nodes)


def _topology_mask(objects: ClusterObjects, claim: ClaimInfo, nodes: NodeTable) -> Mask:
    # Where the class has a provisioner that makes volumes for the claim.
    found = objects.classes.get(claim.storage_class)
    if found is None or not found.provisions:
        return np.zeros(len(nodes), np.bool_)
    row = nodes.row_of.get(claim.selected_node)
    if row is not None:
        # A provisioner is at work for a node chosen earlier: going elsewhere would leave a volume behind.
        mask = np.zeros(len(nodes), np.bool_)
        mask[row] = True
        return mask
    return _allowed_mask(found, nodes)


def _allowed_mask(found: ClassInfo, nodes: NodeTable) -> Mask:
    if not found.allowed_topologies:
        return np.ones(len(nodes), np.bool_)
    anywhere = np.zeros(len(nodes), np.bool_)
    for term in found.allowed_topologies:
        together = np.ones(len(nodes), np.bool_)
        for key, values in term:
            together &= node_selectors.values_mask(nodes, key, values)
        # A term that says nothing allows nothing.
        anywhere |= together & bool(term)
    return anywhere


def _capacity_mask(objects: ClusterObjects, claim: ClaimInfo, nodes: NodeTable) -> Mask:
    # Only drivers that say they publish CSIStorageCapacity are held to it; one at work already has its own judgement.
    found = objects.classes.get(claim.storage_class)
    if found is None or claim.selected_node or found.provisioner not in objects.drivers_with_capacity:
        return np.ones(len(nodes), np.bool_)
    mask = np.zeros(len(nodes), np.bool_)
    for capacity in objects.capacities.values():
        if capacity.storage_class == claim.storage_class and capacity.largest_bytes >= claim.storage_bytes:
            mask |= node_selectors.requirements_mask(nodes, capacity.node_topology)
    return mask


def _volume_mask(volume: VolumeInfo, nodes: NodeTable) -> Mask:
    if volume.node_affinity is None:
        return np.ones(len(nodes), np.bool_)
    return node_selectors.selector_mask(nodes, volume.node_affinity)


def _suits(volume: VolumeInfo, key: ClaimKey, claim: ClaimInfo) -> bool:
    return (
        volume.phase in ("Available", "")
        and volume.claim in (None, key)
        and volume.storage_class == claim.storage_class
        and volume.volume_mode == claim.volume_mode
        and volume.storage_bytes >= claim.storage_bytes
        and set(claim.access_modes) <= set(volume.access_modes)
        and label_selectors.picks(claim.selector, volume.labels)
    )
