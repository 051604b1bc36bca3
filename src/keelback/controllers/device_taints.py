"""The device-taint-eviction controller: deletes pods whose devices have NoExecute taints that nothing tolerates.

Taints of ResourceSlices; DeviceTaintRules are looked at by nobody yet. https://kep.k8s.io/5055
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from keelback.api import pods
from keelback.api.core_v1 import Pod
from keelback.api.resource_v1 import (
    DeviceRequestAllocationResult,
    DeviceTaint,
    DeviceToleration,
    ResourceClaim,
    ResourceSlice,
)
from keelback.apimachinery import errors
from keelback.client import StrategicMergePatch
from keelback.controllers.observed import PodView
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

_NO_EXECUTE = "NoExecute"


def tolerates(toleration: DeviceToleration, taint: DeviceTaint) -> bool:
    """Whether the toleration is for this taint; an empty effect or key (with Exists) is for all."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def eviction_time(
    result: DeviceRequestAllocationResult, taints: Iterable[DeviceTaint], now: datetime
) -> datetime | None:
    """When those who use the device must go: a time not after `now` means at once, None never."""
    earliest: datetime | None = None
    for taint in taints:
        if taint.effect != _NO_EXECUTE:
            continue
        since = taint.time_added or now
        fitting = [one for one in result.tolerations if tolerates(one, taint)]
        if not fitting:
            due = since
        else:
            limits = [one.toleration_seconds for one in fitting if one.toleration_seconds is not None]
            if not limits:
                continue
            due = since + timedelta(seconds=max(0, min(limits)))
        earliest = due if earliest is None else min(earliest, due)
    return earliest


@dataclass(frozen=True, slots=True)
class DeviceTaintEvictionReconciler:
    """Looks at an allocated claim when it or a slice of its devices changes."""

    context: Context
    name: ClassVar = "device-taint-eviction-controller"
    role: ClassVar = "device-taint-eviction-controller"
    component: ClassVar = "device-taint-eviction"
    kind: ClassVar = ResourceClaim
    owns: ClassVar = ()
    reads: ClassVar = (PodView,)

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(ResourceClaim, "by-pool", _pools)
        self.context.caches.index(ResourceSlice, "by-pool", _pool)
        return (Source(ResourceSlice, self._claims_of),)

    async def reconcile(self, claim: ResourceClaim) -> Result:
        if claim.status.allocation is None:
            return DONE
        now = self.context.now()
        times = [
            due
            for result in claim.status.allocation.devices.results
            if (due := eviction_time(result, self._taints(result), now)) is not None
        ]
        if not times:
            return DONE
        due = min(times)
        if due > now:
            return again_after((due - now).total_seconds())
        store = self.context.caches.store(PodView)
        for consumer in claim.status.reserved_for:
            pod = store.get(claim.metadata.namespace, consumer.name)
            if pod is None or consumer.resource != "pods" or pod.metadata.uid != consumer.uid:
                continue
            if not pods.is_terminating(pod) and not pods.is_terminal(pod):
                await self._evict(pod)
        return DONE

    def _taints(self, result: DeviceRequestAllocationResult) -> list[DeviceTaint]:
        slices = self.context.caches.store(ResourceSlice).by_index("by-pool", (result.driver, result.pool))
        # Of a pool that is being published anew only the newest generation counts.
        newest = max((one.spec.pool.generation for one in slices), default=0)
        return [
            taint
            for one in slices
            if one.spec.pool.generation == newest
            for device in one.spec.devices
            if device.name == result.device
            for taint in device.taints
        ]

    async def _evict(self, pod: PodView) -> None:
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
            await self.context.client.delete(Pod, metadata.name, metadata.namespace, uid=metadata.uid)
        except (errors.NotFound, errors.Conflict):
            return  # gone already, or another pod of that name

    def _claims_of(self, slice_: ResourceSlice) -> list[tuple[str, str]]:
        key = (slice_.spec.driver, slice_.spec.pool.name)
        users = self.context.caches.store(ResourceClaim).by_index("by-pool", key)
        return [(one.metadata.namespace, one.metadata.name) for one in users]


def _pools(claim: ResourceClaim) -> list[tuple[str, str]]:
    allocation = claim.status.allocation
    return [] if allocation is None else [(one.driver, one.pool) for one in allocation.devices.results]


def _pool(slice_: ResourceSlice) -> list[tuple[str, str]]:
    return [(slice_.spec.driver, slice_.spec.pool.name)]
