"""Devices with taints lose the pods whose claims do not tolerate that, at the time the claims say."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import Container, Pod, PodResourceClaim, PodSpec
from keelback.api.resource_v1 import (
    AllocationResult,
    Device,
    DeviceAllocationResult,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceTaint,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from keelback.api.resource_v1alpha3 import DeviceTaintRule, DeviceTaintRuleSpec, DeviceTaintSelector
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.client import MergePatch
from keelback.controllers import device_taint_rules
from keelback.controllers.device_taint_rules import Affected, DeviceTaintRuleReconciler
from keelback.controllers.device_taints import DeviceTaintEvictionReconciler
from keelback.controllers.tainted_devices import eviction, eviction_time, selects
from keelback.testing.clock import HandClock

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


CLAIM = ResourceClaim(
    metadata=ObjectMeta(name="c", namespace="default"),
    spec=ResourceClaimSpec(),
    status=ResourceClaimStatus(
        allocation=AllocationResult(devices=DeviceAllocationResult(results=(result(),))),
        reserved_for=(ResourceClaimConsumerReference(resource="pods", name="p", uid="u"),),
    ),
)


def rule(effect: str = "NoExecute", **selector: str) -> DeviceTaintRule:
    spec = DeviceTaintRuleSpec(device_selector=DeviceTaintSelector(**selector), taint=replace(TAINT, effect=effect))
    return DeviceTaintRule(metadata=ObjectMeta(name="r", uid="rule", generation=3), spec=spec)


def test_a_rule_is_about_the_devices_that_it_selects() -> None:
    assert selects(rule(), "gpu.example.com", "n", "gpu-0")
    assert selects(rule(driver="gpu.example.com", pool="n", device="gpu-0"), "gpu.example.com", "n", "gpu-0")
    assert not selects(rule(device="gpu-1"), "gpu.example.com", "n", "gpu-0")
    assert not selects(DeviceTaintRule(), "gpu.example.com", "n", "gpu-0")


taints = st.builds(
    DeviceTaint,
    key=st.sampled_from(["broken", "old"]),
    effect=st.sampled_from(["NoExecute", "NoSchedule", "None"]),
    time_added=st.integers(0, 9).map(lambda seconds: NOW + timedelta(seconds=seconds)),
)


@given(st.lists(taints, max_size=4))
def test_rules_evict_as_the_same_taints_of_a_driver_do(given_taints: list[DeviceTaint]) -> None:
    devices = (Device(name="gpu-0", taints=tuple(given_taints)),)
    pool = ResourcePool(name="n", generation=1, resource_slice_count=1)
    spec = ResourceSliceSpec(driver="gpu.example.com", node_name="n", pool=pool, devices=devices)
    published = eviction(CLAIM, [ResourceSlice(metadata=ObjectMeta(name="s"), spec=spec)], [], NOW)
    rules = [
        replace(rule(), spec=replace(rule().spec, taint=taint), metadata=ObjectMeta(name=f"r{n}", uid=f"r{n}"))
        for n, taint in enumerate(given_taints)
    ]
    ruled = eviction(CLAIM, [], rules, NOW)
    assert (published is None) == (ruled is None) == (not any(one.effect == "NoExecute" for one in given_taints))
    if published is not None and ruled is not None:
        assert published.due == ruled.due
        assert not published.rules
        assert ruled.rules == {f"r{n}" for n, one in enumerate(given_taints) if one.effect == "NoExecute"}


@pytest.mark.parametrize(
    ("effect", "affected", "evicted", "said"),
    [
        (
            "NoExecute",
            Affected(1, 1, 1, 1),
            0,
            ("True", "PodsPendingEviction", "1 pod needs to be evicted in 1 namespace."),
        ),
        (
            "NoExecute",
            Affected(2, 2, 3, 2),
            1,
            (
                "True",
                "PodsPendingEviction",
                "3 pods need to be evicted in 2 different namespaces. 1 pod evicted since starting the controller.",
            ),
        ),
        ("NoExecute", Affected(), 2, ("False", "Completed", "2 pods evicted since starting the controller.")),
        ("NoExecute", Affected(), 0, ("False", "NotStarted", "")),
        ("NoSchedule", Affected(), 0, ("False", "OtherEffect", "Eviction only happens for the NoExecute effect.")),
        (
            "None",
            Affected(4, 1, 1, 1),
            0,
            (
                "False",
                "NoEffect",
                "4 published devices selected. 1 allocated device selected. 1 pod would be evicted in 1 namespace "
                "if the effect was NoExecute. This information will not be updated again. "
                "Recreate the DeviceTaintRule to trigger an update.",
            ),
        ),
    ],
)
def test_a_rule_says_how_far_it_is(effect: str, affected: Affected, evicted: int, said: tuple[str, str, str]) -> None:
    condition = device_taint_rules.plan(rule(effect), affected, evicted)
    assert (condition.status, condition.reason, condition.message) == said
    assert (condition.type, condition.observed_generation) == ("EvictionInProgress", 3)


def test_a_rule_first_counts_and_then_evicts(served_world: Any) -> None:
    async def play() -> None:
        clock = HandClock(NOW)
        async with served_world(clock, ("resource.k8s.io", "v1alpha3")) as world:
            client = world.client
            await _claimed(client)
            context = world.context("device-taint-eviction-controller")
            eviction = DeviceTaintEvictionReconciler(context, has_rules=True)
            asked = rule("None", driver="gpu.example.com")
            untimed = replace(asked.spec, taint=replace(asked.spec.taint, time_added=None))
            async with world.running(eviction, DeviceTaintRuleReconciler(context, eviction.evicted)):
                held = await client.create(DeviceTaintRule(metadata=ObjectMeta(name="r"), spec=untimed))
                assert held.spec.taint.time_added == NOW
                (before,) = await world.until(DeviceTaintRule, lambda all: all and all[0].status.conditions and all)
                assert "1 pod would be evicted in 1 namespace if" in before.status.conditions[0].message
                assert len((await client.list(Pod, "default")).items or ()) == 1
                await client.patch(DeviceTaintRule, "r", "", MergePatch({"spec": {"taint": {"effect": "NoExecute"}}}))
                await world.until(Pod, lambda all: not all)
                await clock.pass_time(20)
                text = "1 pod evicted since starting the controller."
                await world.until(DeviceTaintRule, lambda all: all[0].status.conditions[0].message == text and all[0])

    asyncio.run(play())


async def _claimed(client: Any) -> None:
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


def test_a_taint_that_appears_evicts_the_user_of_the_device(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            client = world.client
            await _claimed(client)
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
