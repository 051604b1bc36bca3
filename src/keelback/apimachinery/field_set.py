"""Sets of field paths in the form in which managedFields keeps them (FieldsV1), and their algebra.

A set is a tree of dictionaries: keys are path elements (`f:name`, `k:{"key":value}`, `v:value`, `i:index`), an empty
dictionary is a member, and "." marks a member that has members below it. Sets are values: nothing here changes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

FieldSet: TypeAlias = dict[str, Any]
"""A set of paths; the values of the dictionary are sets again."""

LEAF: Final[FieldSet] = {}
"""A member without members below. It is shared, so it must never be changed."""

SELF: Final = "."
_encode = msgspec.json.Encoder(order="sorted").encode


def of(*paths: tuple[str, ...]) -> FieldSet:
    """The set of these paths of field names: `of(("status",), ("metadata", "labels"))`."""
    result: FieldSet = {}
    for path in paths:
        single: FieldSet = LEAF
        for name in reversed(path):
            single = {f"f:{name}": single}
        result = union(result, single)
    return result


def is_member(node: FieldSet) -> bool:
    """Whether the path that leads to this node is itself in the set."""
    return not node or SELF in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Every path of either set."""
    if not left:
        return right
    if not right:
        return left
    merged = dict(left)
    for element, node in right.items():
        if element == SELF:
            merged[SELF] = LEAF
        elif element in merged:
            merged[element] = _union_below(merged[element], node)
        else:
            merged[element] = node
    return merged


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths of the first set that are not in the second; paths below those of the second stay."""
    return _difference(left, right, recursive=False)


def recursive_difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths of the first set that are neither in the second nor below a path of the second."""
    return _difference(left, right, recursive=True)


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths of both sets."""
    result: FieldSet = {}
    for element, node in left.items():
        other = right.get(element)
        if other is None or element == SELF:
            continue
        below = intersection(node, other)
        if is_member(node) and is_member(other):
            result[element] = {SELF: LEAF, **below} if below else LEAF
        elif below:
            result[element] = below
    return result


def members(fields: FieldSet, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of a set in upstream's order: the members of a node, then what is below each of its elements."""
    elements = sorted((element for element in fields if element != SELF), key=_rank)
    for element in elements:
        if is_member(fields[element]):
            yield (*path, element)
    for element in elements:
        if fields[element]:
            yield from members(fields[element], (*path, element))


def encode(fields: FieldSet) -> bytes:
    """FieldsV1 as it stands on the wire, in canonical order."""
    return _encode(fields)


def in_order(fields: FieldSet) -> FieldSet:
    """The same set with its elements in canonical order, for writers that keep the order they are given."""
    if not fields:
        return LEAF
    return {element: in_order(fields[element]) for element in sorted(fields)}


def is_well_formed(fields: Any) -> bool:
    """Whether a decoded FieldsV1 is a set: dictionaries all the way, with known kinds of path elements."""
    if not isinstance(fields, dict):
        return False
    return all(
        (element == SELF or element[:2] in ("f:", "k:", "v:", "i:")) and is_well_formed(node)
        for element, node in fields.items()
    )


def printed(path: tuple[str, ...]) -> str:
    """A path as messages write it: `.spec.containers[name="c"].image`."""
    return "".join(map(_printed_element, path))


@lru_cache(maxsize=4096)
def _printed_element(element: str) -> str:
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        keys: Mapping[str, Any] = msgspec.json.decode(rest)
        return "[" + ",".join(f"{name}={_shown(value)}" for name, value in sorted(keys.items())) + "]"
    if kind == "v:":
        return f"[={_shown(msgspec.json.decode(rest))}]"
    return f"[{rest}]"


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_RANKS: Final = {"f:": 0, "k:": 1, "v:": 2, "i:": 3}


def _rank(element: str) -> tuple[int, str]:
    return _RANKS.get(element[:2], 4), element


def _union_below(left: FieldSet, right: FieldSet) -> FieldSet:
    """The union of what two sets have at one path, where an empty node is a member and not nothing."""
    if not left:
        return right if SELF in right or not right else {SELF: LEAF, **right}
    if not right:
        return left if SELF in left else {SELF: LEAF, **left}
    return union(left, right)


def _difference(left: FieldSet, right: FieldSet, *, recursive: bool) -> FieldSet:
    result = left
    for element, other in right.items():
        node = left.get(element)
        if node is None or element == SELF:
            continue
        if result is left:
            result = dict(left)
        in_other = is_member(other)
        below = _difference(node, other, recursive=recursive) if node else LEAF
        rest = {name: child for name, child in below.items() if name != SELF} if SELF in below else below
        if is_member(node) and not in_other:
            result[element] = {SELF: LEAF, **rest} if rest else LEAF
        elif rest and not (in_other and recursive):
            result[element] = rest
        else:
            del result[element]
    return result
