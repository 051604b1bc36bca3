from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    ModifyVolumeStatus,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    VolumeResourceRequirements,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import persistent_volumes, volume_protection


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
