from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.apps_v1 import Deployment
from keelback.api.core_v1 import ConfigMap, Pod, Service
from keelback.apimachinery import apply as server_side_apply
from keelback.apimachinery import codecs, field_set, managed_fields, schema, unstructured
from keelback.apimachinery.errors import BadRequest, Conflict, StatusError
from keelback.apimachinery.schema import Schema

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
Tree = dict[str, Any]
KINDS: dict[str, Any] = {"ConfigMap": ConfigMap, "Deployment": Deployment, "Pod": Pod, "Service": Service}


def schema_for(tree: Tree) -> Schema:
    return schema.schema_of(KINDS[tree["kind"]])


def apply(live: Tree | None, config: Tree, manager: str = "one", now: datetime = NOW, **options: Any) -> Tree:
    options.setdefault("schema", schema_for(config) if config["kind"] in KINDS else None)
    return server_side_apply.apply(live, config, manager=manager, force=options.pop("force", False), now=now, **options)


def update(live: Tree | None, new: Tree, manager: str, subresource: str = "") -> Tree:
    kind = unstructured.class_of(KINDS[new["kind"]].__kind__)
    held, obj = (None if tree is None else codecs.convert(kind, tree) for tree in (live, new))
    tracked = managed_fields.track_object(
        held, obj, manager=manager, schema=schema_for(new), now=NOW, subresource=subresource
    )
    entries = managed_fields.write(managed_fields.from_meta(tracked))
    return {**new, "metadata": {**new["metadata"], "managedFields": entries}}


def config_map(data: dict[str, Any] | None = None, **metadata: Any) -> Tree:
    tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}}
    return tree if data is None else {**tree, "data": data}


def deployment(*containers: Tree, **spec: Any) -> Tree:
    template = {"template": {"spec": {"containers": list(containers)}}} if containers else {}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {**spec, **template}}


def containers_of(tree: Tree) -> list[Tree]:
    found: list[Tree] = tree["spec"]["template"]["spec"]["containers"]
    return found


def owned(tree: Tree) -> dict[str, list[str]]:
    return {
        entry["manager"]: [field_set.printed(path) for path in field_set.members(entry["fieldsV1"])]
        for entry in tree["metadata"].get("managedFields", [])
    }


def test_an_apply_creates_and_owns_its_leaves() -> None:
    created = apply(None, config_map({"k": "1"}, labels={"x": "1"}))
    assert created["data"] == {"k": "1"}
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-11-23T10:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:k": {}}, "f:metadata": {"f:labels": {"f:x": {}}}},
        }
    ]


def test_the_same_again_changes_nothing_not_even_the_time() -> None:
    created = apply(None, config_map({"k": "1"}))
    assert apply(created, config_map({"k": "1"}), now=LATER) == created


def test_managers_that_agree_share_a_field_and_the_second_gets_no_time() -> None:
    shared = apply(apply(None, config_map({"k": "1", "l": "1"})), config_map({"k": "1"}), "two", LATER)
    assert owned(shared) == {"two": [".data.k"], "one": [".data.k", ".data.l"]}
    assert [entry.get("time") for entry in shared["metadata"]["managedFields"]] == [None, "2026-11-23T10:00:00Z"]


def test_a_disagreement_is_a_conflict_that_names_field_and_owner() -> None:
    live = apply(None, config_map({"k": "1"}))
    with pytest.raises(Conflict) as caught:
        apply(live, config_map({"k": "2"}), "two")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.k'
    assert caught.value.code == 409
    assert caught.value.status.details is not None
    (cause,) = caught.value.status.details.causes
    assert (cause.reason, cause.message, cause.field) == ("FieldManagerConflict", 'conflict with "one"', ".data.k")


def test_several_conflicts_are_grouped_by_owner() -> None:
    live = apply(None, config_map({"k": "1", "l": "1"}, labels={"x": "1"}))
    live = apply(live, config_map({"k": "1"}), "two")
    with pytest.raises(Conflict) as caught:
        apply(live, config_map({"k": "3", "l": "3"}, labels={"x": "3"}), "three")
    assert caught.value.message == (
        'Apply failed with 4 conflicts: conflicts with "one":\n- .data.k\n- .data.l\n- .metadata.labels.x\n'
        'conflicts with "two":\n- .data.k'
    )


def test_conflicts_with_updates_name_version_and_subresource() -> None:
    live = apply(None, deployment(replicas=1))
    scaled = update(live, {**live, "spec": {"replicas": 2}}, "scaler", "scale")
    with pytest.raises(Conflict, match=r'conflict with "scaler" with subresource "scale" using apps/v1: \.spec\.repl'):
        apply(scaled, deployment(replicas=1))


def test_force_takes_over() -> None:
    live = apply(None, config_map({"k": "1", "l": "1"}))
    forced = apply(live, config_map({"k": "2"}), "two", force=True)
    assert forced["data"] == {"k": "2", "l": "1"}
    assert owned(forced) == {"one": [".data.l"], "two": [".data.k"]}


def test_what_is_no_longer_applied_goes_unless_somebody_else_owns_it() -> None:
    live = apply(None, config_map({"k": "1", "l": "1"}, labels={"x": "1"}))
    live = apply(live, config_map({"k": "1"}), "two")
    live = {**live, "metadata": {**live["metadata"], "uid": "u"}}
    pruned = apply(live, config_map())
    assert pruned["data"] == {"k": "1"}
    assert "labels" not in pruned["metadata"]
    assert pruned["metadata"]["uid"] == "u"
    assert owned(pruned) == {"two": [".data.k"]}


def test_an_element_goes_with_what_others_put_into_it_but_a_field_stays_for_them() -> None:
    live = apply(None, deployment({"name": "a", "image": "i"}, {"name": "b", "image": "j", "env": [{"name": "A"}]}))
    first, second = containers_of(live)
    second = {**second, "env": [{"name": "A"}, {"name": "B"}]}
    live = update(live, {**deployment({**first, "tty": True}, second), "metadata": live["metadata"]}, "other")
    pruned = apply(live, deployment({"name": "b", "image": "j"}))
    assert containers_of(pruned) == [{"name": "b", "image": "j", "env": [{"name": "B"}]}]


def test_list_elements_are_told_apart_by_their_keys() -> None:
    one = deployment(
        {"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}
    )
    live = apply(None, one)
    path = '.spec.template.spec.containers[name="c"]'
    assert f'{path}.ports[containerPort=80,protocol="TCP"].containerPort' in owned(live)["one"]
    two = deployment({"name": "c", "env": [{"name": "B", "value": "2"}]}, {"name": "side", "image": "s"})
    live = apply(live, two, "two")
    assert [container["name"] for container in containers_of(live)] == ["c", "side"]
    assert [variable["name"] for variable in containers_of(live)[0]["env"]] == ["A", "B"]
    live = apply(live, deployment({"name": "c", "env": [{"name": "B", "value": "2"}]}), "two")
    assert [container["name"] for container in containers_of(live)] == ["c"]
    with pytest.raises(Conflict) as caught:
        apply(live, deployment({"name": "c", "image": "k", "env": [{"name": "A", "value": "9"}]}), "two")
    assert caught.value.message.endswith(f'"one":\n- {path}.image\n- {path}.env[name="A"].value')


def test_a_defaulted_key_matches_the_live_element() -> None:
    live = apply(None, deployment({"name": "c", "ports": [{"containerPort": 80}]}))
    containers_of(live)[0]["ports"][0]["protocol"] = "TCP"
    ports = [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]
    live = apply(live, deployment({"name": "c", "ports": ports}), "two")
    assert containers_of(live)[0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP"},
        {"containerPort": 80, "protocol": "UDP"},
    ]


def test_sets_are_joined_and_their_elements_owned() -> None:
    live = apply(None, config_map(finalizers=["x/f"]))
    live = apply(live, config_map(finalizers=["x/g"]), "two")
    assert live["metadata"]["finalizers"] == ["x/f", "x/g"]
    assert owned(live)["two"] == ['.metadata.finalizers[="x/g"]']
    assert apply(live, config_map())["metadata"]["finalizers"] == ["x/g"]


def test_an_object_without_owners_belongs_to_before_first_apply() -> None:
    live = config_map({"b": "3"})
    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.b'):
        apply(live, config_map({"b": "4"}))
    forced = apply(live, config_map({"b": "4"}), force=True)
    assert owned(forced) == {"one": [".data.b"], "before-first-apply": [".data"]}


def test_what_the_server_keeps_in_metadata_is_not_a_manifests_to_clear() -> None:
    live = apply(None, config_map({"k": "1"}))
    live["metadata"] |= {"uid": "u", "creationTimestamp": "2026-11-23T10:00:00Z", "resourceVersion": "5"}
    assert apply(live, config_map({"k": "1"}, creationTimestamp=None), now=LATER) == live


def test_null_in_a_map_is_the_zero_value() -> None:
    live = apply(apply(None, config_map({"k": "1"})), config_map({"k": None, "m": "1"}))
    assert live["data"] == {"k": "", "m": "1"}
    assert owned(live) == {"one": [".data.k", ".data.m"]}


def test_fields_another_endpoint_writes_are_left_alone() -> None:
    live: Tree = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "status": {"loadBalancer": {}}}
    config = {**live, "spec": {"type": "ClusterIP"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}}
    applied = apply(live, config, reset_fields=field_set.of(("status",)))
    assert applied["status"] == {"loadBalancer": {}}
    assert owned(applied)["one"] == [".spec.type"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            config_map({"k": 5}),
            "(/c; /v1, Kind=ConfigMap): .data.k: expected string, got &value.valueUnstructured{Value:5}",
        ),
        ({**config_map(), "dataa": {}}, "(/c; /v1, Kind=ConfigMap): .dataa: field not declared in schema"),
        (
            deployment({"name": "c"}, {"name": "c"}),
            '(/d; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name="c"]',
        ),
        (
            {**config_map(), "data": [], "x": 1},
            "(/c; /v1, Kind=ConfigMap): errors:\n  .data: expected map, got &{[]}\n  .x: field not declared in schema",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_a_plain_500(config: Tree, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        apply(None, config)
    assert caught.value.message == f"failed to create typed patch object {message}"
    assert (caught.value.code, caught.value.status.reason) == (500, "")


def test_managed_fields_are_not_for_appliers_to_write() -> None:
    with pytest.raises(BadRequest, match=r"metadata\.managedFields must be nil"):
        apply(None, config_map(managedFields=[]))


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "invalid object type: /, Kind="),
        ({"apiVersion": "v1", "kind": "Secret"}, "invalid object type: /v1, Kind=Secret"),
        ({"apiVersion": "apps/v1", "kind": "ConfigMap"}, "invalid object type: apps/v1, Kind=ConfigMap"),
    ],
)
def test_the_kind_is_that_of_the_url(sent: Tree, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        server_side_apply.check_type(sent, ConfigMap.__kind__)
    assert caught.value.message == message


def test_kubectl_takes_over_what_its_client_side_apply_wrote() -> None:
    annotation = server_side_apply.LAST_APPLIED
    text = msgspec.json.encode(config_map({"k": "1"})).decode()
    created = update(None, config_map({"k": "1"}, annotations={annotation: text}), "kubectl-client-side-apply")
    with pytest.raises(Conflict):
        apply(created, config_map({"k": "2"}), "other")
    applied = apply(created, config_map({"k": "2"}), "kubectl")
    assert applied["data"] == {"k": "2"}
    kept = msgspec.json.decode(applied["metadata"]["annotations"][annotation])
    assert kept["data"] == {"k": "2"}
    touched = {**created, "data": {"k": "changed since"}}
    with pytest.raises(Conflict, match="kubectl-client-side-apply"):
        apply(touched, config_map({"k": "2"}), "kubectl")


GADGET = schema.of_custom_resource(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "parts": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
                        },
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        },
    }
)


def gadget(**spec: Any) -> Tree:
    return {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec}


def test_custom_resources_merge_by_their_schema() -> None:
    live = apply(None, gadget(parts=[{"name": "a", "size": 1}], free={"x": {"y": [1]}}), schema=GADGET)
    live = apply(live, gadget(parts=[{"name": "b", "size": 2}], free={"x": {"z": 1}}), "two", schema=GADGET)
    assert live["spec"] == {
        "parts": [{"name": "a", "size": 1}, {"name": "b", "size": 2}],
        "free": {"x": {"y": [1], "z": 1}},
    }
    with pytest.raises(StatusError, match='omits key field "name"'):
        apply(live, gadget(parts=[{"size": 2}]), schema=GADGET)


def test_ownership_below_what_has_become_atomic_is_of_the_whole() -> None:
    live = apply(None, gadget(free={"x": {"y": "1"}}), schema=GADGET)
    atomic = {"type": "object", "x-kubernetes-map-type": "atomic", "x-kubernetes-preserve-unknown-fields": True}
    spec = {"type": "object", "properties": {"free": atomic}}
    changed = schema.of_custom_resource({"type": "object", "properties": {"spec": spec}})
    with pytest.raises(Conflict, match=r'conflict with "one": \.spec\.free$'):
        apply(live, gadget(free={"x": {"y": "2"}}), "two", schema=changed)


def test_a_live_list_that_cannot_be_merged_is_said_to_be_one() -> None:
    with pytest.raises(StatusError, match=r"failed to create typed live object \(/g; example.com/v1, Kind=Gadget\)"):
        apply(gadget(parts=[{"size": 1}]), gadget(parts=[{"name": "a"}]), schema=GADGET)


data = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)
parts = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcd")}, optional={"size": st.integers(0, 2)}),
    unique_by=lambda part: part["name"],
    max_size=4,
)
configs = st.builds(lambda some, free: gadget(parts=some, free=free), parts, data)


@given(configs, configs)
def test_applying_twice_is_applying_once(first: Tree, second: Tree) -> None:
    live = apply(None, first, schema=GADGET)
    once = apply(live, second, "two", force=True, schema=GADGET)
    assert apply(once, second, "two", LATER, schema=GADGET) == once


@given(configs, configs)
def test_a_single_applier_gets_what_it_applied_last(first: Tree, second: Tree) -> None:
    live = apply(apply(None, first, schema=GADGET), second, schema=GADGET)
    spec = live.get("spec") or {}
    by_name = {part["name"]: part for part in spec.get("parts") or []}
    assert by_name == {part["name"]: part for part in second["spec"]["parts"]}
    assert (spec.get("free") or {}) == second["spec"]["free"]


@given(configs, configs, configs)
def test_a_forced_apply_always_holds_what_it_says_and_conflicts_never_change_anything(
    first: Tree, second: Tree, third: Tree
) -> None:
    live = apply(apply(None, first, schema=GADGET), second, "two", force=True, schema=GADGET)
    try:
        result = apply(live, third, "three", schema=GADGET)
    except Conflict:
        result = apply(live, third, "three", force=True, schema=GADGET)
    for key, value in third["spec"]["free"].items():
        assert result["spec"]["free"][key] == value
    by_name = {part["name"]: part for part in result["spec"].get("parts") or []}
    for part in third["spec"]["parts"]:
        assert by_name[part["name"]].items() >= part.items()
