"""What objects have in common is held once, and nothing that an object says is changed by that."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.apps_v1 import ReplicaSet
from keelback.api.core_v1 import ConfigMap, Pod
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers.observed import PodView, SecretType
from keelback.reconcile import shared_parts
from keelback.reconcile.shared_parts import SharedParts

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u1", "controller": True}
TOLERATION = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}


def pod(name: str, cls: type[Any] = PodView, **metadata: Any) -> Any:
    """One of those that a template makes."""
    held = {"name": name, "labels": {"app": "web", "tier": "one"}, "ownerReferences": [OWNER], **metadata}
    return codecs.convert(cls, {"metadata": held, "spec": {"tolerations": [TOLERATION]}})


def test_pods_of_one_template_hold_the_same_parts() -> None:
    parts, one, two = SharedParts(), pod("a"), pod("b")
    parts.settle(one)
    parts.settle(two)
    assert one.metadata.labels is two.metadata.labels
    assert one.metadata.owner_references is two.metadata.owner_references
    assert one.spec.tolerations is two.spec.tolerations


def test_a_replica_set_says_its_labels_once() -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {}}
    tree = {"metadata": {"labels": labels}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    one = codecs.convert(ReplicaSet, tree)
    SharedParts().settle(one)
    assert one.spec.selector is not None
    assert one.spec.template.metadata is not None
    assert one.metadata.labels is one.spec.selector.match_labels is one.spec.template.metadata.labels


def test_who_owns_the_fields_is_not_held() -> None:
    entry = {"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}
    one = codecs.convert(ConfigMap, {"metadata": {"name": "a", "managedFields": [entry]}, "data": {"a": "b"}})
    SharedParts().settle(one)
    assert one == ConfigMap(metadata=ObjectMeta(name="a"), data={"a": "b"})


def test_a_type_without_such_parts_is_left_alone() -> None:
    one = SecretType(type="Opaque")
    SharedParts().settle(one)
    assert one == SecretType(type="Opaque")


words = st.sampled_from(["app", "tier", "web", "one"])


@given(st.lists(st.tuples(st.dictionaries(words, words), st.booleans(), st.booleans()), max_size=8))
def test_what_an_object_says_stays_as_it_was(told: list[tuple[dict[str, str], bool, bool]]) -> None:
    parts = SharedParts()
    for number, (labels, is_owned, is_whole) in enumerate(told):
        owners = [OWNER] if is_owned else []
        made = pod(f"p{number}", Pod if is_whole else PodView, labels=labels, ownerReferences=owners)
        wire = codecs.encode(made)
        again = replace(made, metadata=replace(made.metadata))
        parts.settle(made)
        assert made == again
        assert codecs.encode(made) == wire


def test_no_more_parts_are_remembered_than_fit() -> None:
    parts = SharedParts()
    for number in range(shared_parts._MOST_PARTS + 10):
        parts.settle(SecretType(metadata=replace(SecretType().metadata, labels={"number": str(number)})))
    assert len(parts._known) < 100
