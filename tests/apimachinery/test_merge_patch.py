from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import merge_patch

scalars = st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=2))
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), trees, max_size=4)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a"], {"b": {"c": None}}, {"b": {}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_examples_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch.merge(target, patch) == result


@given(objects, objects)
def test_a_diff_makes_the_new_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge_patch.merge(old, merge_patch.diff(old, new)) == new


@given(objects, objects)
def test_merging_twice_is_merging_once(target: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch.merge(target, patch)
    assert merge_patch.merge(once, patch) == once
