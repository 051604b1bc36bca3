"""Calls of functions and operators, compiled: the shortest way that the checked types allow.

Where the types of values are known, operators are Python's own; a value that breaks its type's promise ends in a
TypeError, which becomes `no such overload`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING

from keelback.cel import syntax
from keelback.cel.declarations import Overload
from keelback.cel.equality import equal, is_of, runtime_type
from keelback.cel.errors import CostLimitExceeded, EvaluationError, no_such_overload
from keelback.cel.frames import COST, Code, Frame, Run
from keelback.cel.operations import size_or_one
from keelback.cel.standard import STANDARD_OVERLOADS, TRAVERSAL, pattern_matcher
from keelback.cel.syntax import Call
from keelback.cel.types import Kind, Type, type_name
from keelback.cel.values import INT_MAX, INT_MIN, Value

if TYPE_CHECKING:
    from keelback.cel.interpreter import Compiler

_FAILURES = (EvaluationError, TypeError)
"""What fails costs 1 too, as cel-go has it: an error is a value of size 1."""
_SCALAR = frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.DOUBLE, Kind.TIMESTAMP, Kind.DURATION})
_ORDERING: dict[str, Callable[[Value, Value], Value]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Value, Value], Value]] = {
    "_+_": operator.add,
    "_-_": operator.sub,
    "_*_": operator.mul,
}
_PLAIN = frozenset({*_SCALAR, Kind.STRING, Kind.BYTES})


def _conjunction(left: Code, right: Code) -> Code:
    """`&&`: false wins over errors, on whichever side."""
    first, second, cost = left.run, right.run, right.cost

    def both(frame: Frame) -> Value:
        try:
            holds = first(frame)
        except CostLimitExceeded:
            raise
        except (EvaluationError, TypeError):
            frame[COST] += cost
            if second(frame) is False:
                return False
            raise
        if holds is False:
            return False
        frame[COST] += cost
        also = second(frame)
        if also is False or (holds is True and also is True):
            return also
        raise no_such_overload()

    return Code(both, left.cost)


def _disjunction(left: Code, right: Code) -> Code:
    """`||`: true wins over errors, on whichever side."""
    first, second, cost = left.run, right.run, right.cost

    def either(frame: Frame) -> Value:
        try:
            holds = first(frame)
        except CostLimitExceeded:
            raise
        except (EvaluationError, TypeError):
            frame[COST] += cost
            if second(frame) is True:
                return True
            raise
        if holds is True:
            return True
        frame[COST] += cost
        also = second(frame)
        if also is True or (holds is False and also is False):
            return also
        raise no_such_overload()

    return Code(either, left.cost)


LOGIC = {syntax.AND: _conjunction, syntax.OR: _disjunction}


def call_of(compiler: Compiler, node: Call, name: str, arguments: Sequence[Code]) -> Code:
    """The call of anything that takes its arguments evaluated."""
    overloads = compiler.checked.overloads[node.id]
    nodes = node.arguments if len(arguments) == len(node.arguments) else (node.target, *node.arguments)
    types = [compiler.checked.types[argument.id] for argument in nodes if argument is not None]
    if name in (syntax.EQUALS, syntax.NOT_EQUALS):
        return _equality(name == syntax.EQUALS, arguments, types)
    if len(overloads) != 1:
        return _dispatched(name, overloads, arguments)
    (overload,) = overloads
    if len(arguments) == 2 and all(type.kind in _PLAIN for type in types):
        known = _operator(name, overload, arguments, types)
        if known is not None:
            return known
    if not all(_is_sure(type) for type in types):
        return _dispatched(name, overloads, arguments)
    if name == "matches" and arguments[1].is_constant:
        return _direct(overload, pattern_matcher(arguments[1].run([])), arguments)
    return _direct(overload, overload.implementation, arguments)


def _is_sure(type: Type) -> bool:
    """Whether every value of this type is what an implementation takes it for."""
    return type.kind not in (Kind.DYN, Kind.ANY)


def _operator(name: str, overload: Overload, arguments: Sequence[Code], types: Sequence[Type]) -> Code | None:
    """Comparison and arithmetic of known types, by Python's operators."""
    first, second = (argument.run for argument in arguments)
    cost = arguments[0].cost + arguments[1].cost + 1
    numbers = {type.kind for type in types}
    if name in _ORDERING and numbers <= {Kind.INT, Kind.UINT, Kind.DOUBLE, Kind.TIMESTAMP, Kind.DURATION}:
        return Code(_binary(_ORDERING[name], arguments), cost)
    if name in _ARITHMETIC and numbers == {Kind.INT}:
        does = _ARITHMETIC[name]

        def calculate(frame: Frame) -> Value:
            number = does(first(frame), second(frame))
            if INT_MIN <= number <= INT_MAX:
                return number
            raise EvaluationError("integer overflow")

        return Code(calculate, cost)
    if overload.id == "add_string":

        def concatenate(frame: Frame) -> Value:
            try:
                text = first(frame) + second(frame)
            except _FAILURES:
                frame[COST] += 1
                raise
            frame[COST] += ceil(len(text) * TRAVERSAL)
            return text

        return Code(concatenate, cost - 1)
    return None


def _binary(does: Callable[[Value, Value], Value], arguments: Sequence[Code]) -> Run:
    first, second = (argument.run for argument in arguments)
    if arguments[1].is_constant:
        known = second([])
        return lambda frame: does(first(frame), known)
    return lambda frame: does(first(frame), second(frame))


def _equality(is_equal: bool, arguments: Sequence[Code], types: Sequence[Type]) -> Code:
    first, second = (argument.run for argument in arguments)
    cost = arguments[0].cost + arguments[1].cost
    kinds = {type.kind for type in types}
    if len(kinds) == 1 and kinds <= _SCALAR:
        return Code(_binary(operator.eq if is_equal else operator.ne, arguments), cost + 1)
    if kinds == {Kind.STRING}:
        compare = operator.eq if is_equal else operator.ne

        def compare_texts(frame: Frame) -> Value:
            try:
                left, right = first(frame), second(frame)
                shorter = len(left)
            except _FAILURES:
                frame[COST] += 1
                raise
            if len(right) < shorter:
                shorter = len(right)
            frame[COST] += ceil(shorter * TRAVERSAL)
            return compare(left, right)

        return Code(compare_texts, cost)

    def compare_values(frame: Frame) -> Value:
        try:
            left, right = first(frame), second(frame)
        except _FAILURES:
            frame[COST] += 1
            raise
        frame[COST] += ceil(min(size_or_one(left), size_or_one(right)) * TRAVERSAL)
        return equal(left, right) is is_equal

    return Code(compare_values, cost)


def _direct(overload: Overload, does: Callable[..., Value], arguments: Sequence[Code]) -> Code:
    """A call whose implementation is known."""
    charge = overload.runtime_cost
    cost = sum(argument.cost for argument in arguments)
    runs = [argument.run for argument in arguments]
    if charge is None:
        if len(runs) == 1:
            (only,) = runs
            return Code(lambda frame: does(only(frame)), cost + 1)
        if len(runs) == 2:
            return Code(_binary(does, arguments), cost + 1)
        return Code(lambda frame: does(*[run(frame) for run in runs]), cost + 1)
    charged = charge
    if len(runs) == 2:
        first, second = runs

        def call_two(frame: Frame) -> Value:
            try:
                values = (first(frame), second(frame))
                result = does(*values)
            except _FAILURES:
                frame[COST] += 1
                raise
            frame[COST] += charged(values, result)
            return result

        return Code(call_two, cost)

    def call(frame: Frame) -> Value:
        try:
            values = [run(frame) for run in runs]
            result = does(*values)
        except _FAILURES:
            frame[COST] += 1
            raise
        frame[COST] += charged(values, result)
        return result

    return Code(call, cost)


def _dispatched(name: str, overloads: Sequence[Overload], arguments: Sequence[Code]) -> Code:
    """A call whose overload the values decide."""
    runs = [argument.run for argument in arguments]
    cost = sum(argument.cost for argument in arguments)
    is_single = len(overloads) == 1
    # What is not known to the checker costs 1 in the standard library; others charge by the function's name.
    charges = [
        overload.runtime_cost
        if is_single or overload.id == "add_list" or overload.id not in STANDARD_OVERLOADS
        else None
        for overload in overloads
    ]
    candidates = list(zip(overloads, charges, strict=True))

    def call(frame: Frame) -> Value:
        values = [run(frame) for run in runs]
        for overload, charge in candidates:
            if not overload.is_guarded or all(map(is_of, overload.arguments, values)):
                result = overload.implementation(*values)
                frame[COST] += 1 if charge is None else charge(values, result)
                return result
        if not name[0].isalpha():
            raise no_such_overload()
        shown = ", ".join(type_name(runtime_type(value)) for value in values)
        raise EvaluationError(f"no such overload: {name}({shown})")

    return Code(call, cost)
