from __future__ import annotations

from datetime import UTC, datetime

from keelback.apimachinery import names, validation
from keelback.apimachinery.meta import ManagedFieldsEntry, ObjectMeta, OwnerReference, replace

GOOD = ObjectMeta(name="a", namespace="ns", resource_version="1")


def bodies(meta: ObjectMeta, *, namespaced: bool = True) -> list[str]:
    found = validation.object_meta(meta, namespaced=namespaced, name_problems=names.name_is_dns_subdomain)
    return [f"{error.field}: {error.body}" for error in found]


def test_good_metadata_has_no_errors() -> None:
    assert bodies(replace(GOOD, labels={"a/b": "c"}, annotations={"A": "b"}, finalizers=("x.com/f", "orphan"))) == []
    assert bodies(ObjectMeta(name="a"), namespaced=False) == []


def test_names_and_namespaces() -> None:
    assert bodies(ObjectMeta(namespace="ns")) == ["metadata.name: Required value: name or generateName is required"]
    assert bodies(ObjectMeta(name="a")) == ["metadata.namespace: Required value"]
    assert bodies(GOOD, namespaced=False) == ["metadata.namespace: Forbidden: not allowed on this type"]
    assert bodies(replace(GOOD, name="A"))[0].startswith('metadata.name: Invalid value: "A": a lowercase RFC 1123 sub')


def test_annotations_are_bounded_together() -> None:
    half = "x" * 140_000
    assert bodies(replace(GOOD, annotations={"a": half, "b": half})) == [
        "metadata.annotations: Too long: may not be more than 262144 bytes"
    ]


def test_finalizers_are_qualified_or_standard() -> None:
    assert bodies(replace(GOOD, finalizers=("mine",))) == [
        'metadata.finalizers[0]: Invalid value: "mine": '
        "name is neither a standard finalizer name nor is it fully qualified"
    ]


def test_only_one_owner_controls() -> None:
    owner = OwnerReference(api_version="v1", kind="Pod", name="p", uid="1", controller=True)
    found = bodies(replace(GOOD, owner_references=(owner, replace(owner, name="q", uid="2"))))
    assert len(found) == 1
    assert found[0].endswith('Found "true" in references for Pod/p and Pod/q')
    assert bodies(replace(GOOD, owner_references=(OwnerReference(),))) == [
        'metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
        'metadata.ownerReferences.kind: Invalid value: "": must not be empty',
        'metadata.ownerReferences.name: Invalid value: "": must not be empty',
        'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
    ]


def test_versions_of_owners() -> None:
    owner = OwnerReference(api_version="a/b/c", kind="Pod", name="p", uid="1")
    assert bodies(replace(GOOD, owner_references=(owner,))) == [
        'metadata.ownerReferences.apiVersion: Invalid value: "a/b/c": version must not be empty'
    ]


def test_an_update_keeps_what_names_the_object() -> None:
    changed = replace(GOOD, name="b", uid="other", creation_timestamp=datetime(2026, 1, 2, tzinfo=UTC))
    found = [error.field for error in validation.object_meta_update(changed, GOOD)]
    assert found == ["metadata.name", "metadata.uid", "metadata.creationTimestamp"]


def test_no_finalizer_joins_an_object_being_deleted() -> None:
    old = replace(GOOD, deletion_timestamp=datetime(2026, 1, 2, tzinfo=UTC), finalizers=("x.com/a",))
    new = replace(old, finalizers=("x.com/a", "x.com/b"))
    assert [error.body for error in validation.object_meta_update(new, old)] == [
        "Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"x.com/b"}'
    ]


def test_managed_fields() -> None:
    entry = ManagedFieldsEntry(manager="m\x00", operation="Odd", fields_type="FieldsV2")
    assert [error.field for error in validation.managed_fields((entry,), "m")] == [
        "m[0].operation",
        "m[0].fieldsType",
        "m[0].manager",
    ]
