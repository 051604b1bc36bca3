from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import json_patch
from keelback.apimachinery.json_patch import JSONPatchError, TooManyOperations

DOCUMENT: dict[str, Any] = {"data": {"a": "1", "b": "2", "x/y~z": "3"}, "list": [1, 2, 3], "none": None}


@pytest.mark.parametrize(
    ("operations", "changed"),
    [
        ([{"op": "add", "path": "/data/c", "value": "3"}], {"data": {"a": "1", "b": "2", "c": "3", "x/y~z": "3"}}),
        ([{"op": "remove", "path": "/data/a"}], {"data": {"b": "2", "x/y~z": "3"}}),
        ([{"op": "replace", "path": "/data/x~1y~0z", "value": "4"}], {"data": {"a": "1", "b": "2", "x/y~z": "4"}}),
        ([{"op": "replace", "path": "/new", "value": 1}], {"new": 1}),
        ([{"op": "add", "path": "/list/-", "value": 4}], {"list": [1, 2, 3, 4]}),
        ([{"op": "add", "path": "/list/0", "value": 0}], {"list": [0, 1, 2, 3]}),
        ([{"op": "add", "path": "/list/3", "value": 4}], {"list": [1, 2, 3, 4]}),
        ([{"op": "remove", "path": "/list/-1"}], {"list": [1, 2]}),
        ([{"op": "move", "from": "/data/a", "path": "/moved"}], {"data": {"b": "2", "x/y~z": "3"}, "moved": "1"}),
        ([{"op": "copy", "from": "/list", "path": "/again"}], {"again": [1, 2, 3]}),
        ([{"op": "test", "path": "/data/a", "value": "1"}], {}),
        ([{"op": "test", "path": "/absent", "value": None}], {}),
        ([{"op": "test", "path": "/none"}], {}),
        ([], {}),
    ],
)
def test_operations(operations: list[dict[str, Any]], changed: dict[str, Any]) -> None:
    assert json_patch.apply(DOCUMENT, operations) == {**DOCUMENT, **changed}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/nope"},
        {"op": "add", "path": "/no/such", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "replace", "path": "/list/-9", "value": 1},
        {"op": "replace", "path": "/list/-", "value": 1},
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "test", "path": "/list/0", "value": True},
        {"op": "frob", "path": "/data"},
        {"op": "add", "value": 1},
        {"op": "add", "path": "/data/x"},
        {"op": "add", "path": "data", "value": 1},
        {"op": "move", "path": "/x", "from": "/nope"},
        {"op": "remove", "path": "/data/a/b"},
        {"op": 1, "path": 2},
    ],
)
def test_what_cannot_be_done_is_an_error_and_changes_nothing(operation: dict[str, Any]) -> None:
    before = copy.deepcopy(DOCUMENT)
    with pytest.raises(JSONPatchError):
        json_patch.apply(DOCUMENT, [{"op": "add", "path": "/data/first", "value": 1}, operation])
    assert before == DOCUMENT


def test_a_patch_is_bounded() -> None:
    with pytest.raises(TooManyOperations):
        json_patch.apply({}, [{"op": "test", "path": ""}] * 10_001)
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40
    with pytest.raises(JSONPatchError, match="accumulated size"):
        json_patch.apply({"a": ["x" * 100]}, doubling)


trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("a/~0", max_size=2), inner)),
    max_leaves=6,
)


@given(st.dictionaries(st.text("a/~0", max_size=2), trees), st.text("a/~0", max_size=2), trees)
def test_what_was_added_is_there_and_removing_it_undoes_it(tree: dict[str, Any], key: str, value: Any) -> None:
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    added = json_patch.apply(
        tree, [{"op": "add", "path": pointer, "value": value}, {"op": "test", "path": pointer, "value": value}]
    )
    assert added == {**tree, key: value}
    removed = json_patch.apply(added, [{"op": "remove", "path": pointer}])
    assert removed == {name: member for name, member in tree.items() if name != key}
