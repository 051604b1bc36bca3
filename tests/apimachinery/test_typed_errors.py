from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery.schema import schema_of
from keelback.apimachinery.typed_errors import errors
from keelback.testing.boxes import SCHEMA, BoxSpec


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"spec": {"items": [{"size": "1"}]}},
            '.spec.items[name=""].size: expected numeric (int or float), got string',
        ),
        ({"spec": {"items": [{"isOn": 1}]}}, '.spec.items[name=""].isOn: expected boolean, got &{1}'),
        (
            {"spec": {"items": ["a"]}},
            ".spec.items: element 0: associative list with keys may not have non-map elements",
        ),
        ({"spec": {"tags": ["a", "a"]}}, '.spec.tags: duplicate entries for key [="a"]'),
        ({"spec": {"tags": "a"}}, ".spec.tags: expected list, got &{a}"),
        ({"spec": {"args": [1]}}, ".spec.args[0]: expected string, got &value.valueUnstructured{Value:1}"),
        ({"spec": 1}, ".spec: expected map, got &{1}"),
        ({"other": 1}, ".other: field not declared in schema"),
    ],
)
def test_what_does_not_fit_is_said_in_upstreams_words(tree: dict[str, Any], message: str) -> None:
    assert list(errors(tree, SCHEMA)) == [message]


@pytest.mark.parametrize("value", [True, {"name": "a"}, {"unknown": [1]}])
def test_what_may_be_a_struct_or_a_scalar_is_taken_as_a_whole(value: object) -> None:
    # Upstream publishes no schema for such types, of which definitions of custom resources have three.
    assert list(errors({"spec": {"contents": value}}, SCHEMA)) == []
    assert list(errors({"spec": {"several": value}}, SCHEMA)) == []
    assert schema_of(BoxSpec).fields["contents"].schema.is_leaf
