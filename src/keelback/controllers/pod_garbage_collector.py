"""The pod garbage collector: pods of nodes that are gone, deleted ones that never had a node, and too many ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from keelback.api import conditions, pods, taints
from keelback.api.core_v1 import Node, Pod
from keelback.apimachinery import errors
from keelback.client import StrategicMergePatch
from keelback.concurrency.rounds import Round, next_round
from keelback.controllers.observed import NodeView, PodView
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count

DELETIONS = Count(
    "pod_gc_collector_force_delete_pods_total",
    "Number of pods that are being forcefully deleted since the Pod GC Controller started.",
    ("namespace", "reason"),
)
FAILURES = Count(
    "pod_gc_collector_force_delete_pod_errors_total",
    "Number of errors encountered when forcefully deleting the pods since the Pod GC Controller started.",
    ("namespace", "reason"),
)

_PERIOD_SECONDS = 20.0
# A pod may be seen before the node it was bound to: an absent node must stay absent for this long.
_QUARANTINE_SECONDS = 40.0
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A pod to delete, and what to say of it first."""

    pod: PodView
    reason: str
    message: str = ""


def excess_terminated(all_pods: Iterable[PodView], threshold: int) -> list[Doomed]:
    """The oldest ended pods beyond `threshold`; none where that is 0."""
    ended = [pod for pod in all_pods if pods.is_terminal(pod) and not pods.is_terminating(pod)]
    surplus = len(ended) - threshold
    if threshold <= 0 or surplus <= 0:
        return []
    ended.sort(key=lambda pod: (pod.metadata.creation_timestamp or _NEVER, pod.metadata.name))
    return [Doomed(pod, "terminated") for pod in ended[:surplus]]


def orphaned(all_pods: Iterable[PodView], absent_nodes: frozenset[str]) -> list[Doomed]:
    """The pods bound to nodes that are gone for good."""
    message = "PodGC: node no longer exists"
    return [Doomed(pod, "orphaned", message) for pod in all_pods if pod.spec.node_name in absent_nodes]


def unscheduled_terminating(all_pods: Iterable[PodView]) -> list[Doomed]:
    """The pods that were deleted before they had a node: there is no kubelet to finish the deletion."""
    return [Doomed(pod, "unscheduled") for pod in all_pods if pods.is_terminating(pod) and not pod.spec.node_name]


def out_of_service(all_pods: Iterable[PodView], nodes: Sequence[NodeView]) -> list[Doomed]:
    """The pods being deleted on nodes that an administrator declared out of service and that are not ready."""
    lost = {
        node.metadata.name
        for node in nodes
        if any(taint.key == taints.OUT_OF_SERVICE for taint in node.spec.taints)
        and not conditions.is_true(node.status.conditions, "Ready")
    }
    return [
        Doomed(pod, "out-of-service") for pod in all_pods if pods.is_terminating(pod) and pod.spec.node_name in lost
    ]


@dataclass(slots=True)
class PodGarbageCollector:
    """Looks at all pods every so often."""

    context: Context
    threshold: int
    name: ClassVar = "pod-garbage-collector-controller"
    role: ClassVar = "pod-garbage-collector"
    component: ClassVar = "pod-garbage-collector"

    def __post_init__(self) -> None:
        self.context.caches.store(PodView)
        self.context.caches.store(NodeView)

    async def run(self) -> None:
        """Collect until cancelled."""
        await self.context.caches.informer(PodView).wait_synced()
        await self.context.caches.informer(NodeView).wait_synced()
        all_pods, nodes = self.context.caches.store(PodView), self.context.caches.store(NodeView)
        absent_since: dict[str, float] = {}
        looked_at: tuple[str, str] | None = None
        while True:
            versions = (all_pods.resource_version, nodes.resource_version)
            # What was left where it is will be left again, unless a node that has no object is given up for gone.
            if absent_since or versions != looked_at:
                await self._collect(absent_since)
                looked_at = versions
            if absent_since:
                await self.context.clock.sleep(_PERIOD_SECONDS)
            else:
                await next_round(self.context.clock, _PERIOD_SECONDS, Round.LOOK)

    async def _collect(self, absent_since: dict[str, float]) -> None:
        all_pods = self.context.caches.store(PodView).list()
        nodes = self.context.caches.store(NodeView).list()
        gone = await self._gone_nodes(all_pods, {node.metadata.name for node in nodes}, absent_since)
        doomed = {
            one.pod.metadata.uid: one
            for one in (
                *excess_terminated(all_pods, self.threshold),
                *unscheduled_terminating(all_pods),
                *out_of_service(all_pods, nodes),
                *orphaned(all_pods, gone),
            )
        }
        for one in doomed.values():
            await self._delete(one)

    async def _gone_nodes(
        self, all_pods: Iterable[PodView], present: set[str], absent_since: dict[str, float]
    ) -> frozenset[str]:
        now = self.context.clock.monotonic()
        named = {pod.spec.node_name for pod in all_pods if pod.spec.node_name} - present
        for name in absent_since.keys() - named:
            del absent_since[name]
        gone = set()
        for name in named:
            if now - absent_since.setdefault(name, now) < _QUARANTINE_SECONDS:
                continue
            try:
                await self.context.client.get(Node, name)
            except errors.NotFound:
                gone.add(name)
        return frozenset(gone)

    async def _delete(self, one: Doomed) -> None:
        metadata = one.pod.metadata
        try:
            await self._fail(one)
            await self.context.client.delete(
                Pod, metadata.name, metadata.namespace, uid=metadata.uid, grace_period_seconds=0
            )
        except (errors.NotFound, errors.Conflict):
            return
        except errors.StatusError:
            self.context.metrics.inc(FAILURES, metadata.namespace, one.reason)
            raise
        self.context.metrics.inc(DELETIONS, metadata.namespace, one.reason)

    async def _fail(self, one: Doomed) -> None:
        """Say that the pod has failed before it goes, for Jobs count pods by their phase."""
        if pods.is_terminal(one.pod):
            return
        status: dict[str, object] = {"phase": "Failed"}
        if one.message:
            moment = self.context.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            condition = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
            status["conditions"] = [condition | {"message": one.message, "lastTransitionTime": moment}]
        metadata = one.pod.metadata
        patch = StrategicMergePatch({"metadata": {"uid": metadata.uid}, "status": status})
        await self.context.client.patch(Pod, metadata.name, metadata.namespace, patch, "status")
