from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    ModifyVolumeStatus,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    VolumeResourceRequirements,
)
from keelback.apimachinery.meta import ObjectMeta, OwnerReference, Value, replace
from keelback.client import MergePatch
from keelback.controllers import persistent_volumes, volume_protection
from keelback.controllers.observed import HeldMeta, PodSpecView, PodStatusView, PodView, VolumeView


def volume(name: str, gigabytes: int, claim_ref: ObjectReference | None = None, **spec: object) -> PersistentVolume:
    fields = {"access_modes": ("ReadWriteOnce",), "capacity": {"storage": f"{gigabytes}Gi"}, "claim_ref": claim_ref}
    status = PersistentVolumeStatus(phase="Available")
    return PersistentVolume(
        metadata=ObjectMeta(name=name),
        spec=PersistentVolumeSpec(**{**fields, **spec}),  # type: ignore[arg-type]
        status=status,
    )


def claim(gigabytes: int, **spec: object) -> PersistentVolumeClaim:
    resources = VolumeResourceRequirements(requests={"storage": f"{gigabytes}Gi"})
    fields = {"access_modes": ("ReadWriteOnce",), "resources": resources}
    metadata = ObjectMeta(name="data", namespace="default", uid="c")
    return PersistentVolumeClaim(metadata=metadata, spec=PersistentVolumeClaimSpec(**{**fields, **spec}))  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 20), max_size=6), st.integers(1, 20))
def test_a_claim_gets_the_smallest_volume_that_is_large_enough(sizes: list[int], wanted: int) -> None:
    found = persistent_volumes.find_volume(claim(wanted), [volume(f"v{size}", size) for size in sizes])
    enough = [size for size in sizes if size >= wanted]
    assert (found.metadata.name if found else None) == (f"v{min(enough)}" if enough else None)


def test_a_volume_reserved_for_a_claim_goes_before_all_others() -> None:
    mine = ObjectReference(namespace="default", name="data")
    other = ObjectReference(namespace="default", name="other", uid="o")
    volumes = [volume("fits", 5), volume("taken", 5, other), volume("mine", 50, mine)]
    found = persistent_volumes.find_volume(claim(5), volumes)
    assert found is not None
    assert found.metadata.name == "mine"


def test_class_mode_and_access_must_fit() -> None:
    assert not persistent_volumes.satisfies(volume("v", 5, storage_class_name="fast"), claim(5))
    assert not persistent_volumes.satisfies(volume("v", 5, volume_mode="Block"), claim(5))
    assert not persistent_volumes.satisfies(volume("v", 5), claim(5, access_modes=("ReadWriteMany",)))
    assert persistent_volumes.satisfies(volume("v", 5), claim(5))


def test_protection_ends_when_what_is_deleted_is_used_no_longer() -> None:
    wanted = volume_protection.finalizers_wanted
    assert wanted((), "f", is_deleting=False, is_used=False) == ("f",)
    assert wanted(("f", "g"), "f", is_deleting=True, is_used=True) == ("f", "g")
    assert wanted(("f", "g"), "f", is_deleting=True, is_used=False) == ("g",)
    assert wanted((), "f", is_deleting=True, is_used=True) == ()


def test_an_attributes_class_is_used_by_those_who_name_it() -> None:
    changing = ModifyVolumeStatus(target_volume_attributes_class_name="next", status="InProgress")
    status = PersistentVolumeClaimStatus(current_volume_attributes_class_name="current", modify_volume_status=changing)
    named = replace(claim(1, volume_attributes_class_name="asked"), status=status)
    assert volume_protection.classes_of_claim(named) == {"asked", "current", "next"}
    assert volume_protection.classes_of_claim(claim(1)) == frozenset()
    assert volume_protection.classes_of_volume(volume("v", 1, volume_attributes_class_name="asked")) == {"asked"}
    assert volume_protection.classes_of_volume(volume("v", 1)) == frozenset()


def test_why_a_volume_that_was_asked_for_by_name_will_not_do() -> None:
    for spec, why in (
        ({"storage_class_name": "fast"}, "storageClassName does not match"),
        ({"volume_mode": "Block"}, "incompatible volumeMode"),
        ({"access_modes": ("ReadWriteMany",)}, "incompatible accessMode"),
        ({"volume_attributes_class_name": "gold"}, "volumeAttributesClassName does not match"),
    ):
        assert persistent_volumes.mismatch(volume("v", 5, **spec), claim(5)) == why
    assert persistent_volumes.mismatch(volume("v", 4), claim(5)) == "requested PV is too small"
    assert persistent_volumes.mismatch(volume("v", 5), claim(5)) == ""


def test_a_volume_that_is_reserved_but_too_small_is_none() -> None:
    mine = ObjectReference(namespace="default", name="data")
    found = persistent_volumes.find_volume(claim(5), [volume("small", 4, mine), volume("fits", 5)])
    assert found is not None
    assert found.metadata.name == "fits"


def user(*, node: str = "n", phase: str = "Running", going: bool = False, ephemeral: bool = False) -> PodView:
    source = None if ephemeral else PersistentVolumeClaimVolumeSource(claim_name="data")
    volumes = (VolumeView(name="v", persistent_volume_claim=source, ephemeral=Value() if ephemeral else None),)
    metadata = HeldMeta(
        name="p",
        namespace="default",
        uid="p",
        deletion_timestamp=datetime(2026, 1, 1, tzinfo=UTC) if going else None,
        deletion_grace_period_seconds=0 if going else None,
    )
    return PodView(
        metadata=metadata, spec=PodSpecView(node_name=node, volumes=volumes), status=PodStatusView(phase=phase)
    )


def test_a_pod_keeps_its_claim_as_long_as_it_is_there() -> None:
    assert volume_protection.uses(user(), claim(1))
    assert volume_protection.uses(user(phase="Succeeded"), claim(1))
    assert volume_protection.uses(user(going=True), claim(1))
    assert not volume_protection.uses(user(node=""), claim(1))


def test_a_pod_whose_deletion_waits_for_finalizers_alone_lets_go_of_the_claim_that_was_made_for_it() -> None:
    reference = OwnerReference(api_version="v1", kind="Pod", name="p", uid="p", controller=True)
    made = replace(claim(1), metadata=ObjectMeta(name="p-v", namespace="default", owner_references=(reference,)))
    assert volume_protection.uses(user(ephemeral=True), made)
    assert not volume_protection.uses(user(ephemeral=True, going=True), made)
    stranger = replace(made, metadata=replace(made.metadata, owner_references=()))
    assert not volume_protection.uses(user(ephemeral=True), stranger)


def test_a_bound_claim_is_bound_again_lost_or_misbound_as_its_volume_says(world: Any) -> None:
    async def play() -> None:
        cluster = world()
        client = cluster.client
        held = replace(claim(1, volume_name="pv"), metadata=ObjectMeta(name="data", namespace="default"))
        bound = {"annotations": {persistent_volumes.BIND_COMPLETED: "yes"}}
        await client.create(held)
        await client.patch(PersistentVolumeClaim, "data", "default", MergePatch({"metadata": bound}))
        await client.create(volume("pv", 1))
        async with cluster.running(persistent_volumes.ClaimBindingReconciler):
            # Somebody took the claim out of the volume.
            await cluster.until(lambda: next(cluster.all("persistentvolumes"))["spec"].get("claimRef"))
            await cluster.until(
                lambda: next(cluster.all("persistentvolumeclaims")).get("status", {}).get("phase") == "Bound"
            )
            other = {"claimRef": {"namespace": "default", "name": "other", "uid": "o"}}
            await client.patch(PersistentVolume, "pv", "", MergePatch({"spec": other}))
            await cluster.until(lambda: next(cluster.all("persistentvolumeclaims"))["status"]["phase"] == "Lost")
        text = "Two claims are bound to the same volume, this one is bound incorrectly"
        assert ("Warning", "ClaimMisbound", text) in cluster.events.said

    asyncio.run(play())


def test_a_claim_that_asks_for_a_volume_that_is_too_small_waits(world: Any) -> None:
    async def play() -> None:
        cluster = world()
        await cluster.client.create(volume("pv", 1))
        held = replace(claim(5, volume_name="pv"), metadata=ObjectMeta(name="data", namespace="default"))
        async with cluster.running(persistent_volumes.ClaimBindingReconciler):
            await cluster.client.create(held)
            message = 'Cannot bind to requested volume "pv": requested PV is too small'
            for _ in range(1000):
                await asyncio.sleep(0)
            assert ("Warning", "VolumeMismatch", message) in cluster.events.said
        assert "claimRef" not in next(cluster.all("persistentvolumes"))["spec"]

    asyncio.run(play())
