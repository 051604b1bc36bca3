from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import field_set
from keelback.apimachinery.field_set import FieldSet

Path = tuple[str, ...]
elements = st.sampled_from(["f:a", "f:b", 'k:{"name":"c"}', 'v:"x"', "i:0"])
paths = st.frozensets(st.lists(elements, min_size=1, max_size=3).map(tuple), max_size=6)


def built(members: frozenset[Path]) -> FieldSet:
    """A set by its definition, path by path."""
    result: FieldSet = {}
    for path in members:
        node = result
        for element in path[:-1]:
            if element in node and not node[element]:
                node[element]["."] = {}
            node = node.setdefault(element, {})
        if path[-1] in node:
            node[path[-1]]["."] = {}
        else:
            node[path[-1]] = {}
    return normal(result)


def normal(node: FieldSet) -> FieldSet:
    return {} if set(node) == {"."} else {element: normal(below) for element, below in node.items()}


def members(fields: FieldSet) -> frozenset[Path]:
    return frozenset(field_set.members(fields))


@given(paths)
def test_a_set_has_the_paths_it_was_built_of(some: frozenset[Path]) -> None:
    assert members(built(some)) == some


@given(paths, paths)
def test_algebra_is_that_of_sets_of_paths(left: frozenset[Path], right: frozenset[Path]) -> None:
    first, second = built(left), built(right)
    assert members(field_set.union(first, second)) == left | right
    assert members(field_set.difference(first, second)) == left - right
    assert members(field_set.intersection(first, second)) == left & right
    below = {path for path in left if any(path[: len(other)] == other for other in right)}
    assert members(field_set.recursive_difference(first, second)) == left - below


@given(paths, paths)
def test_no_operation_changes_its_arguments(left: frozenset[Path], right: frozenset[Path]) -> None:
    first, second = built(left), built(right)
    for operation in (
        field_set.union,
        field_set.difference,
        field_set.intersection,
        field_set.recursive_difference,
    ):
        operation(first, second)
    assert (members(first), members(second)) == (left, right)
    assert field_set.LEAF == {}


@given(paths)
def test_fields_v1_survives_the_wire(some: frozenset[Path]) -> None:
    fields = built(some)
    again = msgspec.json.decode(field_set.encode(fields))
    assert again == fields
    assert field_set.is_well_formed(again)
    assert list(field_set.in_order(fields)) == sorted(fields)


def test_paths_are_printed_as_people_read_them() -> None:
    path = ("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', 'v:"x"', "i:3", "f:a")
    assert field_set.printed(path) == '.spec[containerPort=80,protocol="TCP"][="x"][3].a'


def test_what_is_no_set() -> None:
    assert not field_set.is_well_formed([])
    assert not field_set.is_well_formed({"f:a": 1})
    assert not field_set.is_well_formed({"a": {}})
    assert field_set.is_well_formed({"f:a": {".": {}, 'v:"x"': {}}})
