"""VolumeZone: a volume that is labelled with a zone or a region is used there."""

from __future__ import annotations

from typing import Final

import numpy as np

from keelback.api import nodes as api_nodes
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) had no available volume zone",), unresolvable=True)
_SEPARATOR: Final = "__"
_SUCCESSORS: Final = {
    "failure-domain.beta.kubernetes.io/zone": api_nodes.ZONE,
    "failure-domain.beta.kubernetes.io/region": api_nodes.REGION,
}
"""The labels of before 1.17, and what each became: a node that lacks the old one is judged by the new one."""

TOPOLOGY_LABELS: Final = (*_SUCCESSORS, *_SUCCESSORS.values())


class VolumeZone:
    name = "VolumeZone"
    scope = Scope.CLUSTER
    wakes_on = frozenset({Event.NODE_ADDED, Event.NODE_LABELS_CHANGED, Event.VOLUMES_CHANGED, Event.POD_CHANGED})

    def concerns(self, pod: PodInfo) -> bool:
        """Whether the pod has claims."""
        return bool(pod.claims)

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where each labelled volume is in the node's zone and region, and where a node knows neither."""
        wanted = _wanted(state.objects, pod)
        if not wanted:
            return None
        mask = np.ones(len(nodes), np.bool_)
        for key, values in wanted:
            mask &= _has_any(nodes, key, values)
        return (mask | ~_knows_its_place(nodes))[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Where the volumes are."""
        return tuple(
            f"its volumes are where {key} is {' or '.join(sorted(values))}"
            for key, values in _wanted(state.objects, pod)
            if not _has_any(nodes, key, values)[row]
        )


def _wanted(objects: ClusterObjects, pod: PodInfo) -> list[tuple[str, frozenset[str]]]:
    claims = (objects.claims.get((pod.namespace, name)) for name in pod.claims)
    volumes = (objects.volumes.get(claim.volume_name) for claim in claims if claim is not None)
    return [
        (key, frozenset(volume.labels[key].split(_SEPARATOR)))
        for volume in volumes
        if volume is not None
        for key in TOPOLOGY_LABELS
        if key in volume.labels
    ]


def _has_any(nodes: NodeTable, key: str, values: frozenset[str]) -> Mask:
    label, successor = nodes.labels.get(key), nodes.labels.get(_SUCCESSORS.get(key, ""))
    mask = np.zeros(len(nodes), np.bool_)
    if label is not None:
        mask |= np.isin(label.ids, [label.numbers[value] for value in values if value in label.numbers])
    if successor is not None:
        numbers = [successor.numbers[value] for value in values if value in successor.numbers]
        lacks = np.ones(len(nodes), np.bool_) if label is None else label.ids == 0
        mask |= lacks & np.isin(successor.ids, numbers)
    return mask


def _knows_its_place(nodes: NodeTable) -> Mask:
    mask = np.zeros(len(nodes), np.bool_)
    for key in TOPOLOGY_LABELS:
        label = nodes.labels.get(key)
        if label is not None:
            mask |= label.ids != 0
    return mask
