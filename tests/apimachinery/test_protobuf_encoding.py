"""What is written in protobuf reads back as it was, and has the bytes that Go would have written."""

from __future__ import annotations

import json
import random
from importlib.resources import files
from typing import Any

import pytest

from keelback.apimachinery import protobuf, protobuf_encoding

TABLE: dict[str, list[str]] = json.loads(files("keelback.apimachinery").joinpath("protobuf_fields.json").read_bytes())
KINDS = sorted(
    one
    for one in (name.removesuffix("List") for name in TABLE if name.endswith("List"))
    if one in TABLE and not one.startswith("meta.v1.API")
)
SCHEMA = "apiextensions.v1.JSONSchemaProps"


def text(number: int, value: str) -> bytes:
    return bytes((number << 3 | 2, len(value))) + value.encode()


def nested(number: int, *fields: bytes) -> bytes:
    content = b"".join(fields)
    assert len(content) < 128
    return bytes((number << 3 | 2, len(content))) + content


def encoded(api_version: str, kind: str, **tree: Any) -> bytes:
    """The message within the envelope."""
    whole = protobuf_encoding.from_json(json.dumps({"apiVersion": api_version, "kind": kind, **tree}).encode())
    head = b"k8s\x00" + nested(1, text(1, api_version), text(2, kind))
    assert whole.startswith(head)
    assert whole.endswith(b"\x1a\x00\x22\x00")
    body = whole[len(head) : -4]
    assert (body[0], body[1]) == (0x12, len(body) - 2)
    return body[2:]


EMPTY_META = nested(1, *(text(n, "") for n in range(1, 7)), b"\x38\x00", b"\x42\x00")


def test_scalars_that_are_no_pointers_are_written_though_they_are_zero() -> None:
    assert encoded("v1", "ConfigMap", metadata={}) == EMPTY_META
    assert encoded("v1", "ConfigMap", metadata={}, immutable=False) == EMPTY_META + b"\x20\x00"
    assert encoded("v1", "ConfigMap") == b""
    status = nested(1, text(1, ""), text(2, ""), text(3, "")) + text(2, "Failure") + text(3, "") + text(4, "")
    assert encoded("v1", "Status", metadata={}, status="Failure", code=404) == status + b"\x30\x94\x03"


def test_maps_are_sorted_by_their_keys() -> None:
    made = encoded("v1", "ConfigMap", data={"b": "2", "a": "", "ä": "x"})
    assert made == nested(2, text(1, "a"), text(2, "")) + nested(2, text(1, "b"), text(2, "2")) + nested(
        2, b"\x0a\x02\xc3\xa4", text(2, "x")
    )


def test_a_time_by_value_is_an_empty_message_when_it_is_zero() -> None:
    running = {"startedAt": None}
    assert protobuf_encoding.message("core.v1.ContainerStateRunning", running) == b"\x0a\x00"
    assert protobuf_encoding.message("core.v1.ContainerStateRunning", {}) == b"\x0a\x00"
    zero = {"startedAt": "0001-01-01T00:00:00Z"}
    assert protobuf_encoding.message("core.v1.ContainerStateRunning", zero) == b"\x0a\x00"
    written = {"startedAt": "1970-01-01T00:02:07Z"}
    assert protobuf_encoding.message("core.v1.ContainerStateRunning", written) == b"\x0a\x04\x08\x7f\x10\x00"
    before = {"startedAt": "1969-12-31T23:59:59Z"}
    assert protobuf_encoding.message("core.v1.ContainerStateRunning", before).startswith(b"\x0a\x0d\x08\xff\xff")
    assert protobuf_encoding.message("core.v1.PodStatus", {}).find(b"\x3a\x00") == -1  # startTime is a pointer


def test_micro_times_have_nanoseconds() -> None:
    lease = {"renewTime": "1970-01-01T00:00:01.000001Z"}
    assert protobuf_encoding.message("coordination.v1.LeaseSpec", lease) == b"\x22\x05\x08\x01\x10\xe8\x07"


def test_numbers_or_texts_have_both_places() -> None:
    number = protobuf_encoding.message("core.v1.TCPSocketAction", {"port": 8})
    assert number == b"\x0a\x06\x08\x00\x10\x08\x1a\x00\x12\x00"
    name = protobuf_encoding.message("core.v1.TCPSocketAction", {"port": "http"})
    assert name == b"\x0a\x0a\x08\x01\x10\x00\x1a\x04http\x12\x00"


def test_negative_numbers_take_ten_bytes() -> None:
    made = protobuf_encoding.message("core.v1.PodSpec", {"priority": -1})
    assert b"\xc8\x01" + b"\xff" * 9 + b"\x01" in made


def test_an_embedded_object_is_its_json() -> None:
    event = protobuf_encoding.message("meta.v1.WatchEvent", {"type": "ADDED", "object": {"kind": "Own", "n": 1.0}})
    assert event == text(1, "ADDED") + nested(2, text(1, '{"kind":"Own","n":1.0}'))


def test_a_frame_begins_with_its_length() -> None:
    frame = protobuf_encoding.watch_frame("ADDED", b"k8s\x00")
    assert frame == b"\x00\x00\x00\x0f" + text(1, "ADDED") + nested(2, text(1, "k8s\x00"))


def test_a_list_is_joined_of_messages() -> None:
    encoder = protobuf_encoding.KindEncoder("v1", "ConfigMap")
    items = [{"metadata": {"name": "a"}, "data": {"k": "v" * size}} for size in (1, 200)]
    messages = [encoder.raw(json.dumps(one).encode()) for one in items]
    meta = {"resourceVersion": "7", "remainingItemCount": 3}
    made = b"".join(protobuf_encoding.KindEncoder("v1", "ConfigMapList").enveloped_list(meta, messages))
    whole = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": meta, "items": items}
    assert made == protobuf_encoding.from_json(json.dumps(whole).encode())
    assert json.loads(protobuf.to_json(made)) == whole
    empty = b"".join(protobuf_encoding.KindEncoder("v1", "ConfigMapList").enveloped_list(meta, []))
    assert json.loads(protobuf.to_json(empty))["metadata"] == meta


def test_what_has_no_message_is_said() -> None:
    for tree in ({"kind": "Table", "apiVersion": "meta.k8s.io/v1"}, {"kind": "Own", "apiVersion": "example.com/v1"}):
        with pytest.raises(protobuf.ProtobufError):
            protobuf_encoding.from_json(json.dumps(tree).encode())
        assert not protobuf_encoding.is_known(tree["apiVersion"], tree["kind"])
    assert protobuf_encoding.is_known("apps/v1", "Deployment")


@pytest.mark.parametrize(
    "wrong", [{"data": ["a"]}, {"data": {"a": 1}}, {"binaryData": {"a": "abc"}}, {"metadata": "no"}]
)
def test_a_wrong_shape_is_an_error_of_this_module(wrong: dict[str, Any]) -> None:
    with pytest.raises(protobuf.ProtobufError, match="shape"):
        encoded("v1", "ConfigMap", **wrong)


def tree_of(name: str, chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """An object with some of its fields, none of them zero: zero and absent are one in protobuf."""
    tree: dict[str, Any] = {}
    for row in TABLE[name]:
        _, json_name, type_name = row.split(" ")
        base = type_name.lstrip("[]{}*=")
        if type_name.startswith("="):
            tree |= tree_of(base, chance, depth)
            continue
        if depth > 6 or chance.random() < 0.3 + depth * 0.05:
            continue
        if type_name.startswith("[]"):
            tree[json_name] = [value_of(base, chance, depth) for _ in range(chance.randint(1, 2))]
        elif type_name.startswith("{}"):
            tree[json_name] = {chance.choice("abcä"): value_of(base, chance, depth) for _ in range(2)}
        elif not base.endswith("PropsOrBool") or depth < 3:
            tree[json_name] = value_of(base, chance, depth)
    return tree


def value_of(base: str, chance: random.Random, depth: int) -> Any:
    second = f"{chance.randint(1, 9999):04d}-02-03T04:05:06"
    plain: dict[str, Any] = {
        "string": "x" * chance.choice((1, 5, 300)),
        "bytes": "AQID",
        "bool": True,
        "int32": chance.choice((1, -1, 2**31 - 1, -(2**31))),
        "int64": chance.choice((1, 300, -1, 2**63 - 1, -(2**63))),
        "double": chance.choice((0.5, -1e300)),
        "meta.v1.Time": second + "Z",
        "meta.v1.MicroTime": second + f".{chance.randint(0, 999999):06d}Z",
        "meta.v1.FieldsV1": {"f:a": {".": {}}},
        "meta.v1.Verbs": ["get"],
        "resource.Quantity": chance.choice(("0", "250m", "1Gi")),
        "intstr.IntOrString": chance.choice((0, 8080, "25%")),
        "runtime.RawExtension": {"a": [1, None, "b"]},
        "apiextensions.v1.JSON": chance.choice(("text", 5, False, [1], {"a": 1.5})),
        "apiextensions.v1.JSONSchemaPropsOrBool": chance.choice((True, False)),
    }
    if base.endswith("ExtraValue"):
        return ["a", "b"]
    if base in plain:
        return plain[base]
    if base in ("apiextensions.v1.JSONSchemaPropsOrArray", "apiextensions.v1.JSONSchemaPropsOrStringArray"):
        schema = {"type": "string", **tree_of(SCHEMA, chance, depth + 3)}
        return chance.choice((schema, [schema] if base.endswith("OrArray") else ["a", "b"]))
    return tree_of(base, chance, depth + 1)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_survives(name: str) -> None:
    chance = random.Random(name)
    for _ in range(3):
        tree = tree_of(name, chance)
        raw = protobuf_encoding.message(name, tree)
        package, _, kind = name.rpartition(".")
        group, _, version = package.rpartition(".")
        api_version = version if group == "core" else f"{group}/{version}"
        whole = {"kind": kind, "apiVersion": api_version, **tree}
        made = protobuf_encoding.from_json(json.dumps(whole).encode())
        assert raw in made
        assert without_nothing(json.loads(protobuf.to_json(made))) == without_nothing(whole)


@pytest.mark.parametrize("package", sorted(protobuf.SAME_SHAPE))
def test_kinds_of_versions_that_were_survive_too(package: str) -> None:
    """Apart from a few with messages of their own they are as the versions that came after them."""
    chance = random.Random(package)
    group, _, version = package.rpartition(".")
    after = protobuf.SAME_SHAPE[package]
    kinds = [one.rpartition(".")[2] for one in KINDS if one.rpartition(".")[0] in (package, *after)]
    reviews = [
        name.rpartition(".")[2] for name in TABLE if name.rpartition(".")[0] in after and name.endswith("Review")
    ]
    assert kinds or reviews or package in ("apidiscovery.v2beta1", "meta.v1beta1", "admission.v1beta1")
    for kind in (*kinds, *reviews):
        name = protobuf.name_of(f"{group}/{version}", kind)
        whole = {"kind": kind, "apiVersion": f"{group}/{version}", **tree_of(name, chance)}
        made = protobuf_encoding.from_json(json.dumps(whole).encode())
        assert without_nothing(json.loads(protobuf.to_json(made))) == without_nothing(whole)


def without_nothing(tree: Any) -> Any:
    """A tree without empty objects and lists: an inlined struct of which nothing is set leaves none."""
    if isinstance(tree, dict):
        kept = {key: without_nothing(value) for key, value in tree.items()}
        return {key: value for key, value in kept.items() if value not in ({}, [])}
    if isinstance(tree, list):
        return [without_nothing(one) for one in tree]
    return tree
