"""Budgets count what controllers are told to have, whatever kind they are, and allow nothing where nobody can tell."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from keelback.api.core_v1 import Container, Pod, PodSpec
from keelback.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from keelback.apimachinery.meta import LabelSelector, ObjectMeta, OwnerReference
from keelback.client import MergePatch
from keelback.controllers.disruptions import DisruptionReconciler

LABELS = {"app": "web"}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def definition(has_scale: bool) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    version["subresources"] = {"scale": scale} if has_scale else {}
    spec = {"group": "example.com", "scope": "Namespaced", "versions": [version]}
    spec["names"] = {"plural": "sets", "singular": "set", "kind": "Set"}
    metadata = {"name": "sets.example.com"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }


async def served(client: Any) -> None:
    """Return when the server has the custom resource."""
    while True:
        answer = await client.request("GET", f"{DEFINITIONS}/sets.example.com")
        found = msgspec.json.decode(answer.content()).get("status", {}).get("conditions") or []
        if any(one["type"] == "Established" and one["status"] == "True" for one in found):
            return
        await asyncio.sleep(0)


def budget(**spec: Any) -> PodDisruptionBudget:
    selector = LabelSelector(match_labels=LABELS)
    return PodDisruptionBudget(
        metadata=ObjectMeta(name="b", namespace="default"), spec=PodDisruptionBudgetSpec(selector=selector, **spec)
    )


async def ready_pod(world: Any, name: str, *owners: OwnerReference) -> None:
    metadata = ObjectMeta(name=name, namespace="default", labels=LABELS, owner_references=owners)
    spec = PodSpec(containers=(Container(name="c", image="one"),))
    await world.client.create(Pod(metadata=metadata, spec=spec))
    ready = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "conditions": [ready]}
    await world.client.patch(Pod, name, "default", MergePatch({"status": status}), "status")


def reason(budgets: list[PodDisruptionBudget], wanted: str) -> PodDisruptionBudget | None:
    return next((one for one in budgets if any(c.reason == wanted for c in one.status.conditions)), None)


def test_pods_of_nobody_do_not_count_towards_shares_and_that_is_said(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            await ready_pod(world, "p")
            await world.client.create(budget(max_unavailable=1))
            async with world.running(DisruptionReconciler(world.context("disruption-controller"))):
                held = await world.until(PodDisruptionBudget, lambda all: reason(all, "InsufficientPods"))
                assert (held.status.expected_pods, held.status.disruptions_allowed) == (0, 0)
            assert {one[1] for one in world.events.said} == {"UnmanagedPods"}
            assert "(selector: app=web) were found to be unmanaged" in world.events.said[0][2]

    asyncio.run(play())


@pytest.mark.parametrize("has_scale", [True, False])
def test_a_custom_resource_counts_by_its_scale(served_world: Any, has_scale: bool) -> None:
    async def play() -> None:
        async with served_world() as world:
            client = world.client
            await client.request("POST", DEFINITIONS, body=msgspec.json.encode(definition(has_scale)))
            async with asyncio.timeout(10):
                await served(client)
            body = b'{"apiVersion":"example.com/v1","kind":"Set","metadata":{"name":"s"},"spec":{"replicas":3}}'
            answer = await client.request("POST", "/apis/example.com/v1/namespaces/default/sets", body=body)
            uid = msgspec.json.decode(answer.content())["metadata"]["uid"]
            owner = OwnerReference(api_version="example.com/v1", kind="Set", name="s", uid=uid, controller=True)
            await ready_pod(world, "p", owner)
            await ready_pod(world, "q", owner)
            await client.create(budget(min_available="50%"))
            async with world.running(DisruptionReconciler(world.context("disruption-controller"))):
                if has_scale:
                    held = await world.until(
                        PodDisruptionBudget, lambda all: [one for one in all if one.status.expected_pods == 3]
                    )
                    # Two of three are to stay, and two there are.
                    assert held[0].status.desired_healthy == 2
                    assert held[0].status.disruptions_allowed == 0
                else:
                    held = await world.until(PodDisruptionBudget, lambda all: reason(all, "SyncFailed"))
                    assert held.status.disruptions_allowed == 0
                    assert "found no controllers for pod" in held.status.conditions[0].message

    asyncio.run(play())
