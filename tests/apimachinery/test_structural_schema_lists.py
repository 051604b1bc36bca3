"""Nothing stands twice in a set or a map."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import structural_schema_lists

SET = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}


def map_of(*keys: str) -> dict[str, Any]:
    return {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [*keys]}


@pytest.mark.parametrize(
    ("schema", "value", "complaints"),
    [
        (SET, [1, 2, 1, 1], ["a[2]: Duplicate value: 1"]),
        (SET, [1, True], []),
        (map_of("k"), [{"k": 1, "v": 1}, {"k": 1}], ['a[1]: Duplicate value: {"k":1}']),
        (map_of("k"), [{"v": 1}, {}], ["a[1]: Duplicate value: {}"]),
        (map_of("k"), ["x"], ['a[0]: Invalid value: "x": must be an object for an array of list-type map']),
        (map_of("k", "l"), [{"k": 1, "l": 2}, {"k": 1}, {"k": 1, "l": 2}], ['a[2]: Duplicate value: {"k":1,"l":2}']),
        ({"properties": {"s": SET}}, {"s": [1, 1], "t": [1, 1]}, ["a.s[1]: Duplicate value: 1"]),
        ({"additionalProperties": SET}, {"s": [1, 1]}, ["a[s][1]: Duplicate value: 1"]),
        ({"items": SET}, [[1, 1]], ["a[0][1]: Duplicate value: 1"]),
    ],
)
def test_what_repeats_is_told_once(schema: Any, value: Any, complaints: list[str]) -> None:
    found = structural_schema_lists.duplicates(value, schema, "a")
    assert [f"{one.field}: {one.body}" for one in found] == complaints


def test_elements_are_found_by_their_keys_and_by_the_keys_defaults() -> None:
    items = {"properties": {"p": {"default": "TCP"}}}
    found = structural_schema_lists.by_key([{"n": 1, "p": "TCP"}], ("n", "p"), items)
    assert found[structural_schema_lists.key_of({"n": 1}, ("n", "p"), items) or b""] == {"n": 1, "p": "TCP"}
    assert structural_schema_lists.key_of("x", ("n",), items) is None
