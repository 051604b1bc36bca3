"""The nodes as columns: one array for each resource, label key and count, kept current as nodes and pods come and go.

A plugin reads columns and answers for all nodes at once. Rows are dense: a removed node's row is taken by the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from keelback.api.core_v1 import ContainerImage, Taint
from keelback.scheduling import resources
from keelback.scheduling.columns import Column, LabelColumns, Rows
from keelback.scheduling.events import Event
from keelback.scheduling.node_info import NodeInfo, NodeToPlaceOn, compile_node, taint_key
from keelback.scheduling.pod_counts import PodCounts
from keelback.scheduling.pod_info import PodInfo

_LONGEST_LOG: Final = 8192
_GREATEST: Final = 2**62


@dataclass(frozen=True, slots=True)
class Capacity:
    """What every node offers of a resource, ready to divide by."""

    divisor: npt.NDArray[np.float64]
    """1 where a node offers nothing."""
    offered: npt.NDArray[np.bool_] | None
    """Where nodes offer anything; None when all do."""


@dataclass(slots=True)
class DiskUse:
    """How many pods on a node read a disk only, and how many write to it."""

    readers: int = 0
    writers: int = 0


@dataclass(frozen=True, slots=True)
class PlacedPod:
    """A pod on a node: bound, or assumed to be by a decision that is not yet carried out."""

    uid: str
    namespace: str
    name: str
    node_name: str
    info: PodInfo
    terminating: bool = False
    preempted: bool = False
    """It is going because a pod of higher priority needs its place."""
    start_time: float = float("inf")
    """Seconds since the epoch; infinity while it has not started."""


class NodeTable:
    """All nodes of a cluster and the pods on them."""

    def __init__(self) -> None:
        self._rows = Rows()
        self.row_of: dict[str, int] = {}
        self.nodes: list[NodeInfo] = []
        """The node of each row."""
        self.labels = LabelColumns(self._rows)
        self.counts = PodCounts(self._rows, self.row_of)
        self.version = 0
        """Rises when a node is added, removed or changed: what was worked out from nodes alone is then void."""
        self.generation = 0
        """Rises when a pod comes or goes or a namespace changes; supposing that one did leaves it as it was."""
        self.priorities: dict[int, int] = {}
        """How many placed pods have each priority."""
        self._allocatable: dict[str, Column] = {}
        self._requested: dict[str, Column] = {}
        self._nominal = {name: self._rows.column(np.int64) for name in resources.NOMINAL}
        self._pod_count = self._rows.column(np.int64)
        self._unschedulable = self._rows.column(np.bool_)
        self._taints = self._rows.column(np.int32)
        self.taint_sets: list[tuple[Taint, ...]] = [()]
        """The distinct lists of taints; `taint_set_ids` says which one each node has."""
        self._taint_set_numbers: dict[tuple[tuple[str, str, str], ...], int] = {(): 0}
        self._images: dict[str, dict[str, int]] = {}
        self._ports: dict[tuple[str, int], dict[str, dict[str, int]]] = {}
        self._claims: dict[tuple[str, str], dict[str, int]] = {}
        self._disks: dict[tuple[str, ...], dict[str, DiskUse]] = {}
        self._attachable_count = self._rows.column(np.int64)
        self._pods: dict[str, dict[str, PlacedPod]] = {}
        self._capacities: dict[str, tuple[int, Capacity]] = {}
        self._touches = self._rows.column(np.int64)
        self._log: list[int] = []
        self._log_start = 0
        self._none = self._rows.column(np.int64)

    def __len__(self) -> int:
        return self._rows.count

    # What plugins read

    def allocatable(self, resource: str) -> npt.NDArray[np.int64]:
        """How much of a resource each node offers to pods."""
        return self._allocatable.get(resource, self._none).values

    def capacity(self, resource: str) -> Capacity:
        """As `allocatable`, for scores; kept until a node changes."""
        known = self._capacities.get(resource)
        if known is None or known[0] != self.version:
            amounts = self.allocatable(resource)
            offered = None if amounts.all() else amounts != 0
            known = self._capacities[resource] = (self.version, Capacity(np.maximum(amounts, 1).astype(float), offered))
        return known[1]

    def requested(self, resource: str) -> npt.NDArray[np.int64]:
        """How much of a resource the pods on each node ask for."""
        return self._requested.get(resource, self._none).values

    def nominal_requested(self, resource: str) -> npt.NDArray[np.int64]:
        """How much cpu or memory the pods on each node are taken to use, counting those that do not say."""
        return self._nominal[resource].values

    def amounts(self, resource: str, row: int) -> tuple[int, int]:
        """How much of a resource one node offers, and how much its pods ask for."""
        offered, requested = self._allocatable.get(resource, self._none), self._requested.get(resource, self._none)
        return offered.data.item(row), requested.data.item(row)

    def nominal_of(self, resource: str, row: int) -> int:
        """As `nominal_requested`, of one node."""
        used: int = self._nominal[resource].data.item(row)
        return used

    @property
    def pod_count(self) -> npt.NDArray[np.int64]:
        """How many pods each node has."""
        return self._pod_count.values

    @property
    def unschedulable(self) -> npt.NDArray[np.bool_]:
        """Which nodes are cordoned."""
        return self._unschedulable.values

    @property
    def taint_set_ids(self) -> npt.NDArray[np.int32]:
        """Each node's taints, as an index of `taint_sets`."""
        return self._taints.values

    def image_holders(self, image: str) -> Mapping[str, int]:
        """The nodes that have an image, by name, with its size there in bytes."""
        return self._images.get(image, {})

    def port_holders(self, protocol: str, port: int) -> Mapping[str, Mapping[str, int]]:
        """The nodes on which a host port is taken, by name, with the host IPs it is taken on."""
        return self._ports.get((protocol, port), {})

    def claim_users(self, claim: tuple[str, str]) -> Mapping[str, int]:
        """The nodes with pods that use a claim (namespace and name), by name, with how many do."""
        return self._claims.get(claim, {})

    @property
    def attachable_count(self) -> npt.NDArray[np.int64]:
        """How many volumes the pods on each node may have attached at most: different claims, and in-tree volumes."""
        return self._attachable_count.values

    def disk_users(self, disk: tuple[str, ...]) -> Mapping[str, DiskUse]:
        """The nodes with pods that name a disk themselves, by name, and how they use it."""
        return self._disks.get(disk, {})

    def pods_on(self, node_name: str) -> Iterable[PlacedPod]:
        """The pods on a node."""
        return self._pods.get(node_name, {}).values()

    def pod(self, node_name: str, uid: str) -> PlacedPod | None:
        """A pod on a node, or None."""
        return self._pods.get(node_name, {}).get(uid)

    @property
    def touch_counts(self) -> npt.NDArray[np.int64]:
        """How many times a pod has come to or left each node."""
        return self._touches.values

    @property
    def position(self) -> int:
        """How many times a pod has come to or left a node."""
        return self._log_start + len(self._log)

    def touched_since(self, position: int) -> set[int] | None:
        """The rows whose pods changed after a position; None when that is too long ago to tell."""
        if position < self._log_start:
            return None
        return set(self._log[position - self._log_start :])

    # What keeps it current

    def set_node(self, node: NodeToPlaceOn) -> frozenset[Event]:
        """Add a node or bring it up to date; what changed that scheduling cares about."""
        return self.set_info(compile_node(node))

    def set_info(self, new: NodeInfo) -> frozenset[Event]:
        """As `set_node`, of a node that is compiled already."""
        row = self.row_of.get(new.name)
        if row is None:
            self._add_row(new)
            return frozenset((Event.NODE_ADDED,))
        old = self.nodes[row]
        if new == old:
            return frozenset()
        self._fill(row, old, new)
        changes = (
            (Event.NODE_ALLOCATABLE_CHANGED, old.allocatable != new.allocatable),
            (Event.NODE_LABELS_CHANGED, old.labels != new.labels),
            (
                Event.NODE_TAINTS_CHANGED,
                (taint_key(old.taints), old.unschedulable) != (taint_key(new.taints), new.unschedulable),
            ),
            (Event.NODE_IMAGES_CHANGED, old.images != new.images),
            (Event.NODE_FEATURES_CHANGED, old.declared_features != new.declared_features),
        )
        events = frozenset(event for event, happened in changes if happened)
        if events:
            self.version += 1
        return events

    def remove_node(self, name: str) -> bool:
        """Forget a node; its pods are remembered in case it comes back. Whether it was known."""
        row = self.row_of.get(name)
        if row is None:
            return False
        for pod in self.pods_on(name):
            self._count_out(pod, row)
        old = self.nodes[row]
        self._fill(row, old, NodeInfo(name))
        last = len(self.nodes) - 1
        self._rows.remove(row)
        if row != last:
            self.nodes[row] = self.nodes[last]
            self.row_of[self.nodes[row].name] = row
        self.nodes.pop()
        del self.row_of[name]
        self.version += 1
        return True

    def add_pod(self, pod: PlacedPod) -> None:
        """Count a pod on its node, whether or not that node is known yet; one of the same uid there is replaced."""
        pods = self._pods.setdefault(pod.node_name, {})
        row = self.row_of.get(pod.node_name)
        known = pods.get(pod.uid)
        if known is not None and known.info is pod.info and known.terminating == pod.terminating:
            # Nothing that is counted has changed, as when a decision is confirmed.
            pods[pod.uid] = pod
            return
        if known is not None and row is not None:
            self._count_out(known, row)
        pods[pod.uid] = pod
        if row is not None:
            self._count_in(pod, row)

    def remove_pod(self, node_name: str, uid: str) -> PlacedPod | None:
        """Forget a pod; what was known of it."""
        pods = self._pods.get(node_name)
        pod = pods.pop(uid, None) if pods else None
        if pod is None:
            return None
        if not pods:
            del self._pods[node_name]
        row = self.row_of.get(node_name)
        if row is not None:
            self._count_out(pod, row)
        return pod

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Learn a namespace's labels, or (None) that it is gone; whether that changed anything."""
        changed = self.counts.set_namespace(name, labels)
        self.generation += changed
        return changed

    @contextmanager
    def supposing(self, added: Iterable[PlacedPod] = (), removed: Iterable[PlacedPod] = ()) -> Iterator[None]:
        """What if: for the block, some pods are there and some are not."""
        generation = self.generation
        taken = [pod for pod in removed if self.remove_pod(pod.node_name, pod.uid)]
        given = []
        for pod in added:
            if self.pod(pod.node_name, pod.uid) is None:
                self.add_pod(pod)
                given.append(pod)
        try:
            yield
        finally:
            for pod in given:
                self.remove_pod(pod.node_name, pod.uid)
            for pod in taken:
                self.add_pod(pod)
            self.generation = generation

    def _add_row(self, node: NodeInfo) -> None:
        row = self._rows.add()
        self.row_of[node.name] = row
        self.nodes.append(node)
        self._fill(row, NodeInfo(node.name), node)
        for pod in self.pods_on(node.name):
            self._count_in(pod, row)
        self.version += 1

    def _fill(self, row: int, old: NodeInfo, new: NodeInfo) -> None:
        self.nodes[row] = new
        if old.labels != new.labels:
            self.counts.forget_domains()
        self.labels.put(row, old.labels, new.labels)
        for name in old.allocatable.keys() | new.allocatable.keys():
            column = self._allocatable.get(name)
            if column is None:
                column = self._allocatable[name] = self._rows.column(np.int64)
            column.data[row] = min(new.allocatable.get(name, 0), _GREATEST)
        self._unschedulable.data[row] = new.unschedulable
        self._taints.data[row] = self._taint_set(new.taints)
        if old.images != new.images:
            self._set_images(new.name, old.images, new.images)

    def _taint_set(self, taints: tuple[Taint, ...]) -> int:
        key = taint_key(taints)
        number = self._taint_set_numbers.get(key)
        if number is None:
            if len(self.taint_sets) > 4 * self._rows.count + 64:
                self._compact_taint_sets()
            number = self._taint_set_numbers[key] = len(self.taint_sets)
            self.taint_sets.append(taints)
        return number

    def _compact_taint_sets(self) -> None:
        self.taint_sets, self._taint_set_numbers = [()], {(): 0}
        for row, node in enumerate(self.nodes):
            key = taint_key(node.taints)
            if key not in self._taint_set_numbers:
                self._taint_set_numbers[key] = len(self.taint_sets)
                self.taint_sets.append(node.taints)
            self._taints.data[row] = self._taint_set_numbers[key]

    def _set_images(self, name: str, old: tuple[ContainerImage, ...], new: tuple[ContainerImage, ...]) -> None:
        for image in old:
            for image_name in image.names:
                holders = self._images.get(image_name)
                if holders is not None:
                    holders.pop(name, None)
                    if not holders:
                        del self._images[image_name]
        for image in new:
            for image_name in image.names:
                self._images.setdefault(image_name, {})[name] = image.size_bytes

    def _count_in(self, pod: PlacedPod, row: int) -> None:
        info = pod.info
        for name, number in info.requests.items():
            column = self._requested.get(name)
            if column is None:
                column = self._requested[name] = self._rows.column(np.int64)
            column.data[row] += min(number, _GREATEST)
        for name, nominal in self._nominal.items():
            nominal.data[row] += min(info.nominal_requests[name], _GREATEST)
        self._pod_count.data[row] += 1
        for ip, protocol, port in info.host_ports:
            taken = self._ports.setdefault((protocol, port), {}).setdefault(pod.node_name, {})
            taken[ip] = taken.get(ip, 0) + 1
        for claim in info.claims:
            users = self._claims.setdefault((info.namespace, claim), {})
            self._attachable_count.data[row] += pod.node_name not in users
            users[pod.node_name] = users.get(pod.node_name, 0) + 1
        self._attachable_count.data[row] += len(info.in_tree)
        for disk, read_only in info.disks:
            use = self._disks.setdefault(disk, {}).setdefault(pod.node_name, DiskUse())
            use.readers += read_only
            use.writers += not read_only
        self.counts.add(info, pod.terminating, pod.node_name, row)
        self.priorities[info.priority] = self.priorities.get(info.priority, 0) + 1
        self._touch(row)

    def _count_out(self, pod: PlacedPod, row: int) -> None:
        info = pod.info
        for name, number in info.requests.items():
            self._requested[name].data[row] -= min(number, _GREATEST)
        for name, nominal in self._nominal.items():
            nominal.data[row] -= min(info.nominal_requests[name], _GREATEST)
        self._pod_count.data[row] -= 1
        for ip, protocol, port in info.host_ports:
            self._release_port(pod.node_name, ip, protocol, port)
        for claim in info.claims:
            self._release_claim(pod.node_name, (info.namespace, claim), row)
        self._attachable_count.data[row] -= len(info.in_tree)
        for disk, read_only in info.disks:
            self._release_disk(pod.node_name, disk, read_only)
        self.counts.remove(info, pod.terminating, pod.node_name, row)
        left = self.priorities[info.priority] - 1
        if left:
            self.priorities[info.priority] = left
        else:
            del self.priorities[info.priority]
        self._touch(row)

    def _release_port(self, node_name: str, ip: str, protocol: str, port: int) -> None:
        holders = self._ports[(protocol, port)]
        taken = holders[node_name]
        taken[ip] -= 1
        if not taken[ip]:
            del taken[ip]
        if not taken:
            del holders[node_name]
        if not holders:
            del self._ports[(protocol, port)]

    def _release_claim(self, node_name: str, claim: tuple[str, str], row: int) -> None:
        users = self._claims[claim]
        users[node_name] -= 1
        if not users[node_name]:
            del users[node_name]
            self._attachable_count.data[row] -= 1
        if not users:
            del self._claims[claim]

    def _release_disk(self, node_name: str, disk: tuple[str, ...], read_only: bool) -> None:
        users = self._disks[disk]
        use = users[node_name]
        use.readers -= read_only
        use.writers -= not read_only
        if not (use.readers or use.writers):
            del users[node_name]
        if not users:
            del self._disks[disk]

    def _touch(self, row: int) -> None:
        self.generation += 1
        self._touches.data[row] += 1
        self._log.append(row)
        if len(self._log) > _LONGEST_LOG:
            dropped = len(self._log) // 2
            del self._log[:dropped]
            self._log_start += dropped
