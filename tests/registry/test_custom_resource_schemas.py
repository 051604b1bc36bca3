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
            of({"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}),
            "s.properties[f].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (of({"type": "string", "$ref": "#/x"}), "s.properties[f].$ref: Forbidden: $ref is not supported"),
        (
            of({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}),
            "s.properties[f].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type "
            "is map",
        ),
        (
            of(
                {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                }
            ),
            "s.properties[f].items.properties[k].default: Required value: this property is in "
            "x-kubernetes-list-map-keys, so it must have a default or be a required property",
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
            's.properties[f].default: Invalid value: "string":  in body must be of type integer: "string"',
        ),
        (
            of({"type": "object", "default": {}, "required": ["a"], "properties": {"a": {"type": "string"}}}),
            "s.properties[f].default.a: Required value",
        ),
        (
            of({"type": "object", "default": {"b": 1}, "properties": {"a": {"type": "string"}}}),
            's.properties[f].default: Invalid value: {"b":1}: must not have unknown fields',
        ),
        (of({"type": "array"}), "s.properties[f].items: Required value: must be specified"),
        (
            of({"type": "string", "$schema": "x"}),
            "s: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported",
        ),
        (
            of({"type": "string", "anyOf": [{"type": "string"}]}),
            "s.properties[f].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            of({"type": "string"}) | {"allOf": [{"properties": {"a": {"maxLength": 1}}}]},
            "s.properties[a]: Required value: because it is defined in s.allOf[0].properties[a]",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            "s.additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            {"type": "object", "properties": {"metadata": {"type": "object", "maxProperties": 1}}},
            "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
            "metadata is implicitly specified",
        ),
        (
            {"type": "object", "properties": {"kind": {"type": "string", "default": "x"}}},
            "s.properties[kind].default: Forbidden: must not be set in top-level kind",
        ),
        (
            of({"type": "object", "x-kubernetes-embedded-resource": True}),
            "s.properties[f].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true "
            "without x-kubernetes-preserve-unknown-fields",
        ),
        (
            of({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}),
            "s.properties[f].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with "
            "x-kubernetes-list-type=set",
        ),
        (
            of({"type": "string", "x-kubernetes-validations": [{"rule": "a\n"}, {"rule": "a\nb"}]}),
            "s.properties[f].x-kubernetes-validations[1].message: Required value: message must be specified if rule "
            "contains line breaks",
        ),
        (
            of({"type": "string", "x-kubernetes-validations": [{"rule": "a", "reason": "Nope"}]}),
            's.properties[f].x-kubernetes-validations[0].reason: Unsupported value: "Nope": supported values: '
            '"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"',
        ),
        (
            of({"type": "object", "x-kubernetes-validations": [{"rule": "a", "fieldPath": ".b"}]}),
            's.properties[f].x-kubernetes-validations[0].fieldPath: Invalid value: ".b": must be a valid path',
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
        }
        | {"default": {"a": "x"}},
        {"type": "string", "nullable": True, "allOf": [{"maxLength": 3}]},
    ],
)
def test_what_may_be(field: Any) -> None:
    assert complaints(of(field)) == []


def test_a_root_with_a_status_subresource_says_nothing_that_would_be_lost() -> None:
    found = custom_resource_schemas.problems({"type": "object", "oneOf": []}, "s", has_status=True)
    assert list(found) == []
    (found_one,) = custom_resource_schemas.problems({"type": "object", "maxProperties": 3}, "s", has_status=True)
    assert found_one.detail.startswith("only [Description Type Format")
