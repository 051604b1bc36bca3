"""The resourcepoolstatusrequest controller: answers, once, how many devices of a driver's pools are free.

A question is deleted an hour after its answer, or a day after it was asked in vain. https://kep.k8s.io/5677
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from keelback.api.resource_v1 import Device, ResourceClaim, ResourceSlice
from keelback.api.resource_v1alpha3 import (
    DeviceTaintRule,
    PoolStatus,
    ResourcePoolStatusRequest,
    ResourcePoolStatusRequestSpec,
    ResourcePoolStatusRequestStatus,
)
from keelback.apimachinery.meta import Condition, replace
from keelback.controllers import tainted_devices
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result, again_after
from keelback.scheduling import device_taint_rules

_DEFAULT_LIMIT = 100
_RETRIES = 5
_AGAIN_SECONDS = 1.0
_ANSWERED_FOR = timedelta(hours=1)
_PENDING_FOR = timedelta(hours=24)
_MAX_ERROR = 256
_UNAVAILABLE = ("NoSchedule", "NoExecute")

Pool = tuple[str, str]
"""Driver and name."""


def plan(
    spec: ResourcePoolStatusRequestSpec,
    slices: Iterable[ResourceSlice],
    claims: Iterable[ResourceClaim],
    rules: Sequence[DeviceTaintRule],
    now: datetime,
) -> ResourcePoolStatusRequestStatus:
    """The answer: of each pool its newest generation, counted where all its slices are there."""
    pools: dict[Pool, list[ResourceSlice]] = {}
    for one in slices:
        if one.spec.driver == spec.driver and spec.pool_name in (None, "", one.spec.pool.name):
            pools.setdefault((one.spec.driver, one.spec.pool.name), []).append(one)
    allocated = _allocated(claims)
    found = [_status(pool, pools[pool], allocated.get(pool, frozenset()), rules) for pool in sorted(pools)]
    shown = tuple(found[: _DEFAULT_LIMIT if spec.limit is None else spec.limit])
    incomplete = sum(one.validation_error is not None for one in shown)
    message = f"Calculated status for {len(shown)} pools" + (f" ({incomplete} incomplete)" if incomplete else "")
    condition = Condition(
        type="Complete", status="True", reason="CalculationComplete", message=message, last_transition_time=now
    )
    return ResourcePoolStatusRequestStatus(pool_count=len(found), pools=shown, conditions=(condition,))


def expires(request: ResourcePoolStatusRequest) -> datetime | None:
    """From when on nobody needs the question, or its answer, any more."""
    created = request.metadata.creation_timestamp
    if request.status is None:
        return None if created is None else created + _PENDING_FOR
    answered = next((one.last_transition_time for one in request.status.conditions), created)
    return None if answered is None else answered + _ANSWERED_FOR


@dataclass(frozen=True, slots=True)
class ResourcePoolStatusRequestReconciler:
    """Answers when a question comes; slices that come later change no answer."""

    context: Context
    waited: dict[str, int] = field(default_factory=dict)
    """How often each question was put off because a driver was still publishing."""
    name: ClassVar = "resourcepoolstatusrequest-controller"
    role: ClassVar = "resourcepoolstatusrequest-controller"
    component: ClassVar = "resourcepoolstatusrequest-controller"
    kind: ClassVar = ResourcePoolStatusRequest
    owns: ClassVar = ()
    reads: ClassVar = (ResourceSlice, ResourceClaim, DeviceTaintRule)

    async def reconcile(self, request: ResourcePoolStatusRequest) -> Result:
        now, metadata = self.context.now(), request.metadata
        expiry = expires(request)
        if expiry is not None and expiry <= now:
            await self.context.client.delete(ResourcePoolStatusRequest, metadata.name, uid=metadata.uid)
            return DONE
        if request.status is not None:
            return DONE if expiry is None else again_after((expiry - now).total_seconds())
        caches = self.context.caches
        status = plan(
            request.spec,
            caches.store(ResourceSlice).list(),
            caches.store(ResourceClaim).list(),
            caches.store(DeviceTaintRule).list(),
            now,
        )
        waited = self.waited.get(metadata.uid, 0)
        if any(pool.validation_error is not None for pool in status.pools) and waited < _RETRIES:
            self.waited[metadata.uid] = waited + 1
            return again_after(_AGAIN_SECONDS * 2**waited)
        self.waited.pop(metadata.uid, None)
        await patches.write_status(self.context.client, request, ResourcePoolStatusRequestStatus(), status)
        return DONE


def _allocated(claims: Iterable[ResourceClaim]) -> Mapping[Pool, frozenset[str]]:
    """The devices of each pool that claims have, each once; those who only look at one do not have it."""
    found: dict[Pool, set[str]] = {}
    for claim in claims:
        if claim.status.allocation is not None:
            for one in claim.status.allocation.devices.results:
                if not one.admin_access:
                    found.setdefault((one.driver, one.pool), set()).add(one.device)
    return {pool: frozenset(devices) for pool, devices in found.items()}


def _status(
    pool: Pool, slices: Sequence[ResourceSlice], allocated: frozenset[str], rules: Sequence[DeviceTaintRule]
) -> PoolStatus:
    newest = tainted_devices.newest_slices(slices)
    generation, expected = newest[0].spec.pool.generation, newest[0].spec.pool.resource_slice_count
    places = {one.spec.node_name for one in newest}
    node_name = (places.pop() or None) if len(places) == 1 else None
    status = PoolStatus(driver=pool[0], pool_name=pool[1], generation=generation, node_name=node_name)
    if len(newest) < expected:
        error = (
            f"pool {pool[0]}/{pool[1]} is incomplete: observed {len(newest)}/{expected} slices at generation "
            f"{generation}"
        )
        return replace(status, validation_error=error[:_MAX_ERROR])
    devices = [device for one in newest for device in one.spec.devices]
    unavailable = sum(_is_unavailable(pool, device, rules) for device in devices)
    return replace(
        status,
        resource_slice_count=len(newest),
        total_devices=len(devices),
        allocated_devices=len(allocated),
        unavailable_devices=unavailable,
        available_devices=max(0, len(devices) - len(allocated) - unavailable),
    )


def _is_unavailable(pool: Pool, device: Device, rules: Sequence[DeviceTaintRule]) -> bool:
    if any(taint.effect in _UNAVAILABLE for taint in device.taints):
        return True
    return any(
        rule.spec.taint.effect in _UNAVAILABLE and device_taint_rules.selects(rule, *pool, device.name)
        for rule in rules
    )
