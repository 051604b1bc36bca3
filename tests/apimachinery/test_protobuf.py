"""Protobuf bodies become the JSON that Kubernetes would have made of them, and nothing else ever comes of them."""

from __future__ import annotations

import json
import struct
from importlib import import_module, resources
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api import apiextensions_v1, apps_v1, core_v1, rbac_v1
from keelback.apimachinery import meta, protobuf

MODULES = {
    name.replace("_", "."): import_module(f"keelback.api.{name}")
    for name in (
        *("core_v1", "apps_v1", "batch_v1", "rbac_v1", "networking_v1", "discovery_v1", "coordination_v1", "events_v1"),
        *("policy_v1", "autoscaling_v1", "autoscaling_v2", "storage_v1", "scheduling_v1", "node_v1", "certificates_v1"),
        *(
            "authentication_v1",
            "authorization_v1",
            "admissionregistration_v1",
            "apiextensions_v1",
            "apiregistration_v1",
        ),
        *("flowcontrol_v1", "resource_v1"),
    )
}
OF_NO_TYPE: set[str] = {"meta.v1.ListMeta.shardInfo"}  # alpha fields that the types leave out


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def field(number: int, value: Any) -> bytes:
    """One field: text, bytes (a message too), a number, a double, or a list of them."""
    if isinstance(value, list):
        return b"".join(field(number, one) for one in value)
    if isinstance(value, dict):
        return b"".join(field(number, field(1, key) + field(2, one)) for key, one in value.items())
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(int(value))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields: tuple[int, Any]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


def envelope(api_version: str, kind: str, raw: bytes, **extra: Any) -> bytes:
    type_meta = message((1, api_version), (2, kind))
    tail = message((3, extra.get("encoding", "")), (4, ""))
    return b"k8s\x00" + message((1, type_meta), (2, raw)) + tail


def decoded(api_version: str, kind: str, *fields: tuple[int, Any]) -> Any:
    tree = json.loads(protobuf.to_json(envelope(api_version, kind, message(*fields))))
    assert (tree.pop("kind"), tree.pop("apiVersion")) == (kind, api_version)
    return tree


QUANTITY = message((1, "250m"))


def quantity(text: str) -> bytes:
    return message((1, text))


def test_a_deployment_as_go_sends_it() -> None:
    port = message((1, "http"), (2, 0), (3, 8080), (4, ""), (5, ""))
    probe_action = message((2, message((1, ""), (2, message((1, 1), (2, 0), (3, "http"))), (3, ""), (4, ""))))
    probe = message((1, probe_action), (2, 0), (3, 5), (4, 0))
    resources = message((2, {"cpu": quantity("250m")}))
    container = message((1, "web"), (2, "web:1"), (6, port), (8, resources), (10, probe))
    volume = message((1, "cache"), (2, message((2, message((1, ""))))))
    pod_spec = message((1, volume), (2, container), (3, ""), (4, 0), (11, 0), (30, 0))
    template = message((1, message((1, ""), (8, b""), (11, {"app": "web"}))), (2, pod_spec))
    rolling = message((1, message((1, 1), (2, 0), (3, "25%"))), (2, message((1, 0), (2, 0), (3, ""))))
    spec = message((1, 0), (2, message((1, {"app": "web"}))), (3, template), (4, message((1, ""), (2, rolling))))
    metadata = message((1, "web"), (2, ""), (3, "default"), (7, 0), (8, b""))
    tree = decoded("apps/v1", "Deployment", (1, metadata), (2, spec), (3, b""))
    assert tree == {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "volumes": [{"name": "cache", "emptyDir": {}}],
                    "containers": [
                        {
                            "name": "web",
                            "image": "web:1",
                            "ports": [{"name": "http", "containerPort": 8080}],
                            "resources": {"requests": {"cpu": "250m"}},
                            "livenessProbe": {"httpGet": {"port": "http"}, "timeoutSeconds": 5},
                        }
                    ],
                    "terminationGracePeriodSeconds": 0,
                    "enableServiceLinks": False,
                },
            },
            "strategy": {"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}},
        },
        "status": {},
    }
    typed = msgspec.json.decode(msgspec.json.encode(tree), type=apps_v1.Deployment)
    assert typed.spec.strategy.type == "RollingUpdate"  # Go's empty string means that nothing was said
    assert typed.spec.replicas == 0


def test_pointers_keep_their_zero() -> None:
    tree = decoded("v1", "PersistentVolumeClaim", (2, message((3, ""), (5, ""))))
    assert tree == {"spec": {"storageClassName": ""}}


def test_numbers_have_signs() -> None:
    assert decoded("scheduling.k8s.io/v1", "PriorityClass", (2, -7), (3, 1)) == {"value": -7, "globalDefault": True}
    assert decoded("v1", "DeleteOptions", (1, 0), (4, "Orphan")) == {
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Orphan",
    }


def test_times_have_the_precision_of_their_type() -> None:
    instant = message((1, 1199149261), (2, 123456789))
    tree = decoded("coordination.k8s.io/v1", "Lease", (1, message((8, instant))), (2, message((3, instant), (2, 15))))
    assert tree == {
        "metadata": {"creationTimestamp": "2008-01-01T01:01:01Z"},
        "spec": {"acquireTime": "2008-01-01T01:01:01.123456Z", "leaseDurationSeconds": 15},
    }


def test_a_time_out_of_range_is_an_error() -> None:
    body = envelope("v1", "Pod", message((1, message((8, message((1, 1 << 60)))))))
    with pytest.raises(protobuf.ProtobufError, match="year outside of range"):
        protobuf.to_json(body)


def test_bytes_and_maps_of_bytes() -> None:
    tree = decoded("v1", "Secret", (2, {"password": b"\x00\xff"}), (3, ""))
    assert tree == {"data": {"password": "AP8="}}


def test_an_empty_map_value_is_a_value() -> None:
    without = varint(2 << 3 | 2) + varint(3) + field(1, "a")
    body = envelope("v1", "ConfigMap", without)
    assert json.loads(protobuf.to_json(body))["data"] == {"a": ""}


def test_raw_json_is_kept_and_checked() -> None:
    entry = message((1, "me"), (2, "Apply"), (6, "FieldsV1"), (7, message((1, b'{"f:data":{}}'))))
    tree = decoded("v1", "ConfigMap", (1, message((17, entry))))
    assert tree["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {}}
    with pytest.raises(protobuf.ProtobufError):
        protobuf.to_json(envelope("apps/v1", "ControllerRevision", message((2, message((1, b"{"))))))


def test_a_raw_object_may_be_protobuf_itself() -> None:
    inner = envelope("v1", "Namespace", message((1, message((1, "inner")))))
    tree = decoded("apps/v1", "ControllerRevision", (2, message((1, inner))))
    assert tree["data"] == {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "inner"}}


def test_schemas_have_json_of_their_own() -> None:
    text = message((5, "string"))
    schema = message(
        (2, ""),
        (3, "#/a"),
        (5, "object"),
        (8, message((1, b'{"a":1}'))),
        (9, 1.5),
        (24, message((2, text))),
        (29, {"a": text}),
        (30, message((1, 0))),
        (40, True),
    )
    tree = decoded(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        (2, message((7, message((1, "v1"), (4, message((1, schema))))))),
    )
    made = tree["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert made["$ref"] == "#/a"
    assert made["default"] == {"a": 1}
    assert made["maximum"] == 1.5
    assert made["properties"] == {"a": {"type": "string"}}
    assert made["additionalProperties"] is False
    assert made["x-kubernetes-int-or-string"] is True
    msgspec.json.decode(msgspec.json.encode(tree), type=apiextensions_v1.CustomResourceDefinition)


def test_meta_kinds_belong_to_every_group() -> None:
    assert decoded("apps/v1", "DeleteOptions", (4, "Foreground")) == {"propagationPolicy": "Foreground"}


def test_unknown_fields_are_left_out() -> None:
    group = varint(900 << 3 | 3) + field(1, 5) + field(2, "x") + varint(900 << 3 | 4)
    extra = field(901, "x") + field(902, 1.0) + group + varint(903 << 3 | 5) + b"1234"
    body = envelope("v1", "ConfigMap", message((2, {"a": "b"})) + extra)
    assert json.loads(protobuf.to_json(body))["data"] == {"a": "b"}


def test_a_packed_list_is_read_too() -> None:
    on_exit = message((2, "In")) + varint(3 << 3 | 2) + varint(2) + b"\x01\x02"
    rule = message((1, "FailJob"), (2, on_exit))
    tree = decoded("batch/v1", "Job", (2, message((11, message((1, rule))))))
    assert tree["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [1, 2]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\x00", 'no kind "" is registered for version ""'),
        (envelope("v1", "Wizard", b""), 'no kind "Wizard" is registered for version "v1"'),
        (envelope("v1", "Pod", b"", encoding="gzip"), "unsupported content encoding gzip"),
        (envelope("v1", "Pod", b"\x0a\x05a"), "unexpected EOF"),
        (envelope("v1", "Pod", b"\x08\x01"), "proto: wrong wireType = 0 for field Metadata"),
        (envelope("v1", "Pod", b"\x02\x00"), "proto: Pod: illegal tag 0 (wire type 2)"),
        (envelope("v1", "Pod", b"\x0c"), "proto: Pod: wiretype end group for non-group"),
        (envelope("v1", "Pod", b"\x07"), "proto: Pod: illegal tag 0 (wire type 7)"),
        (envelope("v1", "Pod", b"\x80" * 11), "proto: integer overflow"),
        (envelope("v1", "ConfigMap", message((2, {"a": b"\xff"}))), "proto: field contains invalid UTF-8"),
    ],
)
def test_what_is_wrong_is_said_as_kubernetes_says_it(body: bytes, text: str) -> None:
    with pytest.raises(protobuf.ProtobufError) as caught:
        protobuf.to_json(body)
    assert text in str(caught.value)


def test_an_error_knows_what_the_envelope_said() -> None:
    with pytest.raises(protobuf.ProtobufError) as caught:
        protobuf.to_json(envelope("v1", "Pod", b"\x08\x01"))
    assert (caught.value.kind, caught.value.api_version) == ("Pod", "v1")
    with pytest.raises(protobuf.ProtobufError) as caught:
        protobuf.to_json(b"{}")
    assert caught.value.kind == ""


def test_nesting_is_bounded() -> None:
    schema = b""
    for _ in range(2000):
        schema = message((28, schema))  # `not`
    version = message((1, "v1"), (4, message((1, schema))))
    with pytest.raises(protobuf.ProtobufError, match="nested too deeply"):
        protobuf.to_json(
            envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", message((2, message((7, version)))))
        )


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for body in (data, b"k8s\x00" + data, envelope("v1", "Pod", data), envelope("batch/v1", "Job", b"\x12" + data)):
        try:
            json.loads(protobuf.to_json(body))
        except protobuf.ProtobufError:
            continue


@given(st.data())
def test_changed_bytes_raise_nothing_else(data: st.DataObject) -> None:
    entry = message((1, "me"), (4, message((1, 5))), (7, message((1, b'{"a":1}'))))
    container = message((1, "c"), (8, message((2, {"cpu": quantity("1")}))))
    pod = message((1, message((1, "n"), (11, {"a": "b"}), (17, entry))), (2, message((2, container))))
    body = bytearray(envelope("v1", "Pod", pod))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        json.loads(protobuf.to_json(bytes(body)))
    except protobuf.ProtobufError:
        return


NAMES = st.text(max_size=8)


@given(NAMES, st.dictionaries(NAMES, NAMES), st.dictionaries(NAMES, st.binary(max_size=8)), st.none() | st.booleans())
def test_config_maps_survive(name: str, data: dict[str, str], blobs: dict[str, bytes], immutable: bool | None) -> None:
    fields: list[tuple[int, Any]] = [(1, message((1, name))), (2, data), (3, blobs)]
    if immutable is not None:
        fields.append((4, immutable))
    found = msgspec.json.decode(protobuf.to_json(envelope("v1", "ConfigMap", message(*fields))), type=core_v1.ConfigMap)
    assert (found.metadata.name, dict(found.data), dict(found.binary_data)) == (name, data, blobs)
    assert found.immutable == immutable


@given(st.lists(st.lists(NAMES.filter(bool), max_size=3), max_size=4))
def test_rules_survive(rules: list[list[str]]) -> None:
    body = envelope("rbac.authorization.k8s.io/v1", "Role", message((2, [message((1, verbs)) for verbs in rules])))
    found = msgspec.json.decode(protobuf.to_json(body), type=rbac_v1.Role)
    assert [list(rule.verbs) for rule in found.rules or ()] == rules


def json_names(table: dict[str, list[str]], name: str) -> set[str]:
    """The names a message's fields have in JSON, inlined structs included."""
    found: set[str] = set()
    for _, json_name, type_name in (row.split(" ") for row in table[name]):
        found |= json_names(table, type_name[1:]) if type_name.startswith("=") else {json_name}
    return found


def test_the_table_names_fields_as_the_types_do() -> None:
    table = json.loads(resources.files("keelback.apimachinery").joinpath("protobuf_fields.json").read_bytes())
    checked, unknown = 0, set[str]()
    for name in table:
        package, _, short = name.rpartition(".")
        module = meta if package == "meta.v1" else MODULES.get(package)
        struct_type = getattr(module, short, None)
        if not isinstance(struct_type, type) or not issubclass(struct_type, msgspec.Struct):
            continue
        known = {one.encode_name for one in msgspec.structs.fields(struct_type)}
        for missing in json_names(table, name) - known:
            unknown.add(f"{name}.{missing}")
        checked += 1
    assert unknown == OF_NO_TYPE
    assert checked > 400
