from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import field_set, typed_value
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


def test_leaves_and_elements_make_the_set_of_a_tree() -> None:
    tree = {"spec": {"items": [{"name": "a", "size": 1}], "tags": ["x"], "args": ["p"], "options": {"k": "1"}}}
    assert paths(typed_value.field_set(tree, SCHEMA)) == {
        '.spec.items[name="a"]',
        '.spec.items[name="a"].name',
        '.spec.items[name="a"].size',
        '.spec.tags[="x"]',
        ".spec.args",
        ".spec.options.k",
    }


def test_empty_containers_are_leaves() -> None:
    assert paths(typed_value.field_set({"spec": {"items": [], "options": {}}}, SCHEMA)) == {
        ".spec.items",
        ".spec.options",
    }


@given(boxes, boxes)
def test_a_merge_holds_the_configuration_and_nothing_of_its_own(live: dict[str, Any], config: dict[str, Any]) -> None:
    merged = typed_value.merge(live, config, SCHEMA)
    of_both = field_set.union(typed_value.field_set(live, SCHEMA), typed_value.field_set(config, SCHEMA))
    assert paths(typed_value.field_set(config, SCHEMA)) <= paths(typed_value.field_set(merged, SCHEMA)) | {
        ".spec",
        ".spec.items",
        ".spec.tags",
        ".spec.options",
    }
    assert paths(typed_value.field_set(merged, SCHEMA)) <= paths(of_both)
    assert typed_value.merge(merged, config, SCHEMA) == merged


@given(boxes, boxes)
def test_removing_what_a_tree_has_leaves_none_of_it(tree: dict[str, Any], other: dict[str, Any]) -> None:
    fields = typed_value.field_set(other, SCHEMA)
    rest = typed_value.without(tree, fields, SCHEMA) or {}
    assert not field_set.intersection(typed_value.field_set(rest, SCHEMA), fields)


def test_the_order_of_a_merged_list_follows_the_configuration() -> None:
    def merged(live: str, config: str) -> str:
        trees = ({"spec": {"items": [{"name": name} for name in names]}} for names in (live, config))
        return "".join(item["name"] for item in typed_value.merge(*trees, SCHEMA)["spec"]["items"])

    assert merged("abc", "") == "abc"
    assert merged("abc", "ca") == "bca"
    assert merged("abc", "xb") == "axbc"
    assert merged("ab", "ba") == "ba"
    assert merged("", "ba") == "ba"


def test_nulls_become_what_go_reads_them_as() -> None:
    tree = {"spec": {"items": None, "options": {"k": None}, "args": [None], "tags": ["x"]}}
    assert typed_value.without_nulls(tree, SCHEMA) == {"spec": {"options": {"k": ""}, "args": [""], "tags": ["x"]}}
