from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keelback.api.apps_v1 import Deployment
from keelback.api.core_v1 import ConfigMap, Pod
from keelback.apimachinery import codecs, field_set, managed_fields, schema, unstructured
from keelback.apimachinery.managed_fields import ManagedFieldsError
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
STATUS = field_set.of(("status",))
Tree = dict[str, Any]


def config_map(data: dict[str, str], **metadata: Any) -> Tree:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}, "data": data}


def write(live: Tree | None, new: Tree, manager: str, now: datetime = NOW, **options: Any) -> Tree:
    """The object after a write, with its managedFields: as a tree, for which no defaults are set."""
    sent = (live or {}).get("metadata", {}).get("managedFields")
    if sent is not None and "managedFields" not in new["metadata"]:
        new = {**new, "metadata": {**new["metadata"], "managedFields": sent}}
    kind: Any = {"ConfigMap": ConfigMap, "Pod": Pod, "Deployment": Deployment}[new["kind"]]
    plain = unstructured.class_of(kind.__kind__)
    held, obj = (None if tree is None else codecs.convert(plain, tree) for tree in (live, new))
    tracked = managed_fields.track_object(held, obj, manager=manager, schema=schema.schema_of(kind), now=now, **options)
    entries = managed_fields.write(managed_fields.from_meta(tracked))
    return {**new, "metadata": {**new["metadata"], "managedFields": entries}}


def owned(tree: Tree) -> dict[str, list[str]]:
    """Paths by manager, as people read them."""
    return {
        entry["manager"] + (f"/{entry['subresource']}" if "subresource" in entry else ""): [
            field_set.printed(path) for path in field_set.members(entry["fieldsV1"])
        ]
        for entry in tree["metadata"]["managedFields"]
    }


def test_the_creator_owns_what_it_wrote() -> None:
    created = write(None, config_map({"a": "1"}, labels={"l": "1"}, uid="u", resourceVersion="1"), "one")
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-23T10:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}},
        }
    ]


def test_what_go_writes_anyway_has_no_owner() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "containers": [{"name": "c", "resources": {}, "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                    "imagePullSecrets": [{"name": "s"}],
                    "securityContext": {},
                },
            },
        },
        "status": {"replicas": 3},
    }
    (entry,) = write(None, deployment, "m", reset_fields=STATUS)["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:name": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                    "f:protocol": {},
                                },
                            },
                            "f:resources": {},
                        }
                    },
                    "f:imagePullSecrets": {".": {}, 'k:{"name":"s"}': {}},
                    "f:securityContext": {},
                },
            },
        }
    }


def test_a_change_moves_ownership_to_its_writer() -> None:
    created = write(None, config_map({"a": "1", "b": "1"}), "one")
    updated = write(created, config_map({"a": "2", "b": "1", "c": "1"}), "two", LATER)
    assert owned(updated) == {"one": [".data", ".data.b"], "two": [".data.a", ".data.c"]}
    assert updated["metadata"]["managedFields"][0]["time"] == "2026-11-23T10:00:00Z"


def test_what_is_removed_belongs_to_nobody() -> None:
    created = write(None, config_map({"a": "1", "b": "1"}, finalizers=["x/y", "x/z"]), "one")
    updated = write(created, config_map({"b": "1"}, finalizers=["x/z"]), "two")
    assert owned(updated) == {"one": [".data", ".data.b", ".metadata.finalizers", '.metadata.finalizers[="x/z"]']}
    assert owned(write(updated, {**config_map({}), "data": {}}, "two")) == {"one": [".data"]}


def test_a_write_that_changes_nothing_leaves_the_entries_alone() -> None:
    created = write(None, config_map({"a": "1"}), "one")
    again = write(created, config_map({"a": "1"}, resourceVersion="9", generation=3), "two", LATER)
    assert again["metadata"]["managedFields"] == created["metadata"]["managedFields"]


def test_status_written_through_its_subresource_is_owned_there() -> None:
    pod: Tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}, "status": {}}
    created = write(None, {**pod, "spec": {"nodeName": "n"}}, "user")
    running = {**pod, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    assert owned(write(created, running, "kubelet", subresource="status")) == {
        "user": [".spec.nodeName"],
        "kubelet/status": [".status.phase"],
    }


def test_one_empty_entry_clears_and_then_nothing_is_tracked() -> None:
    created = write(None, config_map({"a": "1"}), "one")
    cleared = write(created, config_map({"a": "2"}, managedFields=[{}]), "two")
    assert cleared["metadata"]["managedFields"] == []
    assert write(cleared, config_map({"a": "3"}), "three")["metadata"]["managedFields"] == []


def test_unreadable_entries_of_a_client_are_ignored_and_readable_ones_taken() -> None:
    created = write(None, config_map({"a": "1"}), "one")
    odd = [{"manager": "x", "operation": "Odd", "apiVersion": "v1"}]
    assert owned(write(created, config_map({"a": "1"}, managedFields=odd), "two")) == {"one": [".data", ".data.a"]}
    own = [{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}}}]
    assert owned(write(created, config_map({"a": "1"}, managedFields=own), "two")) == {"x": [".data.a"]}


def test_old_updaters_are_merged_past_the_limit() -> None:
    tree = write(None, config_map({}), "first")
    for index in range(14):
        data = {**tree["data"], f"k{index}": "1"}
        tree = write(tree, config_map(data), f"m{index:02}", NOW + timedelta(minutes=index))
    managers = owned(tree)
    assert len(managers) == managed_fields.MAX_UPDATE_MANAGERS
    assert set(managers["ancient-changes"]) >= {".data.k1", ".data.k2", ".data.k3", ".data.k4"}
    assert sum(len(paths) for paths in managers.values()) == 15


def test_duplicated_elements_are_owned_as_one() -> None:
    def pod(*values: str) -> Tree:
        env = [{"name": "E", "value": value} for value in values]
        containers = [{"name": "c", "env": env}]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}

    created = write(None, pod("1", "2"), "one")
    assert '.spec.containers[name="c"].env[name="E"]' in owned(created)["one"]
    updated = write(created, pod("1", "3"), "two")
    assert owned(updated)["two"] == ['.spec.containers[name="c"].env[name="E"]']


def test_typed_objects_are_tracked_alike() -> None:
    maps = schema.schema_of(ConfigMap)
    first = ConfigMap(metadata=ObjectMeta(name="c"), data={"a": "1"})
    entries = managed_fields.track_object(None, first, manager="one", schema=maps, now=NOW)
    live = with_metadata(first, managed_fields=entries)
    changed = replace(live, data={"a": "2"})
    entries = managed_fields.track_object(live, changed, manager="two", schema=maps, now=LATER)
    tree = codecs.to_tree(with_metadata(changed, managed_fields=entries))
    assert owned(tree) == {"one": [".data"], "two": [".data.a"]}
    assert managed_fields.write(managed_fields.from_meta(entries)) == tree["metadata"]["managedFields"]
    assert (
        managed_fields.track_object(live, live, manager="two", schema=maps, now=LATER) is live.metadata.managed_fields
    )


@pytest.mark.parametrize(
    ("user_agent", "manager"),
    [("kubectl/v1.36.0 (linux/amd64) x", "kubectl"), ("curl", "curl"), ("", "unknown"), ("x" * 200 + "/1", "x" * 128)],
)
def test_the_manager_is_named_by_its_program(user_agent: str, manager: str) -> None:
    assert managed_fields.manager_from_user_agent(user_agent) == manager


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"operation": "Apply"},
        {"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV2"},
        {"operation": "Apply", "apiVersion": "v1", "fieldsV1": {"odd": {}}},
        {"operation": "Apply", "apiVersion": "v1", "fieldsV1": b"{"},
    ],
)
def test_entries_that_cannot_be_read(entry: Tree) -> None:
    with pytest.raises(ManagedFieldsError):
        managed_fields.read([entry])
