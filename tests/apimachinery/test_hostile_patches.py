"""Whatever a client sends, a patch either applies or fails with an error of its own kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api.core_v1 import Pod
from keelback.apimachinery import apply as server_side_apply
from keelback.apimachinery import codecs, field_set, json_patch, managed_fields, schema, strategic_merge, unstructured
from keelback.apimachinery.errors import StatusError
from keelback.apimachinery.json_patch import JSONPatchError
from keelback.apimachinery.strategic_merge import StrategicMergeError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PODS = schema.schema_of(Pod)
ANY = unstructured.class_of(Pod.__kind__)
LIVE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"a": "1"}, "finalizers": ["x/y"]},
    "spec": {
        "containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "nodeSelector": {"k": "v"},
    },
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
names = st.sampled_from(
    [
        *("metadata", "spec", "status", "containers", "name", "image", "ports", "containerPort", "volumes", "labels"),
        *("$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "finalizers"),
        *("nodeSelector", "conditions", "type", "emptyDir", "annotations", "ownerReferences", "uid", "odd", ""),
    ]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 81),
    st.floats(allow_nan=False),
    st.sampled_from(["a", "", "delete", "replace"]),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=14,
)
objects = st.dictionaries(names, trees, max_size=4)


@given(objects, st.booleans())
@settings(max_examples=300)
def test_an_apply_succeeds_or_is_refused(sent: dict[str, Any], force: bool) -> None:
    config = {**sent, "apiVersion": "v1", "kind": "Pod"}
    for live in (None, LIVE):
        try:
            applied = server_side_apply.apply(live, config, manager="m", force=force, schema=PODS, now=NOW)
        except StatusError:
            continue
        assert field_set.is_well_formed(applied["metadata"].get("managedFields", [{"fieldsV1": {}}])[0]["fieldsV1"])


@given(objects)
@settings(max_examples=300)
def test_a_strategic_patch_succeeds_or_is_refused(patch: dict[str, Any]) -> None:
    try:
        patched = strategic_merge.merge(LIVE, patch, PODS)
    except StrategicMergeError:
        return
    strategic_merge.conversion_error(patched, PODS)


def test_merge_keys_that_are_no_scalars_do_no_harm() -> None:
    containers = [{"name": ["x"]}, {"name": {"y": 1}}, {"name": None}]
    merged = strategic_merge.merge(LIVE, {"spec": {"containers": containers}}, PODS)
    assert len(merged["spec"]["containers"]) == 4


@given(objects, objects)
@settings(max_examples=300)
def test_any_tree_is_tracked(old: dict[str, Any], new: dict[str, Any]) -> None:
    entries = [{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {}}}]
    live = codecs.convert(ANY, {**old, "metadata": {"managedFields": entries}})
    wanted = codecs.convert(ANY, {**new, "metadata": {"name": "n"}})
    tracked = managed_fields.track_object(live, wanted, manager="m", schema=PODS, now=NOW)
    assert all(field_set.is_well_formed(msgspec.json.decode(entry.fields_v1)) for entry in tracked)


operations = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "odd", 1]),
        "path": st.sampled_from(
            ["", "/", "/spec", "/spec/containers/0", "/spec/containers/-", "/metadata/labels/a", "x", 1]
        ),
        "from": st.sampled_from(["", "/spec", "/spec/containers", "/odd", None]),
        "value": trees,
    },
)


@given(st.lists(operations, max_size=5))
@settings(max_examples=300)
def test_a_json_patch_succeeds_or_is_refused(patch: list[dict[str, Any]]) -> None:
    try:
        json_patch.apply(LIVE, patch)
    except JSONPatchError:
        return
