"""Schemas tell expressions which fields there are, of which types, and how large they may be."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.schemas import MAX_REQUEST_SIZE, Declared, declared
from keelback.cel.types import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of

_LONGEST = MAX_REQUEST_SIZE - 2


def seen(schema: dict[str, Any]) -> Declared:
    found = declared(schema, "T")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("schema", "type", "most"),
    [
        ({"type": "boolean"}, BOOL, 0),
        ({"type": "integer"}, INT, 0),
        ({"type": "number"}, DOUBLE, 0),
        ({"type": "string"}, STRING, _LONGEST),
        ({"type": "string", "maxLength": 10}, STRING, 40),
        ({"type": "string", "enum": ["a", "bcd"]}, STRING, 3),
        ({"type": "string", "format": "byte"}, BYTES, _LONGEST),
        ({"type": "string", "format": "byte", "maxLength": 7}, BYTES, 7),
        ({"type": "string", "format": "date"}, TIMESTAMP, 12),
        ({"type": "string", "format": "date-time"}, TIMESTAMP, 32),
        ({"type": "string", "format": "duration"}, DURATION, 32),
        ({"type": "string", "format": "uuid"}, STRING, _LONGEST),
        ({"x-kubernetes-int-or-string": True}, DYN, _LONGEST),
        ({"x-kubernetes-int-or-string": True, "maxLength": 5}, DYN, 20),
        ({"type": "array", "items": {"type": "boolean"}}, list_of(BOOL), _LONGEST // 5),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 4}, list_of(STRING), 4),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, map_of(STRING, INT), _LONGEST // 7),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3},
            map_of(STRING, INT),
            3,
        ),
    ],
)
def test_a_schema_has_a_type_and_a_size(schema: dict[str, Any], type: Type, most: int) -> None:
    found = seen(schema)
    assert (found.type, found.most) == (type, most)


@pytest.mark.parametrize(
    "schema",
    [
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "array"},
        {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}},
        {"type": "object", "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True}},
    ],
)
def test_data_without_a_schema_cannot_be_seen(schema: dict[str, Any]) -> None:
    assert declared(schema, "T") is None


def test_fields_have_the_names_expressions_use_and_types_the_paths() -> None:
    schema = {
        "type": "object",
        "properties": {
            "foo-bar": {"type": "object", "properties": {"namespace": {"type": "string"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "kept": {"x-kubernetes-preserve-unknown-fields": True},
            "not nameable": {"type": "string"},
        },
    }
    found = seen(schema)
    assert set(found.type.fields) == {"foo__dash__bar", "list"}
    assert found.type.fields["foo__dash__bar"].name == "T.foo__dash__bar"
    assert set(found.type.fields["foo__dash__bar"].fields) == {"__namespace__"}
    assert found.type.fields["list"].parameters[0].name == "T.list.@idx"
    policies = declared(schema, "T", takes_keywords=True)
    assert policies is not None
    assert set(policies.type.fields["foo__dash__bar"].fields) == {"__namespace__", "namespace"}


def test_a_resource_has_its_type_and_its_name_whatever_its_schema_says() -> None:
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "integer"}}}
    found = declared({"type": "object", "properties": {"inner": embedded}}, "T", is_resource=True)
    assert found is not None
    assert set(found.type.fields) == {"apiVersion", "kind", "metadata", "inner"}
    assert set(found.fields["metadata"].fields) == {"name", "generateName"}
    assert set(found.fields["inner"].fields) == {"apiVersion", "kind", "metadata", "spec"}


def test_the_estimator_finds_sizes_by_their_paths() -> None:
    texts = {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 8}}
    found = seen({"type": "object", "properties": {"m": {"type": "object", "additionalProperties": texts}}})
    assert found.size(("m", "@values")) == Estimate(0, 5)
    assert found.size(("m", "@values", "@items")) == Estimate(0, 32)
    assert found.size(("m", "@keys")) == Estimate(0, 0)
    assert found.size(("m", "other")) is None
    assert found.size(()) == Estimate(0, 0)


def test_required_fields_make_an_object_longer_and_lists_of_it_shorter() -> None:
    item = {
        "type": "object",
        "required": ["name", "count", "defaulted"],
        "properties": {
            "name": {"type": "string"},
            "count": {"type": "integer"},
            "defaulted": {"type": "string", "default": "x"},
            "optional": {"type": "string"},
        },
    }
    # {} with "name":"" and "count":0, as upstream counts them: the name, four more, and the shortest value.
    length = 2 + (4 + 4 + 2) + (5 + 4 + 1)
    assert seen(item).least_serialized == length
    assert seen({"type": "array", "items": item}).most == _LONGEST // (length + 1)
    assert seen(item).largest_count == MAX_REQUEST_SIZE // (length + 1)
