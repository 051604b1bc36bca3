"""Pods with claim templates get claims, and claims are free again when nobody uses them."""

from __future__ import annotations

import asyncio
from typing import Any

from keelback.api.core_v1 import Container, Pod, PodResourceClaim, PodSpec
from keelback.api.resource_v1 import (
    DeviceClaim,
    DeviceRequest,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import MergePatch
from keelback.controllers.resource_claims import POD_CLAIM_NAME, ClaimUseReconciler, PodClaimsReconciler

CLAIM = ResourceClaimSpec(
    devices=DeviceClaim(
        requests=(DeviceRequest(name="gpu", exactly=ExactDeviceRequest(device_class_name="gpu.example.com")),)
    )
)


def pod(name: str, claim: PodResourceClaim) -> Pod:
    spec = PodSpec(containers=(Container(name="c", image="one"),), resource_claims=(claim,))
    return Pod(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


def test_a_template_makes_one_claim_that_ends_with_the_pods_work(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            client = world.client
            context = world.context("resource-claim-controller")
            async with world.running(PodClaimsReconciler(context), ClaimUseReconciler(context)):
                # The pod comes first: its claim follows when the template is there.
                entry = PodResourceClaim(name="device", resource_claim_template_name="gpus")
                await client.create(pod("p", entry))
                template = ResourceClaimTemplate(
                    metadata=ObjectMeta(name="gpus", namespace="default"), spec=ResourceClaimTemplateSpec(spec=CLAIM)
                )
                await client.create(template)
                made = (await world.until(ResourceClaim, lambda all: all))[0]
                assert made.metadata.generate_name == "p-device-"
                assert made.metadata.annotations[POD_CLAIM_NAME] == "device"
                assert [one.name for one in made.metadata.owner_references] == ["p"]
                said = await world.until(Pod, lambda all: all[0].status.resource_claim_statuses if all else ())
                assert [(one.name, one.resource_claim_name) for one in said] == [("device", made.metadata.name)]
                assert len((await client.list(ResourceClaim, "default")).items) == 1
                await client.patch(Pod, "p", "default", MergePatch({"status": {"phase": "Succeeded"}}), "status")
                await world.until(ResourceClaim, lambda all: not all)

    asyncio.run(play())


def test_a_claim_is_freed_when_its_last_user_is_gone_and_stays(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            client = world.client
            context = world.context("resource-claim-controller")
            await client.create(ResourceClaim(metadata=ObjectMeta(name="shared", namespace="default"), spec=CLAIM))
            users = [
                await client.create(pod(name, PodResourceClaim(name="d", resource_claim_name="shared")))
                for name in ("p", "q")
            ]
            result = {"request": "gpu", "driver": "gpu.example.com", "pool": "n", "device": "gpu-0"}
            reserved = [{"resource": "pods", "name": one.metadata.name, "uid": one.metadata.uid} for one in users]
            status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": reserved}
            await client.patch(ResourceClaim, "shared", "default", MergePatch({"status": status}), "status")
            async with world.running(PodClaimsReconciler(context), ClaimUseReconciler(context)):
                await client.delete(Pod, "p", "default", grace_period_seconds=0)
                held = await world.until(
                    ResourceClaim,
                    lambda all: all[0].status if all and len(all[0].status.reserved_for) == 1 else None,
                )
                assert held.reserved_for[0].name == "q"
                assert held.allocation is not None
                await client.delete(Pod, "q", "default", grace_period_seconds=0)
                await world.until(
                    ResourceClaim, lambda all: all[0].status.allocation is None and not all[0].status.reserved_for
                )

    asyncio.run(play())
