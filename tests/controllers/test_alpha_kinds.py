"""PodGroups stay while their pods run; questions about pools of devices are answered once, and go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import Container, Pod, PodSchedulingGroup, PodSpec
from keelback.api.resource_v1 import (
    AllocationResult,
    Device,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
    DeviceTaint,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from keelback.api.resource_v1alpha3 import (
    DeviceTaintRule,
    DeviceTaintRuleSpec,
    DeviceTaintSelector,
    ResourcePoolStatusRequest,
    ResourcePoolStatusRequestSpec,
)
from keelback.api.scheduling_v1alpha2 import BasicSchedulingPolicy, PodGroup, PodGroupSchedulingPolicy, PodGroupSpec
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import MergePatch
from keelback.controllers import pod_group_protection, resource_pool_status_requests
from keelback.controllers.pod_group_protection import FINALIZER, PodGroupProtectionReconciler
from keelback.controllers.resource_pool_status_requests import ResourcePoolStatusRequestReconciler
from keelback.testing.clock import HandClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DRIVER = "gpu.example.com"


@given(st.lists(st.sampled_from([FINALIZER, "other"]), unique=True), st.booleans(), st.booleans())
def test_a_group_is_held_by_its_pods_alone(held: list[str], is_deleting: bool, is_used: bool) -> None:
    wanted = pod_group_protection.plan(held, is_deleting=is_deleting, is_used=is_used)
    assert ("other" in wanted) == ("other" in held)
    if is_used and not is_deleting:
        assert FINALIZER in wanted
    if is_deleting and not is_used:
        assert FINALIZER not in wanted
    assert pod_group_protection.plan(wanted, is_deleting=is_deleting, is_used=is_used) == wanted


def test_a_group_goes_after_its_last_pod_has_ended(served_world: Any) -> None:
    async def play() -> None:
        async with served_world(None, ("scheduling.k8s.io", "v1alpha2"), gates={"GenericWorkload": True}) as world:
            client = world.client
            policy = PodGroupSchedulingPolicy(basic=BasicSchedulingPolicy())
            group = PodGroup(
                metadata=ObjectMeta(name="g", namespace="default"), spec=PodGroupSpec(scheduling_policy=policy)
            )
            await client.create(group)
            context = world.context("podgroup-protection-controller")
            async with world.running(PodGroupProtectionReconciler(context)):
                spec = PodSpec(
                    containers=(Container(name="c", image="one"),),
                    scheduling_group=PodSchedulingGroup(pod_group_name="g"),
                )
                await client.create(Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=spec))
                await world.until(PodGroup, lambda all: all[0].metadata.finalizers == (FINALIZER,))
                await client.delete(PodGroup, "g", "default")
                await world.until(PodGroup, lambda all: all[0].metadata.deletion_timestamp)
                ended = MergePatch({"status": {"phase": "Succeeded"}})
                await client.patch(Pod, "p", "default", ended, "status")
                await world.until(PodGroup, lambda all: not all)

    asyncio.run(play())


def slice_(name: str, *devices: Device, generation: int = 1, of: int = 1, pool: str = "n") -> ResourceSlice:
    held = ResourcePool(name=pool, generation=generation, resource_slice_count=of)
    return ResourceSlice(
        metadata=ObjectMeta(name=name),
        spec=ResourceSliceSpec(driver=DRIVER, node_name="n", pool=held, devices=devices),
    )


def claim(*devices: str, admin: bool = False) -> ResourceClaim:
    results = tuple(
        DeviceRequestAllocationResult(request="r", driver=DRIVER, pool="n", device=name, admin_access=admin or None)
        for name in devices
    )
    allocation = AllocationResult(devices=DeviceAllocationResult(results=results))
    return ResourceClaim(
        metadata=ObjectMeta(name="c", namespace="default"),
        spec=ResourceClaimSpec(),
        status=ResourceClaimStatus(allocation=allocation),
    )


def test_only_the_newest_generation_counts_and_each_device_once() -> None:
    tainted = Device(name="d2", taints=(DeviceTaint(key="k", effect="NoSchedule"),))
    slices = [
        slice_("old", Device(name="x"), generation=1),
        slice_("a", Device(name="d0"), Device(name="d1"), generation=2, of=2),
        slice_("b", tainted, Device(name="d3"), Device(name="d4"), generation=2, of=2),
    ]
    selector = DeviceTaintSelector(device="d4")
    rule = DeviceTaintRule(
        metadata=ObjectMeta(name="r"),
        spec=DeviceTaintRuleSpec(device_selector=selector, taint=DeviceTaint(key="k", effect="NoExecute")),
    )
    claims = [claim("d0"), claim("d0"), claim("d1", admin=True)]
    spec = ResourcePoolStatusRequestSpec(driver=DRIVER)
    status = resource_pool_status_requests.plan(spec, slices, claims, [rule], NOW)
    (pool,) = status.pools
    counts = (pool.total_devices, pool.allocated_devices, pool.unavailable_devices, pool.available_devices)
    assert counts == (5, 1, 2, 2)
    assert (pool.generation, pool.resource_slice_count, pool.node_name) == (2, 2, "n")
    assert [(one.type, one.reason, one.message) for one in status.conditions] == [
        ("Complete", "CalculationComplete", "Calculated status for 1 pools")
    ]


@given(st.lists(st.integers(0, 6), max_size=6), st.sets(st.integers(0, 9)), st.integers(1, 4))
def test_devices_are_free_used_or_out_of_order_and_no_more_pools_are_told_than_asked(
    sizes: list[int], used: set[int], limit: int
) -> None:
    slices = [
        slice_(f"s{n}", *(Device(name=f"d{m}") for m in range(size)), pool=f"p{n}") for n, size in enumerate(sizes)
    ]
    claims = [claim(*(f"d{n}" for n in sorted(used)))]
    spec = ResourcePoolStatusRequestSpec(driver=DRIVER, limit=limit)
    status = resource_pool_status_requests.plan(spec, slices, claims, [], NOW)
    assert status.pool_count == len(sizes)
    assert len(status.pools) == min(limit, len(sizes))
    for pool, size in zip(status.pools, sizes, strict=False):
        assert (pool.total_devices, pool.available_devices) == (size, size)


def test_a_question_is_answered_once_its_pools_are_whole_and_goes_an_hour_later(served_world: Any) -> None:
    async def play() -> None:
        clock = HandClock(NOW)
        async with served_world(clock, ("resource.k8s.io", "v1alpha3")) as world:
            client = world.client
            await client.create(slice_("a", Device(name="d0"), of=2))
            context = world.context("resourcepoolstatusrequest-controller")
            async with world.running(ResourcePoolStatusRequestReconciler(context)):
                spec = ResourcePoolStatusRequestSpec(driver=DRIVER)
                await client.create(ResourcePoolStatusRequest(metadata=ObjectMeta(name="q"), spec=spec))
                await clock.pass_time(5)
                held = await client.get(ResourcePoolStatusRequest, "q")
                assert held.status is None
                await client.create(slice_("b", Device(name="d1"), of=2))
                await clock.pass_time(60)
                await world.until(
                    ResourcePoolStatusRequest, lambda all: all[0].status and all[0].status.pools[0].total_devices == 2
                )
                await clock.pass_time(timedelta(hours=1).total_seconds() + 60)
                await world.until(ResourcePoolStatusRequest, lambda all: not all)

    asyncio.run(play())
