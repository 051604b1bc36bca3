"""NodeVolumeLimits: a node takes no more volumes of a CSI driver than its CSINode says.

What pods use and what VolumeAttachments say is attached is counted at most once each, so nodes with few of both need no
closer look; on the others every volume is counted once, however many pods, claims and attachments name it.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) exceed max volume count",))

_Volume: TypeAlias = tuple[str, str, str]
"""Driver and handle; and the in-tree plugin, if the volume is one of its, which counts where that is migrated."""


class NodeVolumeLimits:
    name = "NodeVolumeLimits"
    scope = Scope.CLUSTER
    wakes_on = frozenset({Event.NODE_ADDED, Event.ASSIGNED_POD_REMOVED, Event.VOLUMES_CHANGED})

    def concerns(self, pod: PodInfo) -> bool:
        """Whether the pod has volumes that this is about."""
        return bool(pod.claims or pod.in_tree)

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the pod's new volumes are within the limit of each driver."""
        if not (pod.claims or pod.in_tree) or not state.objects.volume_limits:
            return None
        volumes = _volumes(state.objects, pod)
        limits = _limits(state.objects, nodes)
        least: npt.NDArray[np.float64] | None = None
        for driver in {driver for driver, _, _ in volumes}:
            if (limit := limits.get(driver)) is not None:
                least = limit if least is None else np.minimum(least, limit)
        if least is None:
            return None
        most = nodes.attachable_count + _attached(state.objects, nodes) + len(volumes)
        crowded = np.flatnonzero(most > least).tolist()
        if not crowded:
            return None
        mask = np.ones(len(nodes), np.bool_)
        for row in crowded:
            mask[row] = not _exceeded(state.objects, nodes, row, volumes)
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Which driver has too many volumes, and how many too many."""
        return tuple(
            f"free {surplus} volume(s) of driver {driver}, of which the node takes {limit}"
            for driver, surplus, limit in _exceeded(state.objects, nodes, row, _volumes(state.objects, pod))
        )


def _limits(objects: ClusterObjects, nodes: NodeTable) -> dict[str, npt.NDArray[np.float64]]:
    # By driver, how many volumes of it each node takes; infinity where the node does not say.
    def made() -> dict[str, npt.NDArray[np.float64]]:
        columns: dict[str, npt.NDArray[np.float64]] = {}
        for name, limits in objects.volume_limits.items():
            row = nodes.row_of.get(name)
            for driver, limit in limits.items() if row is not None else ():
                if driver not in columns:
                    columns[driver] = np.full(len(nodes), np.inf)
                columns[driver][row] = limit
        return columns

    return objects.kept("volume limits", (nodes, nodes.version, objects.limits_version), made)


def _attached(objects: ClusterObjects, nodes: NodeTable) -> npt.NDArray[np.int64]:
    # How many VolumeAttachments name each node.
    def made() -> npt.NDArray[np.int64]:
        column = np.zeros(len(nodes), np.int64)
        for name, attached in objects.attachments.items():
            row = nodes.row_of.get(name)
            if row is not None:
                column[row] = len(attached)
        return column

    return objects.kept("attachments", (nodes, nodes.version, objects.attachments_version), made)


def _exceeded(objects: ClusterObjects, nodes: NodeTable, row: int, volumes: set[_Volume]) -> list[tuple[str, int, int]]:
    # Driver, how many volumes too many, limit.
    name = nodes.nodes[row].name
    migrated = objects.migrated_plugins.get(name, frozenset())

    def counted(found: set[_Volume]) -> set[tuple[str, str]]:
        return {(driver, handle) for driver, handle, plugin in found if not plugin or plugin in migrated}

    attached = counted({volume for pod in nodes.pods_on(name) for volume in _volumes(objects, pod.info)})
    attached |= counted(_named_by_attachments(objects, name))
    new = counted(volumes) - attached
    used = Counter(driver for driver, _ in attached | new)
    # A driver that gets nothing new may be beyond its limit: that is no matter of this pod.
    limits = objects.volume_limits.get(name, {})
    drivers = {driver for driver, _ in new} & limits.keys()
    return [(one, used[one] - limits[one], limits[one]) for one in sorted(drivers) if used[one] > limits[one]]


def _named_by_attachments(objects: ClusterObjects, node_name: str) -> set[_Volume]:
    found = set()
    for attached in objects.attachments.get(node_name, {}).values():
        volume = objects.volumes.get(attached.volume_name) if attached.volume_name else None
        if volume is not None and volume.driver:
            found.add((volume.driver, volume.handle, volume.plugin))
        elif attached.handle:
            found.add((attached.driver, attached.handle, attached.plugin))
    return found


def _volumes(objects: ClusterObjects, pod: PodInfo) -> set[_Volume]:
    # What the node would attach through CSI for the pod; a volume to be made is known by its claim.
    found = {(driver, handle, plugin) for plugin, driver, handle in pod.in_tree}
    for name in pod.claims:
        claim = objects.claims.get((pod.namespace, name))
        volume = objects.volumes.get(claim.volume_name) if claim is not None and claim.volume_name else None
        if volume is not None:
            if volume.driver:
                found.add((volume.driver, volume.handle, volume.plugin))
        elif claim is not None:
            storage_class = objects.classes.get(claim.storage_class)
            if storage_class is not None and storage_class.provisioner:
                found.add((storage_class.provisioner, f"{pod.namespace}/{name}", ""))
    return found
