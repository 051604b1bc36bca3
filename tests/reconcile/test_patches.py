from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.reconcile.patches import difference

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
# A merge patch cannot say null: to it that means absence, as it does in objects of the API.
TREES = st.recursive(
    st.dictionaries(st.text("abc", max_size=2), SCALARS.filter(lambda value: value is not None), max_size=3),
    lambda inner: st.dictionaries(st.text("abc", max_size=2), inner | st.integers() | st.lists(st.integers())),
    max_leaves=8,
)


def applied(target: Any, patch: Any) -> Any:
    """RFC 7386, as its text has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = applied(result.get(key), value)
    return result


@given(TREES, TREES)
def test_applying_the_difference_gives_the_new_state(old: Any, new: Any) -> None:
    assert applied(old, difference(old, new)) == new


@given(TREES)
def test_equal_states_differ_in_nothing(tree: Any) -> None:
    assert difference(tree, tree) == {}


def test_only_what_changed_is_named() -> None:
    old = {"replicas": 3, "ready": 1, "conditions": [1], "kept": {"a": 1, "b": 2}}
    new = {"replicas": 3, "ready": 2, "conditions": [1], "kept": {"a": 1}}
    assert difference(old, new) == {"ready": 2, "kept": {"b": None}}
