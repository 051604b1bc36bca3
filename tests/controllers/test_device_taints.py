"""Devices with taints lose the pods whose claims do not tolerate that, at the time the claims say."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from keelback.api.core_v1 import Container, Pod, PodResourceClaim, PodSpec
from keelback.api.resource_v1 import (
    Device,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceTaint,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.client import MergePatch
from keelback.controllers.device_taints import DeviceTaintEvictionReconciler, eviction_time

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TAINT = DeviceTaint(key="broken", value="yes", effect="NoExecute", time_added=NOW)


def result(*tolerations: DeviceToleration) -> DeviceRequestAllocationResult:
    return DeviceRequestAllocationResult(
        request="gpu", driver="gpu.example.com", pool="n", device="gpu-0", tolerations=tolerations
    )


def test_a_pod_goes_at_once_later_or_never_as_tolerations_say() -> None:
    later = NOW + timedelta(seconds=5)
    for_ever = DeviceToleration(key="broken", operator="Exists")
    for_a_minute = replace(for_ever, toleration_seconds=60)
    other_value = DeviceToleration(key="broken", operator="Equal", value="no")
    assert eviction_time(result(), [TAINT], later) == NOW
    assert eviction_time(result(other_value), [TAINT], later) == NOW
    assert eviction_time(result(for_a_minute), [TAINT], later) == NOW + timedelta(minutes=1)
    assert eviction_time(result(for_ever), [TAINT], later) is None
    assert eviction_time(result(DeviceToleration(operator="Exists")), [TAINT], later) is None
    assert eviction_time(result(), [replace(TAINT, effect="NoSchedule")], later) is None


def test_a_taint_that_appears_evicts_the_user_of_the_device(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            client = world.client
            request = DeviceRequest(name="gpu", exactly=ExactDeviceRequest(device_class_name="gpu.example.com"))
            spec = ResourceClaimSpec(devices=DeviceClaim(requests=(request,)))
            await client.create(ResourceClaim(metadata=ObjectMeta(name="c", namespace="default"), spec=spec))
            pod_spec = PodSpec(
                containers=(Container(name="c", image="one"),),
                resource_claims=(PodResourceClaim(name="d", resource_claim_name="c"),),
            )
            user = await client.create(Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=pod_spec))
            held = {"request": "gpu", "driver": "gpu.example.com", "pool": "n", "device": "gpu-0"}
            reserved = [{"resource": "pods", "name": "p", "uid": user.metadata.uid}]
            status = {"allocation": {"devices": {"results": [held]}}, "reservedFor": reserved}
            await client.patch(ResourceClaim, "c", "default", MergePatch({"status": status}), "status")
            offered = ResourceSliceSpec(
                driver="gpu.example.com",
                node_name="n",
                pool=ResourcePool(name="n", generation=1, resource_slice_count=1),
                devices=(Device(name="gpu-0"), Device(name="gpu-1", taints=(TAINT,))),
            )
            reconciler = DeviceTaintEvictionReconciler(world.context("device-taint-eviction-controller"))
            async with world.running(reconciler):
                made = await client.create(ResourceSlice(metadata=ObjectMeta(name="s"), spec=offered))
                devices = (replace(offered.devices[0], taints=(TAINT,)), offered.devices[1])
                await client.update(replace(made, spec=replace(offered, devices=devices)))
                await world.until(Pod, lambda all: not all)
            assert ("Normal", "DeviceTaintManagerEviction", "Marking for deletion") in world.events.said

    asyncio.run(play())
