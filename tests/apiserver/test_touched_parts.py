"""Patches shown only the parts of an object that they touch make what they make of the whole."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.core_v1 import Node, Pod
from keelback.api.scheduling_v1 import PriorityClass
from keelback.apimachinery import codecs, merge_patch, strategic_merge
from keelback.apimachinery.errors import BadRequest
from keelback.apimachinery.schema import schema_of
from keelback.apiserver import touched_parts

META = {
    "name": "web",
    "uid": "1",
    "labels": {"app": "web"},
    "annotations": {"a": "1", "b": "2"},
    "finalizers": ["one/a", "one/b"],
}
POD = codecs.convert(
    Pod,
    {
        "metadata": META,
        "spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}]},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
    },
)
NODE = codecs.convert(Node, {"metadata": META, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})
CLASS = codecs.convert(PriorityClass, {"metadata": META, "value": 7, "description": "seven"})

PATCHES: list[tuple[Any, dict[str, Any]]] = [
    (
        POD,
        {"metadata": {"uid": "1"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
    ),
    (POD, {"metadata": {"annotations": {"a": None, "c": "3"}}}),
    (POD, {"metadata": {"labels": None, "finalizers": ["one/c"]}}),
    (POD, {"metadata": None, "status": None}),
    (POD, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["one/a"]}}),
    (POD, {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}, "status": {"phase": "Failed"}}),
    (POD, {"kind": "Pod", "apiVersion": "v1", "spec": {"nodeName": "node-1"}}),
    (POD, {"status": {"$patch": "replace", "phase": "Running"}}),
    (POD, {}),
    (NODE, {"spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}, "metadata": {"annotations": {"ttl": "0"}}}),
    (CLASS, {"description": "eight"}),
    (CLASS, {"value": 8}),
]


@pytest.mark.parametrize(("old", "patch"), PATCHES)
def test_a_strategic_patch_of_the_parts_it_touches_makes_what_it_makes_of_the_whole(
    old: Any, patch: dict[str, Any]
) -> None:
    def apply(obj: Any) -> Any:
        cls: Any = type(obj)
        return codecs.convert(cls, strategic_merge.merge(codecs.to_tree(obj), patch, schema_of(cls)))

    assert touched_parts.patched(old, patch, apply) == apply(old)


@pytest.mark.parametrize(("old", "patch"), [one for one in PATCHES if "$" not in str(one[1])])
def test_a_merge_patch_of_the_parts_it_touches_makes_what_it_makes_of_the_whole(
    old: Any, patch: dict[str, Any]
) -> None:
    def apply(obj: Any) -> Any:
        return codecs.convert(type(obj), merge_patch.merge(codecs.to_tree(obj), patch))

    assert touched_parts.patched(old, patch, apply) == apply(old)


def test_a_patch_is_shown_what_it_touches() -> None:
    shown: list[Any] = []

    def apply(obj: Any) -> Any:
        shown.append(codecs.to_tree(obj))
        return obj

    touched_parts.patched(POD, {"metadata": {"uid": "1"}, "status": {"phase": "Running"}}, apply)
    touched_parts.patched(CLASS, {"description": "eight"}, apply)
    assert (shown[0]["metadata"], shown[0]["status"]["phase"]) == ({"uid": "1"}, "Pending")
    assert not shown[0].get("spec", {}).get("containers")
    assert (shown[1]["description"], shown[1]["metadata"]) == ("seven", {})


def test_a_patch_that_fails_is_told_with_the_whole_object() -> None:
    def apply(obj: Any) -> Any:
        raise BadRequest(f"the object has {len(codecs.to_tree(obj)['spec']['containers'])} containers")

    with pytest.raises(BadRequest, match="has 2 containers"):
        touched_parts.patched(POD, {"spec": {"nodeName": 1}}, apply)
