"""Pruning and defaults of custom resources."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import structural_schema as structural

INTEGER = {"type": "integer"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "value", "kept", "unknown"),
    [
        (of(a=INTEGER), {"a": 1, "b": 2}, {"a": 1}, ["b"]),
        (of(a=of(b=INTEGER)), {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, ["a.c"]),
        (of(a={"type": "array", "items": of()}), {"a": [{"x": 1}]}, {"a": [{}]}, ["a[0].x"]),
        ({"type": "object", "additionalProperties": of(x=INTEGER)}, {"k": {"x": 1, "y": 2}}, {"k": {"x": 1}}, ["k.y"]),
        (structural.PRESERVING, {"a": {"b": [None]}}, {"a": {"b": [None]}}, []),
        ({**structural.PRESERVING, **of(a=of())}, {"a": {"x": 1}, "b": 2}, {"a": {}, "b": 2}, ["a.x"]),
        ({**of(), "additionalProperties": True}, {"a": {"x": 1}}, {"a": {"x": 1}}, []),
    ],
)
def test_unknown_fields_are_dropped_and_named(schema: Any, value: Any, kept: Any, unknown: list[str]) -> None:
    assert structural.pruned(value, schema, is_root=True) == kept
    assert structural.unknown_fields(value, schema) == unknown


def test_an_embedded_object_keeps_what_makes_it_one() -> None:
    embedded = {**of(spec=of()), "x-kubernetes-embedded-resource": True}
    value = {"t": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "nope": 1}, "spec": {}, "odd": 1}}
    kept = structural.pruned(value, of(t=embedded), is_root=True)
    kept = structural.with_embedded_metadata(kept, of(t=embedded), is_root=True)
    assert kept == {"t": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {}}}
    assert structural.unknown_fields(value, of(t=embedded)) == ["t.odd", "t.metadata.nope"]


@pytest.mark.parametrize(
    ("schema", "value", "made"),
    [
        (of(a={"type": "string", "default": "x"}), {}, {"a": "x"}),
        (of(a={"type": "string", "default": "x"}), {"a": None}, {"a": "x"}),
        (of(a={"type": "string", "default": "x", "nullable": True}), {"a": None}, {"a": None}),
        (of(a={"type": "string"}), {"a": None}, {}),
        (of(a={**of(b={"type": "string", "default": "x"}), "default": {}}), {}, {"a": {"b": "x"}}),
        (of(a=of(b={"type": "string", "default": "x"})), {}, {}),
        (of(a={"type": "array", "items": of(b={"default": 1})}), {"a": [{}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 2}]}),
        ({"type": "object", "additionalProperties": of(b={"default": 1})}, {"k": {}}, {"k": {"b": 1}}),
        (of(a={"type": "boolean", "default": False}), {}, {"a": False}),
        (of(a={"type": "array", "items": {"type": "integer", "default": 1}}), {"a": [None, 2]}, {"a": [1, 2]}),
        (of(a={"type": "array", "items": INTEGER}), {"a": [None, 2]}, {"a": [None, 2]}),
        (of(a={**structural.PRESERVING, "properties": {}}), {"a": None}, {}),
        (structural.PRESERVING, {"a": None}, {"a": None}),
    ],
)
def test_defaults_stand_where_nothing_does(schema: Any, value: Any, made: Any) -> None:
    assert structural.defaulted(value, schema) == made


def test_a_default_is_not_shared_between_objects() -> None:
    schema = of(a={**of(), "default": {"list": []}, "x-kubernetes-preserve-unknown-fields": True})
    first = structural.defaulted({}, schema)
    first["a"]["list"].append(1)
    assert structural.defaulted({}, schema) == {"a": {"list": []}}
