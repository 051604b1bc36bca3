from __future__ import annotations

from keelback.api import owners
from keelback.api.apps_v1 import Deployment, ReplicaSet
from keelback.apimachinery.meta import ObjectMeta, OwnerReference

DEPLOYMENT = Deployment(metadata=ObjectMeta(name="web", uid="d"))


def owned(*references: OwnerReference) -> ReplicaSet:
    return ReplicaSet(metadata=ObjectMeta(name="web-1", owner_references=references))


def test_the_controller_is_the_one_owner_that_manages() -> None:
    plain = OwnerReference(api_version="v1", kind="ConfigMap", name="c", uid="c")
    managing = owners.controller_reference(DEPLOYMENT)
    assert owners.controller_of(owned(plain)) is None
    assert owners.controller_of(owned(plain, managing)) == managing
    assert owners.is_controlled_by(owned(managing), DEPLOYMENT)
    assert not owners.is_controlled_by(owned(managing), Deployment(metadata=ObjectMeta(name="web", uid="another")))


def test_a_reference_names_its_kind_in_whatever_version() -> None:
    reference = OwnerReference(api_version="apps/v1beta2", kind="Deployment", name="web", uid="d")
    assert owners.names_kind(reference, Deployment.__kind__)
    assert not owners.names_kind(reference, ReplicaSet.__kind__)
    assert owners.group_of(OwnerReference(api_version="v1", kind="Pod", name="p", uid="p")) == ""


def test_a_controlling_reference_blocks_the_owners_foreground_deletion() -> None:
    reference = owners.controller_reference(DEPLOYMENT)
    assert (reference.api_version, reference.kind, reference.name, reference.uid) == (
        "apps/v1",
        "Deployment",
        "web",
        "d",
    )
    assert reference.controller
    assert reference.block_owner_deletion
    assert owners.without((reference,), "d") == ()
