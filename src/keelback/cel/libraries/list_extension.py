"""cel-go's `lists` extension, version 3 (with its costs): in Kubernetes since 1.34."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cmp_to_key
from typing import Final

from keelback.cel.declarations import CallEstimate, Library, Operand, Overload, function, member, overload
from keelback.cel.equality import equal
from keelback.cel.errors import CostLimitExceeded, EvaluationError, no_such_overload
from keelback.cel.estimates import MAXIMUM, Estimate, exactly
from keelback.cel.libraries import costs
from keelback.cel.libraries.lists import order
from keelback.cel.macros import MACROS
from keelback.cel.syntax import (
    UNUSED,
    Call,
    Comprehension,
    Expander,
    Expression,
    Identifier,
    ListLiteral,
    Macro,
    Select,
)
from keelback.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN_LIST,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    parameter,
)
from keelback.cel.values import Value

_SORTABLE: Final = {
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "bool": BOOL,
    "google.protobuf.Duration": DURATION,
    "google.protobuf.Timestamp": TIMESTAMP,
    "string": STRING,
    "bytes": BYTES,
}
_RANGE_LIMIT: Final = 10_000_000
_COST_LIMIT: Final = 1_000_000
_LIST_T = list_of(parameter("T"))


def _slice(elements: list[Value], start: int, end: int) -> list[Value]:
    complaint = f"cannot slice({start}, {end}), "
    if start < 0 or end < 0:
        raise EvaluationError(complaint + "negative indexes not supported")
    if start > end:
        raise EvaluationError(complaint + "start index must be less than or equal to end index")
    if end > len(elements):
        raise EvaluationError(complaint + f"list is length {len(elements)}")
    return elements[start:end]


def _flatten(elements: list[Value], depth: int = 1) -> list[Value]:
    if not isinstance(elements, list):
        raise no_such_overload()
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    flat: list[Value] = []
    for element in elements:
        if isinstance(element, list) and depth:
            flat += _flatten(element, depth - 1)
        else:
            flat.append(element)
    return flat


def _range(size: int) -> list[Value]:
    if size < 0:
        raise EvaluationError(f"lists.range: size must be non-negative, got {size}")
    if size > _RANGE_LIMIT:
        raise EvaluationError(f"lists.range: size {size} exceeds maximum allowed ({_RANGE_LIMIT})")
    if size > _COST_LIMIT:
        # Every element costs one, and no evaluation may cost as much: there is no use in making the list first.
        raise CostLimitExceeded
    return list(range(size))


def _reverse(elements: list[Value]) -> list[Value]:
    return elements[::-1]


def _distinct(elements: list[Value]) -> list[Value]:
    found: list[Value] = []
    for element in elements:
        if not any(equal(element, other) for other in found):
            found.append(element)
    return found


def _sorted_by(elements: list[Value], keys: list[Value]) -> list[Value]:
    if not isinstance(elements, list) or not isinstance(keys, list):
        raise no_such_overload()
    if len(elements) != len(keys):
        raise EvaluationError(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, "
            f"but got {len(elements)} and {len(keys)} elements respectively"
        )
    if not keys:
        return elements
    if isinstance(keys[0], list | dict) or keys[0] is None:
        raise EvaluationError("list elements must be comparable")
    if any(type(key) is not type(keys[0]) for key in keys):
        raise EvaluationError("list elements must have the same type")

    def by_key(left: int, right: int) -> int:
        return order(keys[left], keys[right])

    places = sorted(range(len(keys)), key=cmp_to_key(by_key))
    return [elements[place] for place in places]


def _sort(elements: list[Value]) -> list[Value]:
    return _sorted_by(elements, elements)


def _allocating(factor: float, size: int) -> int:
    """A call, a list made, and work for each of its elements."""
    return min(int(size * factor) + 1 + costs.LIST_CREATION, MAXIMUM)


def _allocating_estimate(factor: float, size: Estimate) -> CallEstimate:
    return CallEstimate(size.scaled(factor).plus(exactly(1)).plus(exactly(costs.LIST_CREATION)), size)


def _of_result(_arguments: Sequence[Value], result: Value) -> int:
    return _allocating(1, len(result))


def _slice_static(operands: Sequence[Operand]) -> CallEstimate:
    start, end = costs.literal(operands[1]), costs.literal(operands[2])
    least = start if isinstance(start, int) else 0
    most = end if isinstance(end, int) else operands[0].size.most
    return _allocating_estimate(1, exactly((most - least) % (MAXIMUM + 1)))


def _range_static(operands: Sequence[Operand]) -> CallEstimate:
    size = costs.literal(operands[0])
    return _allocating_estimate(1, exactly(size % (MAXIMUM + 1) if isinstance(size, int) else MAXIMUM))


def _reverse_static(operands: Sequence[Operand]) -> CallEstimate:
    return _allocating_estimate(1, operands[0].size)


def _flatten_runtime(arguments: Sequence[Value], _result: Value) -> int:
    return _allocating(arguments[1] if len(arguments) > 1 else 1, len(arguments[0]))


def _flatten_static(operands: Sequence[Operand]) -> CallEstimate:
    depth = costs.literal(operands[1]) if len(operands) > 1 else 1
    return _allocating_estimate(float(depth) if isinstance(depth, int) else float(MAXIMUM), operands[0].size)


def _self_compared(keys: list[Value]) -> int:
    """Every element with every other."""
    factor = 2 + (costs.STRING_TRAVERSAL if keys and isinstance(keys[0], str | bytes) else 0)
    return _allocating(factor, len(keys) ** 2)


def _first_self_compared(arguments: Sequence[Value], _result: Value) -> int:
    return _self_compared(arguments[0])


def _last_self_compared(arguments: Sequence[Value], _result: Value) -> int:
    return _self_compared(arguments[-1])


def _distinct_static(operands: Sequence[Operand]) -> CallEstimate:
    return _allocating_estimate(2, operands[0].size.by(operands[0].size))


def _sort_static(type: Type) -> Callable[[Sequence[Operand]], CallEstimate]:
    factor = 2 + (costs.STRING_TRAVERSAL if type in (STRING, BYTES) else 0)
    return lambda operands: _allocating_estimate(factor, operands[-1].size.by(operands[-1].size))


def _unguarded(overload: Overload) -> Overload:
    """Whatever the elements are at runtime: the implementation says what is wrong with them, as upstream's."""
    return replace(overload, is_guarded=False)


def _sort_overload(name: str, type: Type) -> Overload:
    return member(
        f"list_{name}_sort",
        (list_of(type),),
        list_of(type),
        _sort,
        runtime_cost=_first_self_compared,
        static_cost=_sort_static(type),
    )


def _sort_by_overload(name: str, type: Type) -> Overload:
    return member(
        f"list_{name}_sortByAssociatedKeys",
        (_LIST_T, list_of(type)),
        _LIST_T,
        _sorted_by,
        runtime_cost=_last_self_compared,
        static_cost=_sort_static(type),
    )


_SORT_INPUT = "@__sortBy_input__"
_MAP = next(macro for macro in MACROS if macro.name == "map" and macro.argument_count == 2)


def _sort_by(expander: Expander, target: Expression | None, arguments: tuple[Expression, ...]) -> Expression | None:
    """The list is named, its keys are made by `map`, and an internal function sorts the one by the other."""
    assert target is not None
    if not isinstance(target, ListLiteral | Select | Identifier | Comprehension | Call):
        complaint = "sortBy can only be applied to a list, identifier, comprehension, call or select expression"
        return expander.fail(complaint, target)
    keys = _MAP.expand(expander, expander.identifier(_SORT_INPUT), arguments)
    if keys is None:
        return None
    call = expander.call("@sortByAssociatedKeys", keys, target=expander.identifier(_SORT_INPUT))
    fold = (target, expander.literal(False), expander.identifier(_SORT_INPUT), call)
    return expander.comprehension(expander.list(), (UNUSED, ""), _SORT_INPUT, fold, "bind")


LIBRARY = Library(
    "cel.lib.ext.lists",
    functions=(
        function(
            "slice",
            member(
                "list_slice", (_LIST_T, INT, INT), _LIST_T, _slice, runtime_cost=_of_result, static_cost=_slice_static
            ),
        ),
        function(
            "flatten",
            _unguarded(
                member(
                    "list_flatten",
                    (list_of(_LIST_T),),
                    _LIST_T,
                    _flatten,
                    runtime_cost=_flatten_runtime,
                    static_cost=_flatten_static,
                )
            ),
            member(
                "list_flatten_int",
                (DYN_LIST, INT),
                DYN_LIST,
                _flatten,
                runtime_cost=_flatten_runtime,
                static_cost=_flatten_static,
            ),
        ),
        function("sort", *(_unguarded(_sort_overload(name, type)) for name, type in _SORTABLE.items())),
        function(
            "@sortByAssociatedKeys", *(_unguarded(_sort_by_overload(name, type)) for name, type in _SORTABLE.items())
        ),
        function(
            "lists.range",
            overload("lists_range", (INT,), list_of(INT), _range, runtime_cost=_of_result, static_cost=_range_static),
        ),
        function(
            "reverse",
            member("list_reverse", (_LIST_T,), _LIST_T, _reverse, runtime_cost=_of_result, static_cost=_reverse_static),
        ),
        function(
            "distinct",
            member(
                "list_distinct",
                (_LIST_T,),
                _LIST_T,
                _distinct,
                runtime_cost=_first_self_compared,
                static_cost=_distinct_static,
            ),
        ),
    ),
    macros=(Macro("sortBy", is_member=True, argument_count=2, expand=_sort_by),),
)
