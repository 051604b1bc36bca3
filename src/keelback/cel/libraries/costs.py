"""What calls of library functions cost: the rules of k8s.io/apiserver/pkg/cel/library/cost.go, and of cel-go's ext.

A change of a static rule decides which CustomResourceDefinitions may be written: it breaks users either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypedDict

from keelback.cel.declarations import CallEstimate, Operand, RuntimeCost, StaticCost
from keelback.cel.estimates import ONE, Estimate
from keelback.cel.syntax import Literal
from keelback.cel.types import Kind
from keelback.cel.values import Value

STRING_TRAVERSAL: Final = 0.1
"""A character that is looked at."""
REGEX_STRING_LENGTH: Final = 0.25
"""A character of a regular expression, for each character matched against it."""
LIST_CREATION: Final = 10
STRUCT_CREATION: Final = 40


class Hooks(TypedDict):
    """The two cost rules of one overload, as `overload` and `member` take them."""

    runtime_cost: RuntimeCost
    static_cost: StaticCost


def size(value: Value) -> int:
    """Elements, characters or bytes; one for what has no size (cel-go's actualSize)."""
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    return getattr(value, "cost_size", 1)


def literal(operand: Operand) -> Value:
    """The value written in the expression itself; None if it is none."""
    return operand.expression.value if isinstance(operand.expression, Literal) else None


def traversal(length: int, factor: float = STRING_TRAVERSAL) -> int:
    """Every character once, or as often as the factor says."""
    return math.ceil(length * factor)


def fixed(cost: int) -> Hooks:
    """The same cost for every call."""
    estimate = CallEstimate(Estimate(cost, cost))
    return Hooks(runtime_cost=lambda _arguments, _result: cost, static_cost=lambda _operands: estimate)


def first_traversed(factor: float = STRING_TRAVERSAL, *, keeps_size: bool = False) -> Hooks:
    """The first argument is looked through; with `keeps_size` the result is about as large."""

    def runtime_cost(arguments: Sequence[Value], _result: Value) -> int:
        return traversal(size(arguments[0]), factor)

    def static_cost(operands: Sequence[Operand]) -> CallEstimate:
        length = operands[0].size
        return CallEstimate(length.scaled(factor), length if keeps_size else None)

    return Hooks(runtime_cost=runtime_cost, static_cost=static_cost)


NOMINAL: Final = fixed(1)
TRAVERSAL: Final = first_traversed()
TRAVERSAL_OF_THE_SAME_SIZE: Final = first_traversed(keeps_size=True)
TWO_TRAVERSALS: Final = first_traversed(2 * STRING_TRAVERSAL)


def tree_traversal(value: Value) -> int:
    """Every leaf of a tree once; texts by their bytes (upstream's traversalCost)."""
    match value:
        case str():
            return int(len(value.encode("utf-8", "surrogatepass")) * STRING_TRAVERSAL)
        case bytes():
            return int(len(value) * STRING_TRAVERSAL)
        case list():
            return sum(map(tree_traversal, value))
        case dict():
            return sum(tree_traversal(key) + tree_traversal(element) for key, element in value.items())
        case _:
            return 1


def _elements_runtime(arguments: Sequence[Value], _result: Value) -> int:
    return tree_traversal(arguments[0])


def _elements_static(operands: Sequence[Operand]) -> CallEstimate:
    target = operands[0]
    if not target.type.parameters:
        return CallEstimate(target.size.scaled(STRING_TRAVERSAL))
    each = ONE
    if target.type.parameters[0].kind in (Kind.STRING, Kind.BYTES):
        each = each.plus(target.element_size.scaled(STRING_TRAVERSAL))
    return CallEstimate(target.size.by(each))


ELEMENTS_COMPARED: Final = Hooks(runtime_cost=_elements_runtime, static_cost=_elements_static)
"""sum, min, indexOf and their like: each element is looked at once."""
