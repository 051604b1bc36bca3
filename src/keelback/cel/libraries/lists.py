"""Kubernetes' `lists` library: what is least, most, their sum, their order, and where an element stands."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from keelback.cel.declarations import Library, function, member
from keelback.cel.equality import compared, equal
from keelback.cel.errors import EvaluationError
from keelback.cel.libraries import costs
from keelback.cel.operations import add
from keelback.cel.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, list_of, parameter
from keelback.cel.values import Duration, UInt, Value

_SUMMABLE: Final = {"int": INT, "uint": UINT, "double": DOUBLE, "duration": DURATION}
_COMPARABLE: Final = {**_SUMMABLE, "bool": BOOL, "timestamp": TIMESTAMP, "string": STRING, "bytes": BYTES}
_ZERO: Final = {"int": 0, "uint": UInt(0), "double": 0.0, "duration": Duration(0)}


def order(left: Value, right: Value) -> int:
    """-1, 0 or 1; what cannot be compared is taken for equal, as upstream ignores the error."""
    try:
        found = compared(left, right)
    except EvaluationError:
        return 0
    return 0 if found == 2 else found


def _is_sorted(elements: list[Value]) -> bool:
    return all(order(left, right) <= 0 for left, right in pairwise(elements))


def _sum(zero: Value) -> Callable[[list[Value]], Value]:
    def total(elements: list[Value]) -> Value:
        result = zero
        for element in elements:
            result = add(result, element)
        return result

    return total


def _extreme(name: str, sign: int) -> Callable[[list[Value]], Value]:
    def found(elements: list[Value]) -> Value:
        if not elements:
            raise EvaluationError(f"{name} called on empty list")
        result = elements[0]
        for element in elements[1:]:
            if order(result, element) == sign:
                result = element
        return result

    return found


def _index_of(elements: list[Value], wanted: Value) -> int:
    return next((index for index, element in enumerate(elements) if equal(element, wanted)), -1)


def _last_index_of(elements: list[Value], wanted: Value) -> int:
    return next((index for index in reversed(range(len(elements))) if equal(elements[index], wanted)), -1)


_A = parameter("A")
_LIST_A = list_of(_A)
_ELEMENTS = costs.ELEMENTS_COMPARED

LIBRARY = Library(
    "kubernetes.lists",
    functions=(
        function(
            "isSorted",
            *(
                member(f"list_{name}_is_sorted_bool", (list_of(type),), BOOL, _is_sorted, **_ELEMENTS)
                for name, type in _COMPARABLE.items()
            ),
        ),
        function(
            "sum",
            *(
                member(f"list_{name}_sum_{name}", (list_of(type),), type, _sum(_ZERO[name]), **_ELEMENTS)
                for name, type in _SUMMABLE.items()
            ),
        ),
        function(
            "max",
            *(
                member(f"list_{name}_max_{name}", (list_of(type),), type, _extreme("max", -1), **_ELEMENTS)
                for name, type in _COMPARABLE.items()
            ),
        ),
        function(
            "min",
            *(
                member(f"list_{name}_min_{name}", (list_of(type),), type, _extreme("min", 1), **_ELEMENTS)
                for name, type in _COMPARABLE.items()
            ),
        ),
        function("indexOf", member("list_a_index_of_int", (_LIST_A, _A), INT, _index_of, **_ELEMENTS)),
        function("lastIndexOf", member("list_a_last_index_of_int", (_LIST_A, _A), INT, _last_index_of, **_ELEMENTS)),
    ),
)
