"""Decoded JSON becomes values of the types that its schema declares; what needs no change is not copied."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.cel.equality import equal
from keelback.cel.errors import EvaluationError
from keelback.cel.libraries import kubernetes
from keelback.cel.merging_lists import MergingList
from keelback.cel.operations import add
from keelback.cel.schema_values import conversion
from keelback.cel.schemas import declared
from keelback.cel.values import Duration, Timestamp, Value

_SECOND = 10**9


def converted(schema: dict[str, Any], value: Any) -> Value:
    return conversion(schema)(value)


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "number"}, 1, 1.0),
        ({"type": "number"}, 1.5, 1.5),
        ({"type": "integer"}, 1, 1),
        ({"type": "string", "format": "byte"}, "aGVsbG8=", b"hello"),
        ({"type": "string", "format": "date"}, "1970-01-02", Timestamp(86400 * _SECOND)),
        ({"type": "string", "format": "date-time"}, "1970-01-01T00:00:01Z", Timestamp(_SECOND)),
        ({"type": "string", "format": "date-time"}, "1970-01-01t01:00:01.5+01:00", Timestamp(_SECOND * 3 // 2)),
        ({"type": "string", "format": "duration"}, "1h30m", Duration(5400 * _SECOND)),
        ({"type": "string", "format": "duration"}, "2 days 1 hour", Duration(49 * 3600 * _SECOND)),
        ({"type": "string", "format": "uuid"}, "x", "x"),
        ({"x-kubernetes-int-or-string": True}, 1, 1),
        ({"x-kubernetes-int-or-string": True}, "10%", "10%"),
        ({"type": "array", "items": {"type": "number", "nullable": True}}, [1, None], [1.0, None]),
        ({"type": "object", "additionalProperties": {"type": "number"}}, {"a-b": 2}, {"a-b": 2.0}),
    ],
)
def test_a_value_has_the_type_its_schema_declares(schema: dict[str, Any], value: Any, expected: Value) -> None:
    found = converted(schema, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "format": "date-time"}, "yesterday"),
        ({"type": "string", "format": "duration"}, "soon"),
        ({"type": "string", "format": "byte"}, "?"),
        ({"type": "array", "items": {"type": "number"}}, "no list"),
        ({"type": "object", "properties": {"a": {"type": "number"}}}, 3),
    ],
)
def test_what_does_not_conform_stays_for_validation_to_refuse(schema: dict[str, Any], value: Any) -> None:
    assert converted(schema, value) == value


def test_fields_get_names_that_expressions_can_write_and_null_ones_are_absent() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a-b": {"type": "number"},
            "namespace": {"type": "string"},
            "nothing": {"type": "string", "nullable": True},
            "kept": {"type": "string"},
        },
    }
    value = {"a-b": 1, "namespace": "n", "nothing": None, "kept": "k", "unknown": [1]}
    assert converted(schema, value) == {"a__dash__b": 1.0, "__namespace__": "n", "kept": "k", "unknown": [1]}
    assert value == {"a-b": 1, "namespace": "n", "nothing": None, "kept": "k", "unknown": [1]}


def test_what_needs_no_change_is_not_copied() -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}},
            "at": {"type": "string", "format": "date-time"},
        },
    }
    value = {"spec": {"names": ["a"]}}
    assert converted(schema, value) is value
    with_time = {"spec": {"names": ["a"]}, "at": "1970-01-01T00:00:00Z"}
    assert converted(schema, with_time)["spec"] is with_time["spec"]


def test_sets_are_equal_in_any_order_and_added_they_unite() -> None:
    schema = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    left, right = converted(schema, ["a", "b"]), converted(schema, ["b", "a"])
    assert equal(left, right)
    assert equal(["b", "a"], left)
    assert not equal(left, converted(schema, ["a", "c"]))
    total = add(left, ["c", "a"])
    assert list(total) == ["a", "b", "c"]
    assert isinstance(total, MergingList)


def test_maps_in_lists_are_equal_in_any_order_and_added_the_later_replace_the_earlier() -> None:
    item = {"type": "object", "properties": {"na-me": {"type": "string"}, "value": {"type": "number"}}}
    schema = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["na-me"],
        "items": item,
    }
    left = converted(schema, [{"na-me": "a", "value": 1}, {"na-me": "b", "value": 2}])
    assert equal(left, converted(schema, [{"na-me": "b", "value": 2}, {"na-me": "a", "value": 1}]))
    assert not equal(left, converted(schema, [{"na-me": "b", "value": 2}, {"na-me": "a", "value": 3}]))
    total = add(left, converted(schema, [{"na-me": "c", "value": 4}, {"na-me": "a", "value": 5}]))
    assert [(each["na__dash__me"], each["value"]) for each in total] == [("a", 5.0), ("b", 2.0), ("c", 4.0)]


def test_true_and_one_are_different_elements() -> None:
    schema = {"type": "array", "x-kubernetes-list-type": "set", "items": {"x-kubernetes-int-or-string": True}}
    assert not equal(converted(schema, [True]), converted(schema, [1]))


@pytest.mark.parametrize(
    ("schema", "value", "rule"),
    [
        ({"type": "array", "items": {"type": "integer"}}, {"a": 1}, "self.distinct() == self"),
        ({"type": "string"}, ["a"], "self.indexOf(self) == 0"),
        ({"type": "integer"}, "1", "self + 1 == 2"),
    ],
)
def test_an_expression_fails_on_data_that_no_longer_conforms(schema: dict[str, Any], value: Any, rule: str) -> None:
    """What was stored before its schema changed is there as `oldSelf`."""
    known = declared(schema, "self")
    assert known is not None
    program = kubernetes.kubernetes().extend(variables={"self": known.type}).compile(rule)
    with pytest.raises(EvaluationError, match="no such overload"):
        program.evaluate({"self": converted(schema, value)})
