"""Rules of custom resources: which may be, and what they say, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery.structural_schema_validation import MISSING
from keelback.registry import custom_resource_rules, custom_resource_schemas

INTEGER = {"type": "integer"}
SIZES = {"type": "object", "properties": {"min": INTEGER, "max": INTEGER}}
COSTLY = (
    "exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and "
    "maxLength where arrays, maps, and strings are declared)"
)


def rules(*given: dict[str, Any]) -> dict[str, Any]:
    return {"x-kubernetes-validations": list(given)}


def of(spec: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": spec}}


def refused(spec: Any) -> list[str]:
    check = custom_resource_rules.RuleCheck()
    return [f"{one.field}: {one.body}" for one in custom_resource_schemas.problems(of(spec), "s", rules=check)]


def said(schema: Any, spec: Any, old: Any = MISSING) -> tuple[list[str], list[str]]:
    validator = custom_resource_rules.validator(schema)
    assert validator is not None
    head = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "abc"}}
    before = old if old is MISSING else {**head, "spec": old}
    found, ratcheted = validator.validate({**head, "spec": spec}, before)
    return [f"{one.field}: {one.body}" for one in found], [f"{one.field}: {one.body}" for one in ratcheted]


def rule_shown(rule: str, message_expression: str = "") -> str:
    tail = f'"MessageExpression":"{message_expression}","Reason":null,"FieldPath":"","OptionalOldSelf":null}}'
    return f'{{"Rule":"{rule}","Message":"",{tail}'


_EQUALS_A = "self == 'a'"
PLACE = "s.properties[spec].x-kubernetes-validations[0]"


@pytest.mark.parametrize(
    ("spec", "complaints"),
    [
        (
            {"type": "string", **rules({"rule": "self"})},
            [f"{PLACE}.rule: Invalid value: {rule_shown('self')}: cel expression must evaluate to a bool"],
        ),
        (
            {"type": "string", **rules({"rule": "self == 'a'", "messageExpression": "1"})},
            [
                f"{PLACE}.messageExpression: Invalid value: {rule_shown(_EQUALS_A, '1')}: "
                "messageExpression must evaluate to a string"
            ],
        ),
        (
            {"type": "string", **rules({"rule": "self == 'a'", "optionalOldSelf": True})},
            [f"{PLACE}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"],
        ),
        (
            {"type": "array", "maxItems": 5, "items": {**INTEGER, **rules({"rule": "self == oldSelf"})}},
            [
                's.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf '
                "cannot be used on the uncorrelatable portion of the schema within s.properties[spec]"
            ],
        ),
        (
            {**SIZES, **rules({"rule": "self.min >= 0", "messageExpression": "'min: ' + string(self.min)"})},
            [
                f"{PLACE}.messageExpression: Forbidden: estimated messageExpression cost {COSTLY}",
                f"{PLACE}.messageExpression: Forbidden: contributed to estimated rule cost total exceeding cost limit "
                "for entire OpenAPIv3 schema",
                "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema "
                + COSTLY,
            ],
        ),
        (
            {"type": "string", "default": "b", **rules({"rule": "self == 'a'"})},
            ["s.properties[spec].default: Invalid value: \"b\": failed rule: self == 'a'"],
        ),
        ({"type": "string", "allOf": [rules({"rule": "true"})]}, None),
        ({**SIZES, **rules({"rule": "self.min < self.max"})}, []),
    ],
)
def test_which_rules_a_definition_may_have(spec: Any, complaints: list[str] | None) -> None:
    if complaints is None:
        assert refused(spec) == [
            "s.properties[spec].allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"
        ]
    else:
        assert refused(spec) == complaints


def test_what_does_not_compile_is_shown_where_it_goes_wrong() -> None:
    (found,) = refused({"type": "string", **rules({"rule": "self.size() > 'a'"})})
    assert found.startswith(f"{PLACE}.rule: Invalid value: ")
    assert "compilation failed: ERROR: <input>:1:13: found no matching overload for '_>_'" in found


def test_what_rules_say_of_an_object() -> None:
    schema = of(
        {
            **SIZES,
            **rules(
                {"rule": "self.min < self.max", "message": "min above max"},
                {"rule": "self.min > 0", "reason": "FieldValueForbidden", "fieldPath": ".min", "message": "too low"},
            ),
        }
    )
    assert said(schema, {"min": 1, "max": 2}) == ([], [])
    assert said(schema, {"min": 5, "max": 3})[0] == ["spec: Invalid value: min above max"]
    assert said(schema, {"min": -5})[0] == [
        'spec: Invalid value: "object": no such key: max evaluating rule: min above max',
        "spec.min: Forbidden: too low",
    ]


def test_scalars_are_shown_and_expressions_make_messages() -> None:
    schema = of({**INTEGER, **rules({"rule": "self > 3", "messageExpression": "'is ' + string(self)"})})
    assert said(schema, 2)[0] == ["spec: Invalid value: 2: is 2"]
    of_root = {**of(INTEGER), **rules({"rule": "self.metadata.name == 'x'"})}
    assert said(of_root, 1)[0] == ["<nil>: Invalid value: failed rule: self.metadata.name == 'x'"]


def test_transitions_are_judged_where_there_is_an_old_value() -> None:
    schema = of({"type": "string", **rules({"rule": "self == oldSelf", "message": "immutable"})})
    assert said(schema, "a")[0] == []
    assert said(schema, "b", "a")[0] == ['spec: Invalid value: "b": immutable']
    optional = {"rule": "!oldSelf.hasValue() || oldSelf.value() == self", "optionalOldSelf": True, "message": "no"}
    schema = of({"type": "string", **rules(optional)})
    assert said(schema, "a")[0] == []
    assert said(schema, "b", "a")[0] == ['spec: Invalid value: "b": no']


def test_elements_of_maps_are_found_by_their_keys() -> None:
    items = {"type": "object", "properties": {"k": INTEGER, "v": {**INTEGER, **rules({"rule": "self >= oldSelf"})}}}
    keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    schema = of({"type": "array", "items": items, **keys})
    found, _ = said(schema, [{"k": 2, "v": 1}, {"k": 1, "v": 1}], [{"k": 1, "v": 1}, {"k": 2, "v": 2}])
    assert found == ["spec[0].v: Invalid value: 1: failed rule: self >= oldSelf"]


def test_what_did_not_change_is_warned_of_only() -> None:
    schema = of({"type": "string", **rules({"rule": "self == 'a'"})})
    assert said(schema, "b", "b") == ([], ["spec: Invalid value: \"b\": failed rule: self == 'a'"])
    assert said(schema, "c", "b")[0] == ["spec: Invalid value: \"c\": failed rule: self == 'a'"]


def test_an_evaluation_that_does_too_much_ends_them_all() -> None:
    costly = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"
    schema = of({"type": "array", "items": INTEGER, **rules({"rule": costly}, {"rule": "false"})})
    assert said(schema, [1] * 300)[0] == [
        "spec: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation "
        f"rules will be run due to call cost exceeds limit for rule: {costly}"
    ]
