"""The device-taint-eviction controller: deletes pods whose devices have NoExecute taints that nothing tolerates.

Drivers taint devices in their ResourceSlices, administrators by DeviceTaintRules. https://kep.k8s.io/5055
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from keelback.api import pods
from keelback.api.core_v1 import Pod
from keelback.api.resource_v1 import ResourceClaim, ResourceSlice
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.apimachinery import errors
from keelback.client import Change, StrategicMergePatch
from keelback.controllers import tainted_devices
from keelback.controllers.observed import PodView
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count, Spread
from keelback.reconcile.loop import Key, Source
from keelback.reconcile.result import DONE, Result, again_after
from keelback.scheduling import device_taint_rules

DELETIONS = Count(
    "device_taint_eviction_controller_pod_deletions_total",
    "Total number of Pods deleted by DeviceTaintEvictionController since its start.",
)
LATENCY = Spread(
    "device_taint_eviction_controller_pod_deletion_duration_seconds",
    "Latency, in seconds, between the time when a device taint effect has been activated and a Pod's deletion via "
    "DeviceTaintEvictionController.",
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240),
)


@dataclass(frozen=True, slots=True)
class DeviceTaintEvictionReconciler:
    """Looks at an allocated claim when it, a slice of its devices, or a rule changes."""

    context: Context
    has_rules: bool = False
    """Whether the server has DeviceTaintRules at all."""
    evicted: Counter[str] = field(default_factory=Counter)
    """How many pods were evicted by each rule, by its uid, since this began."""
    name: ClassVar = "device-taint-eviction-controller"
    role: ClassVar = "device-taint-eviction-controller"
    component: ClassVar = "device-taint-eviction"
    kind: ClassVar = ResourceClaim
    owns: ClassVar = ()
    reads: ClassVar = (PodView,)

    def sources(self) -> Sequence[Source]:
        tainted_devices.index_by_pool(self.context.caches)
        slices = Source(ResourceSlice, self._claims_of)
        return (slices, Source(DeviceTaintRule, self._claims_under, _evicts)) if self.has_rules else (slices,)

    async def reconcile(self, claim: ResourceClaim) -> Result:
        if claim.status.allocation is None:
            return DONE
        now, caches = self.context.now(), self.context.caches
        rules = caches.store(DeviceTaintRule).list() if self.has_rules else []
        eviction = tainted_devices.eviction(claim, tainted_devices.slices_of_claim(caches, claim), rules, now)
        if eviction is None:
            return DONE
        if eviction.due > now:
            return again_after((eviction.due - now).total_seconds())
        store = caches.store(PodView)
        for consumer in claim.status.reserved_for:
            pod = store.get(claim.metadata.namespace, consumer.name)
            if pod is None or consumer.resource != "pods" or pod.metadata.uid != consumer.uid:
                continue
            if not pods.is_terminating(pod) and not pods.is_terminal(pod):
                # Counted first: whoever hears of the deletion asks at once how many there were.
                self.evicted.update(eviction.rules)
                if await self._evict(pod):
                    self.context.metrics.inc(DELETIONS)
                    self.context.metrics.observe(LATENCY, (self.context.clock.now() - eviction.due).total_seconds())
                else:
                    self.evicted.subtract(eviction.rules)
        return DONE

    async def _evict(self, pod: PodView) -> bool:
        metadata = pod.metadata
        await self.context.events.event(pod, "Normal", "DeviceTaintManagerEviction", "Marking for deletion")
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByDeviceTaintManager",
            "message": "Device Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": self.context.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        patch = StrategicMergePatch({"metadata": {"uid": metadata.uid}, "status": {"conditions": [condition]}})
        try:
            await self.context.client.patch(Pod, metadata.name, metadata.namespace, patch, "status")
            return await self.context.client.delete(Pod, metadata.name, metadata.namespace, uid=metadata.uid)
        except (errors.NotFound, errors.Conflict):
            return False  # gone already, or another pod of that name

    def _claims_of(self, slice_: ResourceSlice) -> list[Key]:
        users = tainted_devices.claims_of_pool(self.context.caches, slice_.spec.driver, slice_.spec.pool.name)
        return [(one.metadata.namespace, one.metadata.name) for one in users]

    def _claims_under(self, rule: DeviceTaintRule) -> list[Key]:
        return [
            (one.metadata.namespace, one.metadata.name)
            for one in self.context.caches.store(ResourceClaim).list()
            if one.status.allocation is not None
            and any(
                device_taint_rules.selects(rule, result.driver, result.pool, result.device)
                for result in one.status.allocation.devices.results
            )
        ]


def _evicts(change: Change[DeviceTaintRule]) -> bool:
    """Whether a rule's change can evict somebody, now or later: what its status says does not."""
    return change.old is None or change.new is None or change.old.spec != change.new.spec
