"""Pods that share a volume are told of each other where they want it labelled differently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    Container,
    CSIPersistentVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSecurityContext,
    PodSpec,
    SecurityContext,
    SELinuxOptions,
    Volume,
    VolumeMount,
    VolumeResourceRequirements,
)
from keelback.api.storage_v1 import CSIDriver, CSIDriverSpec
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import MergePatch
from keelback.controllers.selinux_warnings import SELinuxWarningReconciler, Use, conflicts, labels_differ

uses = st.builds(
    Use, st.sampled_from(["", ":::s0:c1", "u:r:t:s0:c1", ":::s0:c2"]), st.sampled_from(["Recursive", "MountOption"])
)


@given(st.dictionaries(st.tuples(st.just("default"), st.text("ab", max_size=3)), uses, max_size=4))
def test_each_side_of_a_conflict_is_told_and_nobody_of_himself(held: dict[tuple[str, str], Use]) -> None:
    found = conflicts(held)
    sides = {(one.what, one.pod, one.other_pod) for one in found}
    assert all((what, other, pod) in sides and pod != other for what, pod, other in sides)
    for left in held:
        for right in held:
            differ = left != right and held[left].policy != held[right].policy
            assert (("SELinuxChangePolicy", left, right) in sides) == differ


def test_what_a_label_leaves_open_conflicts_with_nothing() -> None:
    assert not labels_differ("system_u:system_r:container_t:s0:c1,c2", ":::s0:c1,c2")
    assert labels_differ("system_u:system_r:container_t:s0:c1,c2", ":::s0:c98,c99")
    assert not labels_differ("", "u:r:t:s0")


def pod(name: str, *levels: str, policy: str | None = None) -> Pod:
    claim = PersistentVolumeClaimVolumeSource(claim_name="data")
    containers = tuple(
        Container(
            name=f"c{number}",
            image="one",
            security_context=SecurityContext(se_linux_options=SELinuxOptions(level=level)),
            volume_mounts=(VolumeMount(name="v", mount_path="/v"),),
        )
        for number, level in enumerate(levels)
    )
    spec = PodSpec(
        containers=containers,
        volumes=(Volume(name="v", persistent_volume_claim=claim),),
        security_context=PodSecurityContext(se_linux_change_policy=policy),
    )
    return Pod(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


def test_pods_with_one_volume_hear_of_each_other_until_one_goes(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            client = world.client
            modes, size = ("ReadWriteMany",), {"storage": "1Gi"}
            claim = await client.create(
                PersistentVolumeClaim(
                    metadata=ObjectMeta(name="data", namespace="default"),
                    spec=PersistentVolumeClaimSpec(
                        access_modes=modes,
                        volume_name="pv",
                        storage_class_name="",
                        resources=VolumeResourceRequirements(requests=size),
                    ),
                )
            )
            reference = ObjectReference(name="data", namespace="default", uid=claim.metadata.uid)
            source = CSIPersistentVolumeSource(driver="csi.example.com", volume_handle="h")
            await client.create(CSIDriver(metadata=ObjectMeta(name="csi.example.com"), spec=CSIDriverSpec()))
            spec = PersistentVolumeSpec(access_modes=modes, capacity=size, csi=source, claim_ref=reference)
            await client.create(PersistentVolume(metadata=ObjectMeta(name="pv"), spec=spec))
            await client.create(pod("p", "s0:c1"))
            await client.create(pod("q", "s0:c2"))
            await client.create(pod("torn", "s0:c1", "s0:c2"))
            context = world.context("selinux-warning-controller")
            reconciler = SELinuxWarningReconciler(context)

            def reasons() -> set[tuple[str, str]]:
                return {(type, reason) for type, reason, _ in world.events.said}

            async def until(holds: Callable[[], bool]) -> None:
                async with asyncio.timeout(10):
                    while not holds():  # noqa: ASYNC110 - events and metrics wake nobody
                        await asyncio.sleep(0)

            async def heard(*wanted: tuple[str, str]) -> None:
                await until(lambda: reasons() == set(wanted))

            async with world.running(reconciler):
                torn = ("Warning", "MultipleSELinuxLabels")
                # Where the driver cannot mount with a label, labels are changed file by file, and no two conflict.
                await heard(torn)
                mounts = MergePatch({"spec": {"seLinuxMount": True}})
                await client.patch(CSIDriver, "csi.example.com", "", mounts)
                await heard(torn, ("Normal", "SELinuxLabelConflict"), ("Normal", "SELinuxChangePolicyConflict"))
                text = (
                    'SELinux label ":::s0:c1" conflicts with pod q that uses the same volume as this pod with SELinux '
                    'label ":::s0:c2". If both pods land on the same node, only one of them may access the volume.'
                )
                assert text in {message for _, _, message in world.events.said}
                line = (
                    'selinux_warning_controller_selinux_volume_conflict{property="SELinux label",'
                    'pod1_namespace="default",pod1_name="p",pod1_value=":::s0:c1",'
                    'pod2_namespace="default",pod2_name="q",pod2_value=":::s0:c2"} 1'
                )
                assert line in context.metrics.exposition().decode()
                await client.delete(Pod, "q", "default", grace_period_seconds=0)
                await until(lambda: b"pod1_name" not in context.metrics.exposition())

    asyncio.run(play())
