from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import field_set
from keelback.apimachinery.comparison import compare
from keelback.testing.boxes import SCHEMA

items = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcd")}, optional={"size": st.integers(1, 3)}),
    unique_by=lambda item: item["name"],
    max_size=4,
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "items": items,
        "tags": st.lists(st.sampled_from("xyz"), unique=True),
        "args": st.lists(st.sampled_from("pq"), min_size=1),
        "options": st.dictionaries(st.sampled_from("kl"), st.sampled_from("12")),
    },
)
boxes = st.builds(lambda spec: {"spec": spec}, specs)


def paths(fields: Any) -> set[str]:
    return {field_set.printed(path) for path in field_set.members(fields)}


@given(boxes)
def test_nothing_differs_from_itself(tree: dict[str, Any]) -> None:
    assert not compare(tree, tree, SCHEMA)


@given(boxes, boxes)
def test_what_is_added_one_way_is_removed_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    there = compare(old, new, SCHEMA)
    back = compare(new, old, SCHEMA)
    assert paths(there.removed) <= paths(back.changed)
    assert paths(back.removed) <= paths(there.changed)


def test_a_changed_atomic_list_is_one_change_and_a_new_element_is_its_own() -> None:
    old = {"spec": {"items": [{"name": "a"}], "args": ["p"]}}
    new = {"spec": {"items": [{"name": "a"}, {"name": "b", "size": 1}], "args": ["q"]}}
    changed, removed = compare(old, new, SCHEMA)
    assert paths(changed) == {
        ".spec.args",
        '.spec.items[name="b"]',
        '.spec.items[name="b"].name',
        '.spec.items[name="b"].size',
    }
    assert not removed


def test_null_and_absent_are_the_same_in_a_built_in_type() -> None:
    assert not compare({"spec": {}}, {"spec": {"args": None}}, SCHEMA)
    assert paths(compare({"spec": {"args": ["p"]}}, {"spec": {"args": None}}, SCHEMA).removed) == {".spec.args"}
