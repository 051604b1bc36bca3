"""The taint eviction controller: deletes pods from nodes whose NoExecute taints they do not tolerate, or no longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from keelback.api import taints
from keelback.api.core_v1 import Pod, Taint, Toleration
from keelback.apimachinery import errors
from keelback.client import Change, StrategicMergePatch
from keelback.controllers.observed import NodeView, PodView
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count, Spread
from keelback.reconcile.loop import Key, Source
from keelback.reconcile.result import DONE, Result, again_after

DELETIONS = Count(
    "taint_eviction_controller_pod_deletions_total",
    "Total number of Pods deleted by TaintEvictionController since its start.",
)
LATENCY = Spread(
    "taint_eviction_controller_pod_deletion_duration_seconds",
    "Latency, in seconds, between the time when a taint effect has been activated for the Pod and its deletion via "
    "TaintEvictionController.",
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240),
)


def eviction_time(
    held: Sequence[Taint], tolerations: Sequence[Toleration], since: datetime, now: datetime
) -> datetime | None:
    """When a pod that is on the node `since` then must go: a time not after `now` means at once, None never."""
    no_execute = [taint for taint in held if taint.effect == taints.NO_EXECUTE]
    if not no_execute:
        return None
    used: list[Toleration] = []
    for taint in no_execute:
        tolerating = [one for one in tolerations if taints.tolerates(one, taint)]
        if not tolerating:
            return now
        used.extend(tolerating)
    seconds = [one.toleration_seconds for one in used if one.toleration_seconds is not None]
    if not seconds:
        return None
    # Counted from the last taint, or from the pod's own start where it came later: it tolerates each for so long.
    begun = max([since, *(taint.time_added or since for taint in no_execute)])
    return begun + timedelta(seconds=max(0, min(seconds)))


@dataclass(frozen=True, slots=True)
class TaintEvictionReconciler:
    """Looks at a pod when it or its node's taints change, and when its toleration runs out."""

    context: Context
    pending: dict[Key, str] = field(default_factory=dict)
    """The pods that are to go later, with their uids."""
    name: ClassVar = "taint-eviction-controller"
    role: ClassVar = "node-controller"
    component: ClassVar = "taint-eviction-controller"
    kind: ClassVar = PodView
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(PodView, "by-node", lambda pod: [pod.spec.node_name])
        return (Source(NodeView, self._pods_of, _taints_changed),)

    def is_relevant(self, change: Change[Any]) -> bool:
        pod, metadata = change.new, change.object.metadata
        if pod is None:
            return (metadata.namespace, metadata.name) in self.pending
        if not pod.spec.node_name:
            return False
        node = self.context.caches.store(NodeView).get("", pod.spec.node_name)
        return node is not None and any(one.effect == taints.NO_EXECUTE for one in node.spec.taints)

    async def reconcile(self, pod: PodView) -> Result:
        node = self.context.caches.store(NodeView).get("", pod.spec.node_name)
        if node is None or pod.metadata.deletion_timestamp is not None:
            return DONE
        now = self.context.now()
        since = pod.status.start_time or pod.metadata.creation_timestamp or now
        due = eviction_time(node.spec.taints, pod.spec.tolerations, since, now)
        key = (pod.metadata.namespace, pod.metadata.name)
        was_pending = self.pending.pop(key, "") == pod.metadata.uid
        if due is None:
            if was_pending:
                message = f"Cancelling deletion of Pod {pod.metadata.namespace}/{pod.metadata.name}"
                await self.context.events.event(pod, "Normal", "TaintManagerEviction", message)
            return DONE
        if due > now:
            self.pending[key] = pod.metadata.uid
            return again_after((due - now).total_seconds())
        if await self._evict(pod):
            self.context.metrics.inc(DELETIONS)
            self.context.metrics.observe(LATENCY, (self.context.clock.now() - due).total_seconds())
        return DONE

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        self.pending.pop((namespace, name), None)
        return DONE

    async def _evict(self, pod: PodView) -> bool:
        metadata = pod.metadata
        message = f"Marking for deletion Pod {metadata.namespace}/{metadata.name}"
        await self.context.events.event(pod, "Normal", "TaintManagerEviction", message)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": self.context.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        patch = StrategicMergePatch({"metadata": {"uid": metadata.uid}, "status": {"conditions": [condition]}})
        try:
            await self.context.client.patch(Pod, metadata.name, metadata.namespace, patch, "status")
            return await self.context.client.delete(Pod, metadata.name, metadata.namespace, uid=metadata.uid)
        except (errors.NotFound, errors.Conflict):
            return False  # gone already, or another pod of that name

    def _pods_of(self, node: NodeView) -> list[tuple[str, str]]:
        store = self.context.caches.store(PodView)
        return [(pod.metadata.namespace, pod.metadata.name) for pod in store.by_index("by-node", node.metadata.name)]


def _taints_changed(change: Change[NodeView]) -> bool:
    if change.new is None:
        return False
    return change.old is None or change.old.spec.taints != change.new.spec.taints
