"""A volume is attached where pods use it and nowhere else, and detached when nobody has it mounted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from keelback.api.core_v1 import (
    Container,
    CSIPersistentVolumeSource,
    Node,
    NodeCondition,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSpec,
    Taint,
    Volume,
    VolumeResourceRequirements,
)
from keelback.api.storage_v1 import (
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
    VolumeAttachmentStatus,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import MergePatch
from keelback.controllers.attach_detach import MANAGED, AttachDetachReconciler, attachment_name, plan
from keelback.controllers.observed import HeldMeta, NodeSpecView, NodeStatusView, NodeView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "kubernetes.io/csi/csi.example.com^handle"


def volume(name: str = "pv", *modes: str) -> PersistentVolume:
    csi = CSIPersistentVolumeSource(driver="csi.example.com", volume_handle="handle")
    spec = PersistentVolumeSpec(
        capacity={"storage": "1Gi"},
        access_modes=modes or ("ReadWriteOnce",),
        csi=csi,
        claim_ref=ObjectReference(namespace="default", name="data"),
    )
    return PersistentVolume(metadata=ObjectMeta(name=name), spec=spec)


def attachment(node: str, name: str = "pv") -> VolumeAttachment:
    source = VolumeAttachmentSource(persistent_volume_name=name)
    spec = VolumeAttachmentSpec(attacher="csi.example.com", node_name=node, source=source)
    return VolumeAttachment(
        metadata=ObjectMeta(name=f"a-{node}"), spec=spec, status=VolumeAttachmentStatus(attached=True)
    )


def node(name: str, *in_use: str, away_for: float | None = None, taint: str = "") -> NodeView:
    conditions: tuple[NodeCondition, ...] = ()
    if away_for is not None:
        since = NOW - timedelta(seconds=away_for)
        conditions = (NodeCondition(type="Ready", status="Unknown", last_transition_time=since),)
    taints = (Taint(key=taint, effect="NoExecute"),) if taint else ()
    return NodeView(
        metadata=HeldMeta(name=name, annotations={MANAGED: "true"}),
        spec=NodeSpecView(taints=taints),
        status=NodeStatusView(conditions=conditions, volumes_in_use=in_use),
    )


def test_what_pods_use_is_attached_once() -> None:
    one = volume()
    assert plan(node("a"), {"pv": one}, [], {"pv": one}, NOW).attach == (one,)
    assert plan(node("a"), {"pv": one}, [attachment("a")], {"pv": one}, NOW).attach == ()


def test_a_volume_of_one_node_is_not_given_to_another_and_a_shared_one_is() -> None:
    one, shared = volume(), volume("pv", "ReadWriteMany")
    refused = plan(node("a"), {"pv": one}, [attachment("b")], {"pv": one}, NOW)
    assert (refused.attach, refused.refused) == ((), ((one, "b"),))
    assert plan(node("a"), {"pv": shared}, [attachment("b")], {"pv": shared}, NOW).attach == (shared,)


def test_detachment_waits_for_the_kubelet_or_for_the_node_to_be_away_long_enough() -> None:
    held, volumes = [attachment("a")], {"pv": volume()}
    assert plan(node("a"), {}, held, volumes, NOW).detach == (held[0],)
    assert plan(node("a", NAME), {}, held, volumes, NOW).detach == ()
    waiting = plan(node("a", NAME, away_for=100), {}, held, volumes, NOW)
    assert (waiting.detach, waiting.again_after_seconds) == ((), 260)
    assert plan(node("a", NAME, away_for=400), {}, held, volumes, NOW).detach == (held[0],)
    lost = node("a", NAME, taint="node.kubernetes.io/out-of-service")
    assert plan(lost, {}, held, volumes, NOW).detach == (held[0],)


def test_a_pods_volume_is_attached_reported_and_detached_after_it(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            client = world.client
            await client.create(Node(metadata=ObjectMeta(name="n", annotations={MANAGED: "true"})))
            spec = PersistentVolumeClaimSpec(
                access_modes=("ReadWriteOnce",),
                volume_name="pv",
                resources=VolumeResourceRequirements(requests={"storage": "1Gi"}),
            )
            await client.create(volume())
            await client.create(PersistentVolumeClaim(metadata=ObjectMeta(name="data", namespace="default"), spec=spec))
            bound = MergePatch({"status": {"phase": "Bound"}})
            await client.patch(PersistentVolumeClaim, "data", "default", bound, "status")
            used = PersistentVolumeClaimVolumeSource(claim_name="data")
            pod = PodSpec(
                node_name="n",
                containers=(Container(name="c", image="one"),),
                volumes=(Volume(name="v", persistent_volume_claim=used),),
            )
            await client.create(Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=pod))
            name = attachment_name("handle", "csi.example.com", "n")
            async with world.running(AttachDetachReconciler(world.context("attachdetach-controller"))):
                made = await world.until(VolumeAttachment, lambda all: all)
                assert [one.metadata.name for one in made] == [name]
                assert made[0].spec.source.persistent_volume_name == "pv"
                await client.patch(VolumeAttachment, name, "", MergePatch({"status": {"attached": True}}), "status")
                await world.until(
                    Node, lambda all: [one.name for one in all[0].status.volumes_attached] == [NAME] if all else False
                )
                await client.delete(Pod, "p", "default", grace_period_seconds=0)
                await world.until(VolumeAttachment, lambda all: not all)
                await world.until(Node, lambda all: not all[0].status.volumes_attached)
            assert (
                "Normal",
                "SuccessfulAttachVolume",
                'AttachVolume.Attach succeeded for volume "pv" ',
            ) in world.events.said

    asyncio.run(play())
