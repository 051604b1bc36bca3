"""Which schemas a CustomResourceDefinition may have."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.registry import custom_resource_schemas


def complaints(schema: Any) -> list[str]:
    return [f"{one.field}: {one.body}" for one in custom_resource_schemas.problems(schema, "s")]


def of(field: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"f": field}}


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"properties": {}}, "s.type: Required value: must not be empty at the root"),
        ({"type": "string"}, 's.type: Invalid value: "string": must be object at the root'),
        (of({}), "s.properties[f].type: Required value: must not be empty for specified object fields"),
        (
            of({"type": "array", "items": {}}),
            "s.properties[f].items.type: Required value: must not be empty for specified array items",
        ),
        (
            of({"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": True}),
            "s.properties[f].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (of({"type": "string", "$ref": "#/x"}), "s.properties[f].$ref: Forbidden: $ref is not supported"),
        (
            of({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}),
            "s.properties[f].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type "
            "is map",
        ),
        (
            of({"type": "string", "pattern": "(?=x)"}),
            's.properties[f].pattern: Invalid value: "(?=x)": must be a valid regular expression, but isn\'t: error '
            "parsing regexp: invalid or unsupported Perl syntax: `(?=`",
        ),
        (
            of({"type": "string", "anyOf": [{"pattern": "^a"}, {"pattern": "+"}]}),
            's.properties[f].anyOf[1].pattern: Invalid value: "+": must be a valid regular expression, but isn\'t: '
            "error parsing regexp: missing argument to repetition operator: `+`",
        ),
        (
            of({"type": "integer", "default": "x"}),
            's.properties[f].default: Invalid value: "string": s.properties[f].default in body must be of type '
            'integer: "string"',
        ),
    ],
)
def test_a_schema_that_is_not_structural_is_refused(schema: Any, complaint: str) -> None:
    assert complaints(schema) == [complaint]


@pytest.mark.parametrize(
    "field",
    [
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"x-kubernetes-int-or-string": True, "type": "string", "pattern": "^[0-9]+$"},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
        {
            "type": "object",
            "default": {},
            "required": ["a"],
            "properties": {"a": {"type": "string", "default": "x", "pattern": "^x$"}},
        },
        {"type": "string", "nullable": True, "allOf": [{"maxLength": 3}]},
    ],
)
def test_what_may_be(field: Any) -> None:
    assert complaints(of(field)) == []
