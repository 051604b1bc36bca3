from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from keelback.apimachinery import schema
from keelback.apimachinery.meta import (
    Atomic,
    IntOrString,
    ListMap,
    ListSet,
    Merge,
    Object,
    Quantity,
    Value,
    kind,
    written,
)
from keelback.apimachinery.schema import ListType, Scalar, Shape


class Port(Value):
    number: int = written(0)
    protocol: str = written("TCP")
    target: IntOrString | None = None


class Reference(Value):
    name: str = ""


class GadgetSpec(Value):
    ports: Annotated[tuple[Port, ...], ListMap("protocol", "number", merge_key="number")] = ()
    tags: Annotated[tuple[str, ...], ListSet(merge=True)] = ()
    args: tuple[str, ...] = ()
    history: Annotated[tuple[Port, ...], Merge("number")] = ()
    reference: Annotated[Reference | None, Atomic()] = None
    limits: Mapping[str, Quantity] = {}
    extra: msgspec.Raw | None = None
    nested: GadgetSpec | None = None
    replicas: int = written(1)
    parts: Annotated[tuple[Port, ...], ListMap("number")] = written(())


@kind("example.com/v1", "gadgets")
class Gadget(Object):
    spec: GadgetSpec = written(GadgetSpec())


def test_a_type_says_how_its_parts_merge() -> None:
    spec = schema.schema_of(Gadget).fields["spec"].schema
    ports = spec.fields["ports"]
    assert (ports.schema.shape, ports.schema.list_type) == (Shape.LIST, ListType.MAP)
    assert ports.schema.keys == ("number", "protocol")
    assert (ports.merges, ports.patch_merge_key) == (True, "number")
    assert ports.schema.element is not None
    assert ports.schema.element.fields["protocol"].default == "TCP"
    assert ports.schema.element.fields["number"].default == 0
    assert ports.schema.element.fields["target"].schema.scalar is Scalar.UNTYPED
    assert spec.fields["tags"].schema.list_type is ListType.SET
    assert spec.fields["args"].schema.is_leaf
    assert spec.fields["history"].schema.is_leaf
    assert spec.fields["history"].merges
    assert spec.fields["reference"].schema.is_leaf
    assert spec.fields["limits"].schema.shape is Shape.MAP
    assert spec.fields["extra"].schema.is_leaf
    assert spec.fields["nested"].schema is spec


def test_what_go_always_writes_is_known() -> None:
    root = schema.schema_of(Gadget)
    spec = root.fields["spec"].schema
    always = {name for name, field in spec.fields.items() if field.always}
    assert root.fields["metadata"].always
    assert root.fields["spec"].always
    assert always == {"parts"}


def test_a_kind_has_its_type_meta() -> None:
    assert {"kind", "apiVersion"} <= set(schema.schema_of(Gadget).fields)
    assert "kind" not in schema.schema_of(GadgetSpec).fields


def test_a_custom_resource_schema() -> None:
    root = schema.of_custom_resource(
        {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "ports": {
                            "type": "array",
                            "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["port", "protocol"],
                            "items": {
                                "type": "object",
                                "properties": {
                                    "port": {"type": "integer"},
                                    "protocol": {"type": "string", "default": "TCP"},
                                },
                            },
                        },
                        "flat": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {}},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "size": {"x-kubernetes-int-or-string": True},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        "template": {"type": "object", "x-kubernetes-embedded-resource": True},
                    },
                }
            },
        }
    )
    spec = root.fields["spec"].schema
    assert root.fields["metadata"].schema.fields["finalizers"].schema.list_type is ListType.SET
    assert not root.fields["spec"].always
    assert spec.fields["ports"].schema.keys == ("port", "protocol")
    assert spec.fields["flat"].schema.is_leaf
    assert spec.fields["labels"].schema.shape is Shape.MAP
    assert spec.fields["size"].schema.shape is Shape.SCALAR
    assert spec.fields["free"].schema is schema.ANY
    assert "metadata" in spec.fields["template"].schema.fields
    assert spec.below("unknown") is None


def test_a_custom_resource_without_schema_is_free_form() -> None:
    root = schema.of_custom_resource(None)
    assert root.below("spec") is schema.ANY
    assert root.fields["metadata"].schema.shape is Shape.STRUCT
