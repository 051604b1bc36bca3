"""The node lifecycle controller: notices nodes that no longer report, and taints nodes as their conditions call for.

A node reports by its status or by its Lease. Whether and how fast NoExecute taints are put on depends on how many nodes
of the zone are well: if a whole zone or cluster seems to be gone, it is more likely that we are cut off.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from keelback.api import conditions, nodes, pods, taints
from keelback.api.coordination_v1 import Lease
from keelback.api.core_v1 import NodeCondition, Pod, Taint
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, narrow, written
from keelback.client import Change, MergePatch, StrategicMergePatch
from keelback.concurrency.rounds import reports_left_out_until
from keelback.controllers.config import Config
from keelback.controllers.observed import HeldMeta, NodeView, PodView
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count, Level, Spread, powers
from keelback.reconcile.patches import tree
from keelback.reconcile.result import Result, again_after

ZONE_HEALTH = Level("node_collector_zone_health", "Gauge measuring percentage of healthy nodes per zone.", ("zone",))
ZONE_SIZE = Level("node_collector_zone_size", "Gauge measuring number of registered Nodes per zones.", ("zone",))
UNHEALTHY = Level(
    "node_collector_unhealthy_nodes_in_zone", "Gauge measuring number of not Ready Nodes per zones.", ("zone",)
)
EVICTIONS = Count(
    "node_collector_evictions_total",
    "Number of Node evictions that happened since current instance of NodeController started.",
    ("zone",),
)
UPDATE_DURATION = Spread(
    "node_collector_update_node_health_duration_seconds",
    "Duration in seconds for NodeController to update the health of a single node.",
    buckets=powers(0.001, 4, 8),
)

LEASE_NAMESPACE = "kube-node-lease"

# The conditions a kubelet reports; when it stops, nobody knows any of them.
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_CONDITION_TAINTS = {
    ("Ready", "False"): taints.NOT_READY,
    ("Ready", "Unknown"): taints.UNREACHABLE,
    ("MemoryPressure", "True"): taints.MEMORY_PRESSURE,
    ("DiskPressure", "True"): taints.DISK_PRESSURE,
    ("NetworkUnavailable", "True"): taints.NETWORK_UNAVAILABLE,
    ("PIDPressure", "True"): taints.PID_PRESSURE,
}
_OWN_NO_SCHEDULE = frozenset({*_CONDITION_TAINTS.values(), taints.UNSCHEDULABLE})
_OWN_NO_EXECUTE = frozenset({taints.NOT_READY, taints.UNREACHABLE})


@narrow(Lease)
class LeaseView(Object):
    """That a node renewed its Lease is all that matters: not when it says it did."""

    metadata: HeldMeta = written(HeldMeta())


class ZoneState(enum.Enum):
    """How well the nodes of one zone are."""

    NORMAL = "Normal"
    PARTIAL_DISRUPTION = "PartialDisruption"
    FULL_DISRUPTION = "FullDisruption"


def zone_of(node: NodeView) -> tuple[str, str]:
    """The region and zone of a node."""
    labels = node.metadata.labels
    return labels.get(nodes.REGION, ""), labels.get(nodes.ZONE, "")


def zone_state(ready: int, not_ready: int, threshold: float) -> ZoneState:
    """The state of a zone with so many nodes; `threshold` is the share of nodes not ready that makes a disruption."""
    if ready == 0 and not_ready > 0:
        return ZoneState.FULL_DISRUPTION
    if not_ready > 2 and not_ready / (not_ready + ready) >= threshold:
        return ZoneState.PARTIAL_DISRUPTION
    return ZoneState.NORMAL


def eviction_rate(state: ZoneState, size: int, config: Config) -> float:
    """How many nodes a second of such a zone may get NoExecute taints."""
    if state is ZoneState.PARTIAL_DISRUPTION:
        return config.secondary_node_eviction_rate if size > config.large_cluster_size_threshold else 0.0
    return config.node_eviction_rate


def unknown_conditions(node: NodeView, now: datetime) -> list[NodeCondition]:
    """What the conditions of a node that stopped reporting become; only those that change."""
    changed = []
    for type in _REPORTED:
        held = conditions.find(node.status.conditions, type)
        if held is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        elif held.status == "Unknown":
            continue
        else:
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        changed.append(
            NodeCondition(
                type=type,
                status="Unknown",
                reason=reason,
                message=message,
                last_heartbeat_time=held.last_heartbeat_time if held else node.metadata.creation_timestamp,
                last_transition_time=now,
            )
        )
    return changed


def no_schedule_taints(node: NodeView) -> set[str]:
    """The keys of the NoSchedule taints that a node's conditions call for."""
    keys = {
        _CONDITION_TAINTS[condition.type, condition.status]
        for condition in node.status.conditions
        if (condition.type, condition.status) in _CONDITION_TAINTS
    }
    return keys | {taints.UNSCHEDULABLE} if node.spec.unschedulable else keys


def no_execute_taint(node: NodeView) -> str:
    """The key of the NoExecute taint that a node's readiness calls for; empty for a ready node."""
    ready = conditions.find(node.status.conditions, "Ready")
    if ready is None:
        return ""
    return _CONDITION_TAINTS.get(("Ready", ready.status), "")


def with_taints(held: Sequence[Taint], no_schedule: Iterable[str], no_execute: str, now: datetime) -> tuple[Taint, ...]:
    """The taints of a node: those of others as they are, and of ours those wanted; one that stays keeps its time."""
    wanted = {(key, taints.NO_SCHEDULE) for key in no_schedule}
    if no_execute:
        wanted.add((no_execute, taints.NO_EXECUTE))
    kept = []
    for taint in held:
        is_ours = (taint.effect == taints.NO_SCHEDULE and taint.key in _OWN_NO_SCHEDULE) or (
            taint.effect == taints.NO_EXECUTE and taint.key in _OWN_NO_EXECUTE
        )
        if not is_ours or (taint.key, taint.effect) in wanted:
            kept.append(taint)
            wanted.discard((taint.key, taint.effect))
    return (*kept, *(Taint(key=key, effect=effect, time_added=now) for key, effect in sorted(wanted)))


@dataclass(slots=True)
class NodeLifecycleReconciler:
    """Looks at a node whenever it changes, and when its grace period ends."""

    context: Context
    config: Config
    name: ClassVar = "node-lifecycle-controller"
    role: ClassVar = "node-controller"
    component: ClassVar = "node-controller"
    kind: ClassVar = NodeView
    owns: ClassVar = ()
    reads: ClassVar = (LeaseView, PodView)
    _probed: dict[str, float] = field(default_factory=dict, init=False)
    _uids: dict[str, str] = field(default_factory=dict, init=False)
    _heartbeats: dict[str, object] = field(default_factory=dict, init=False)
    _evicted: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.context.caches.index(PodView, "by-node", lambda pod: [pod.spec.node_name])
        self.context.caches.subscribe(LeaseView, self._lease_changed)
        metrics = self.context.metrics
        metrics.at_collection(ZONE_SIZE, lambda: self._levels(lambda well, sick: well + sick))
        metrics.at_collection(UNHEALTHY, lambda: self._levels(lambda well, sick: sick))
        metrics.at_collection(ZONE_HEALTH, lambda: self._levels(lambda well, sick: 100 * well / (well + sick)))

    async def reconcile(self, node: NodeView) -> Result:
        started = self.context.clock.monotonic()
        try:
            return await self._look_at(node)
        finally:
            self.context.metrics.observe(UPDATE_DURATION, self.context.clock.monotonic() - started)

    async def _look_at(self, node: NodeView) -> Result:
        name = node.metadata.name
        now = self.context.clock.monotonic()
        if name not in self._probed:
            self._probed[name] = now
            self._uids[name] = node.metadata.uid
            await self._say(node, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")
        ready = conditions.find(node.status.conditions, "Ready")
        heartbeat = (ready.last_heartbeat_time, ready.status) if ready is not None else None
        if ready is not None and ready.status != "Unknown" and self._heartbeats.get(name) != heartbeat:
            self._heartbeats[name] = heartbeat
            self._probed[name] = now
        config = self.config
        grace = config.node_startup_grace_period_seconds if ready is None else config.node_monitor_grace_period_seconds
        # What no reports were waited for is no silence of the node's.
        left = max(self._probed[name], reports_left_out_until(self.context.clock)) + grace - now
        failure = None
        if left <= 0:
            # Each time: writes may have failed, or their answers been lost with whoever made them.
            node = await self._mark_unknown(node)
            failure = await self._mark_pods_not_ready(node)
        elif ready is not None and ready.status == "False" and self._heartbeats.get(f"{name}/marked") != heartbeat:
            failure = await self._mark_pods_not_ready(node)
            if failure is None:
                self._heartbeats[f"{name}/marked"] = heartbeat
        await self._taint(node)
        if failure is not None:
            raise failure
        is_well = not no_execute_taint(node) and left > 0
        if is_well:
            # Who simulates a node reports for it as long as time passes: who cuts it off says so to who lets time pass.
            return again_after(left, is_watch=nodes.SIMULATED in node.metadata.labels)
        return again_after(config.node_monitor_period_seconds)

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        if self._probed.pop(name, None) is not None:
            gone = NodeView(metadata=HeldMeta(name=name, uid=self._uids.pop(name, "")))
            await self._say(gone, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
        self._heartbeats.pop(name, None)
        self._heartbeats.pop(f"{name}/marked", None)
        return Result()

    def _lease_changed(self, change: Change[LeaseView]) -> None:
        metadata = change.object.metadata
        if metadata.namespace == LEASE_NAMESPACE and change.new is not None and metadata.name in self._probed:
            self._probed[metadata.name] = self.context.clock.monotonic()

    async def _mark_unknown(self, node: NodeView) -> NodeView:
        was_ready = conditions.is_true(node.status.conditions, "Ready")
        changed = unknown_conditions(node, self.context.now())
        if not changed:
            return node
        patch = StrategicMergePatch({"status": {"conditions": [tree(one) for one in changed]}})
        marked = await self.context.client.patch(NodeView, node.metadata.name, "", patch, "status")
        if was_ready:
            name = node.metadata.name
            await self._say(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        return marked

    async def _mark_pods_not_ready(self, node: NodeView) -> errors.StatusError | None:
        """Services must not send to pods of a node that is gone, and nobody else will say that they are not ready.

        What failed last is the answer: one pod's failure keeps no other from being marked.
        """
        failure = None
        store = self.context.caches.store(PodView)
        now = self.context.now()
        for pod in store.by_index("by-node", node.metadata.name):
            if not pods.is_ready(pod):
                continue
            condition = {"type": "Ready", "status": "False", "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
            patch = StrategicMergePatch({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}})
            try:
                await self.context.client.patch(Pod, pod.metadata.name, pod.metadata.namespace, patch, "status")
            except (errors.NotFound, errors.Conflict):
                continue
            except errors.StatusError as error:
                failure = error
                continue
            await self.context.events.event(pod, "Warning", "NodeNotReady", "Node is not ready")
        return failure

    async def _taint(self, node: NodeView) -> None:
        held = tuple(node.spec.taints)
        no_execute = no_execute_taint(node)
        if no_execute and not self._may_evict(node, held, no_execute):
            # One taint for another is no further eviction, so only a node without either waits its turn.
            no_execute = ""
        wanted = with_taints(held, no_schedule_taints(node), no_execute, self.context.now())
        if wanted == held:
            return
        metadata = {"resourceVersion": node.metadata.resource_version}
        patch = MergePatch({"metadata": metadata, "spec": {"taints": [tree(one) for one in wanted] or None}})
        await self.context.client.patch(NodeView, node.metadata.name, "", patch)

    def _may_evict(self, node: NodeView, held: Sequence[Taint], wanted: str) -> bool:
        counts = self._counts(node.metadata.name)
        states = {zone: zone_state(*count, self.config.unhealthy_zone_threshold) for zone, count in counts.items()}
        if all(state is ZoneState.FULL_DISRUPTION for state in states.values()):
            return False
        if any(one.effect == taints.NO_EXECUTE and one.key in _OWN_NO_EXECUTE for one in held):
            return True
        zone = zone_of(node)
        rate = eviction_rate(states[zone], sum(counts[zone]), self.config)
        now = self.context.clock.monotonic()
        last = self._evicted.get(zone)
        if rate == 0 or (last is not None and now - last < 1 / rate):
            return False
        self._evicted[zone] = now
        self.context.metrics.inc(EVICTIONS, _zone_text(zone))
        return True

    def _counts(self, not_ready_name: str = "") -> dict[tuple[str, str], tuple[int, int]]:
        """How many nodes of each zone are ready and how many are not, the one named among the latter."""
        counts: dict[tuple[str, str], tuple[int, int]] = {}
        for one in self.context.caches.store(NodeView).list():
            ready, not_ready = counts.get(zone_of(one), (0, 0))
            is_ready = conditions.is_true(one.status.conditions, "Ready") and one.metadata.name != not_ready_name
            counts[zone_of(one)] = (ready + 1, not_ready) if is_ready else (ready, not_ready + 1)
        return counts

    def _levels(self, of: Callable[[int, int], float]) -> dict[tuple[str, ...], float]:
        return {(_zone_text(zone),): of(*count) for zone, count in self._counts().items()}

    async def _say(self, node: NodeView, reason: str, message: str) -> None:
        await self.context.events.event(node, "Normal", reason, message)


def _zone_text(zone: tuple[str, str]) -> str:
    """A zone as upstream's metrics name it: region and zone with a NUL between, for neither can have one."""
    return f"{zone[0]}:\0:{zone[1]}" if any(zone) else ""
