"""What an OpenAPI schema says about a value, in the words that clients compare."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import structural_schema_validation as validation


def complaints(value: Any, schema: Any, old: Any = validation.MISSING) -> list[str]:
    return [f"{one.field}: {one.body}" for one in validation.validate(value, schema, "a", old)]


@pytest.mark.parametrize(
    ("schema", "value", "complaint"),
    [
        ({"type": "integer"}, "3", 'a: Invalid value: "string": a in body must be of type integer: "string"'),
        ({"type": "string"}, None, 'a: Invalid value: "null": a in body must be of type string: "null"'),
        ({"type": "integer", "minimum": 1}, 0, "a: Invalid value: 0: a in body should be greater than or equal to 1"),
        (
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
            1,
            "a: Invalid value: 1: a in body should be greater than 1",
        ),
        ({"type": "number", "maximum": 1.5}, 2, "a: Invalid value: 2: a in body should be less than or equal to 1.5"),
        ({"type": "number", "multipleOf": 0.5}, 0.7, "a: Invalid value: 0.7: a in body should be a multiple of 0.5"),
        ({"type": "string", "minLength": 2}, "x", 'a: Invalid value: "x": a in body should be at least 2 chars long'),
        ({"type": "string", "maxLength": 2}, "xyz", "a: Too long: may not be more than 2 bytes"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "X", "a: Invalid value: \"X\": a in body should match '^[a-z]+$'"),
        ({"type": "string", "pattern": "^a$"}, "a\n", "a: Invalid value: \"a\\n\": a in body should match '^a$'"),
        ({"enum": [1, "b"]}, 2, 'a: Unsupported value: 2: supported values: "1", "b"'),
        ({"type": "array", "maxItems": 1}, [1, 2], "a: Too many: 2: must have at most 1 items"),
        ({"type": "object", "required": ["b"]}, {}, "a.b: Required value"),
        (
            {"type": "string", "format": "date"},
            5,
            'a: Invalid value: "int64": a in body must be of type date: "int64"',
        ),
        (
            {"type": "object", "minProperties": 2},
            {},
            "a: Invalid value: 2: a in body should have at least 2 properties",
        ),
        ({"not": {"type": "string"}}, "x", '<nil>: Invalid value: "": "a" must not validate the schema (not)'),
        (
            {"x-kubernetes-int-or-string": True},
            1.5,
            'a: Invalid value: "number": a in body must be of type integer,string: "number"',
        ),
    ],
)
def test_each_rule_has_its_complaint(schema: Any, value: Any, complaint: str) -> None:
    assert complaints(value, schema) == [complaint]


def test_null_is_good_where_it_may_stand() -> None:
    assert complaints(None, {"type": "string", "nullable": True}) == []


def test_alternatives() -> None:
    schema = {"oneOf": [{"required": ["p"]}, {"required": ["q"]}]}
    assert complaints({"p": 1}, schema) == []
    assert complaints({"p": 1, "q": 1}, schema) == [
        '<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives'
    ]
    assert complaints({}, {"anyOf": schema["oneOf"]})[0].endswith('"a" must validate at least one schema (anyOf)')
    assert complaints({}, {"allOf": schema["oneOf"]}) == [
        "a.p: Required value",
        "a.q: Required value",
        '<nil>: Invalid value: "": "a" must validate all the schemas (allOf). None validated',
    ]


def test_the_alternative_that_fits_best_tells_what_is_wrong() -> None:
    of = {"type": "object", "required": ["p"], "properties": {"p": {"type": "integer", "maximum": 3}}}
    schema = {"oneOf": [{"required": ["q", "r"]}, of]}
    assert complaints({"p": 5}, schema)[1:] == ["a.p: Invalid value: 5: a.p in body should be less than or equal to 3"]


def test_a_part_is_named_by_its_place_and_described_from_itself() -> None:
    schema = {"type": "object", "properties": {"size": {"type": "integer"}}}
    found = [f"{one.field}: {one.body}" for one in validation.validate_below("status", {"size": "x"}, schema)]
    assert found == ['status.size: Invalid value: "string": size in body must be of type integer: "string"']


def test_a_wrong_type_does_not_hide_what_else_is_wrong() -> None:
    assert complaints("blue", {"type": "integer", "enum": [1]}) == [
        'a: Invalid value: "string": a in body must be of type integer: "string"',
        'a: Unsupported value: "blue": supported values: "1"',
    ]


def test_what_did_not_change_is_not_complained_about() -> None:
    schema = {"type": "object", "properties": {"x": {"maximum": 1}, "y": {"maximum": 1}}}
    assert complaints({"x": 5, "y": 0}, schema, {"x": 5, "y": 1}) == []
    assert len(complaints({"x": 6, "y": 0}, schema, {"x": 5, "y": 1})) == 1
    items = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    items |= {"items": {"properties": {"v": {"maximum": 1}}}}
    assert complaints([{"k": 2, "v": 0}, {"k": 1, "v": 5}], items, [{"k": 1, "v": 5}]) == []
