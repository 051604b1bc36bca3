"""cel-go's `sets` extension: lists that are looked at as sets, by the language's equality."""

from __future__ import annotations

from collections.abc import Sequence

from keelback.cel.declarations import CallEstimate, Implementation, Library, Operand, Overload, function, overload
from keelback.cel.equality import equal
from keelback.cel.estimates import ONE
from keelback.cel.libraries import costs
from keelback.cel.types import BOOL, list_of, parameter
from keelback.cel.values import Value

_LISTS = (list_of(parameter("T")), list_of(parameter("T")))


def _has(elements: list[Value], wanted: Value) -> bool:
    return any(equal(element, wanted) for element in elements)


def _contains(elements: list[Value], others: list[Value]) -> bool:
    return all(_has(elements, other) for other in others)


def _equivalent(elements: list[Value], others: list[Value]) -> bool:
    return _contains(elements, others) and _contains(others, elements)


def _intersects(elements: list[Value], others: list[Value]) -> bool:
    return any(_has(others, element) for element in elements)


def _pairs(factor: int) -> costs.Hooks:
    """Each element is compared with each of the other list, as often as the factor says."""

    def runtime_cost(arguments: Sequence[Value], _result: Value) -> int:
        return 1 + len(arguments[0]) * len(arguments[1]) * factor

    def static_cost(operands: Sequence[Operand]) -> CallEstimate:
        return CallEstimate(operands[0].size.by(operands[1].size).scaled(factor).plus(ONE))

    return costs.Hooks(runtime_cost=runtime_cost, static_cost=static_cost)


def _overload(id: str, implementation: Implementation, factor: int) -> Overload:
    return overload(id, _LISTS, BOOL, implementation, **_pairs(factor))


LIBRARY = Library(
    "cel.lib.ext.sets",
    functions=(
        function("sets.contains", _overload("list_sets_contains_list", _contains, 1)),
        function("sets.equivalent", _overload("list_sets_equivalent_list", _equivalent, 2)),
        function("sets.intersects", _overload("list_sets_intersects_list", _intersects, 1)),
    ),
)
