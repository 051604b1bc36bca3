"""The standard library of the language: cel-go's declarations (common/stdlib).

What operators do here is for values whose types only evaluation finds out; `calls` has shorter ways for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

from keelback.apimachinery import go_regexp
from keelback.cel import conversions, operations, syntax, times
from keelback.cel.declarations import CallEstimate, Function, Library, Operand, Overload, function, member, overload
from keelback.cel.equality import contains, equal, runtime_type
from keelback.cel.errors import EvaluationError
from keelback.cel.estimates import ONE, Estimate
from keelback.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Kind,
    Type,
    list_of,
    map_of,
    parameter,
    type_of,
)
from keelback.cel.values import Duration, Timestamp, Value

TRAVERSAL = 0.1
"""The cost of a character (cel-go, common/cost.go)."""
REGEX_LENGTH = 0.25
_COPIED_FOR_ONE = 1000

_A, _B = parameter("A"), parameter("B")
_LIST, _MAP = list_of(_A), map_of(_A, _B)
_SCALARS = (BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)
_NAMES = {TIMESTAMP: "timestamp", DURATION: "duration", INT: "int64", UINT: "uint64"}


def _named(type: Type) -> str:
    return _NAMES.get(type, type.name)


def traversed(length: int) -> int:
    """What it costs to look at that many characters."""
    return math.ceil(length * TRAVERSAL)


def equality_cost(arguments: Sequence[Value], _result: Value) -> int:
    """The shorter of both is looked at."""
    return traversed(min(operations.size_or_one(arguments[0]), operations.size_or_one(arguments[1])))


def equality_estimate(operands: Sequence[Operand]) -> CallEstimate:
    """At most the shorter of both, unless it is surely empty at least one."""
    most = min(operands[0].size.most, operands[1].size.most)
    return CallEstimate(Estimate(1 if most > 0 else 0, most).scaled(TRAVERSAL))


def _concatenation_cost(arguments: Sequence[Value], _result: Value) -> int:
    return traversed(len(arguments[0]) + len(arguments[1]))


def _concatenation_estimate(operands: Sequence[Operand]) -> CallEstimate:
    size = operands[0].size.plus(operands[1].size)
    return CallEstimate(size.scaled(TRAVERSAL), size)


def _list_concatenation_cost(_arguments: Sequence[Value], result: Value) -> int:
    # cel-go chains both, whatever their length; here they are copied, which has to be paid for once it takes time.
    return max(1, len(result) // _COPIED_FOR_ONE)


def _list_concatenation_estimate(operands: Sequence[Operand]) -> CallEstimate:
    return CallEstimate(ONE, operands[0].size.plus(operands[1].size))


def _receiver_cost(arguments: Sequence[Value], _result: Value) -> int:
    return traversed(operations.size_or_one(arguments[0]))


def _argument_estimate(operands: Sequence[Operand]) -> CallEstimate:
    # cel-go takes the argument here, and the receiver at run time (checker/cost.go, interpreter/runtimecost.go).
    return CallEstimate(operands[1].size.scaled(TRAVERSAL))


def _matches_cost(arguments: Sequence[Value], _result: Value) -> int:
    text, pattern = arguments
    return math.ceil((1.0 + len(text)) * TRAVERSAL) * math.ceil(len(pattern) * REGEX_LENGTH)


def _matches_estimate(operands: Sequence[Operand]) -> CallEstimate:
    text = operands[0].size.plus(ONE).scaled(TRAVERSAL)
    return CallEstimate(text.by(operands[1].size.scaled(REGEX_LENGTH)))


def _contains_cost(arguments: Sequence[Value], _result: Value) -> int:
    return traversed(len(arguments[0])) * traversed(len(arguments[1]))


def _contains_estimate(operands: Sequence[Operand]) -> CallEstimate:
    return CallEstimate(operands[0].size.scaled(TRAVERSAL).by(operands[1].size.scaled(TRAVERSAL)))


def _in_list_cost(arguments: Sequence[Value], _result: Value) -> int:
    return operations.size_or_one(arguments[1])


def _in_list_estimate(operands: Sequence[Operand]) -> CallEstimate:
    return CallEstimate(operands[1].size)


def _string_to_bytes_estimate(operands: Sequence[Operand]) -> CallEstimate:
    size = operands[0].size
    return CallEstimate(size.scaled(TRAVERSAL), Estimate(size.least, size.plus(size).plus(size).plus(size).most))


def _bytes_to_string_estimate(operands: Sequence[Operand]) -> CallEstimate:
    size = operands[0].size
    return CallEstimate(size.scaled(TRAVERSAL), Estimate(size.least // 4, size.most))


def _arithmetic(name: str, operator: str, does: Callable[..., Value], types: Sequence[Type]) -> Function:
    overloads = [overload(f"{name}_{_named(type)}", (type, type), type, does) for type in types]
    return Function(operator, tuple(overloads))


def _add() -> Function:
    does = operations.add
    strings = [
        overload(
            f"add_{type.name}",
            (type, type),
            type,
            does,
            runtime_cost=_concatenation_cost,
            static_cost=_concatenation_estimate,
        )
        for type in (STRING, BYTES)
    ]
    return function(
        "_+_",
        *strings,
        *_arithmetic("add", "_+_", does, (DOUBLE, INT, UINT)).overloads,
        overload("add_duration_duration", (DURATION, DURATION), DURATION, does),
        overload("add_duration_timestamp", (DURATION, TIMESTAMP), TIMESTAMP, does),
        overload("add_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP, does),
        overload(
            "add_list",
            (_LIST, _LIST),
            _LIST,
            does,
            runtime_cost=_list_concatenation_cost,
            static_cost=_list_concatenation_estimate,
        ),
    )


def _subtract() -> Function:
    does = operations.subtract
    return function(
        "_-_",
        *_arithmetic("subtract", "_-_", does, (DOUBLE, INT, UINT)).overloads,
        overload("subtract_duration_duration", (DURATION, DURATION), DURATION, does),
        overload("subtract_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP, does),
        overload("subtract_timestamp_timestamp", (TIMESTAMP, TIMESTAMP), DURATION, does),
    )


_NUMBERS = (INT, UINT, DOUBLE)


def _ordering(name: str, operator: str, does: Callable[..., Value]) -> Function:
    overloads: list[Overload] = []
    for type in _SCALARS:
        if type in (STRING, BYTES):
            costs = {"runtime_cost": equality_cost, "static_cost": equality_estimate}
            overloads.append(Overload(f"{name}_{type.name}", (type, type), BOOL, does, **costs))  # type: ignore[arg-type]
        else:
            overloads.append(overload(f"{name}_{_named(type)}", (type, type), BOOL, does))
    mixed = [
        overload(f"{name}_{_named(left)}_{_named(right)}", (left, right), BOOL, does)
        for left in _NUMBERS
        for right in _NUMBERS
        if left is not right
    ]
    return Function(operator, (*overloads, *mixed))


def _equality(name: str, operator: str, does: Callable[..., Value]) -> Function:
    return function(
        operator,
        overload(name, (_A, _A), BOOL, does, runtime_cost=equality_cost, static_cost=equality_estimate),
    )


def _never(*_: Value) -> Value:
    raise AssertionError("evaluated by the interpreter itself")


_LOGIC = (
    function(syntax.CONDITIONAL, overload("conditional", (BOOL, _A, _A), _A, _never)),
    function(syntax.AND, overload("logical_and", (BOOL, BOOL), BOOL, _never)),
    function(syntax.OR, overload("logical_or", (BOOL, BOOL), BOOL, _never)),
    function(syntax.NOT, overload("logical_not", (BOOL,), BOOL, operations.invert)),
    function(syntax.NOT_STRICTLY_FALSE, overload("not_strictly_false", (BOOL,), BOOL, _never)),
)
_OPERATORS = (
    _equality("equals", syntax.EQUALS, equal),
    _equality("not_equals", syntax.NOT_EQUALS, lambda left, right: not equal(left, right)),
    _add(),
    _subtract(),
    _arithmetic("multiply", "_*_", operations.multiply, _NUMBERS),
    _arithmetic("divide", "_/_", operations.divide, _NUMBERS),
    _arithmetic("modulo", "_%_", operations.remainder, (INT, UINT)),
    _ordering("less", "_<_", operations.less),
    _ordering("less_equals", "_<=_", operations.less_or_equal),
    _ordering("greater", "_>_", operations.greater),
    _ordering("greater_equals", "_>=_", operations.greater_or_equal),
    function(
        syntax.INDEX,
        overload("index_list", (_LIST, INT), _A, operations.index),
        overload("index_map", (_MAP, _A), _B, operations.index),
    ),
    function(
        syntax.IN,
        overload("in_list", (_A, _LIST), BOOL, contains, runtime_cost=_in_list_cost, static_cost=_in_list_estimate),
        overload("in_map", (_A, _MAP), BOOL, contains),
    ),
)
_NEGATE = function(
    syntax.NEGATE,
    overload("negate_double", (DOUBLE,), DOUBLE, operations.negate),
    overload("negate_int64", (INT,), INT, operations.negate),
)


def _size() -> Function:
    sized = ((BYTES, "bytes"), (_LIST, "list"), (_MAP, "map"), (STRING, "string"))
    return function(
        "size",
        *(overload(f"size_{name}", (type,), INT, operations.size) for type, name in sized),
        *(member(f"{name}_size", (type,), INT, operations.size) for type, name in sized),
    )


def _conversion(name: str, to: Type, does: Callable[[Value], Value], sources: Sequence[Type]) -> Function:
    return Function(name, tuple(overload(f"{_named(of)}_to_{_named(to)}", (of,), to, does) for of in sources))


_CONVERSIONS = (
    _conversion("bool", BOOL, conversions.bool_of, (BOOL, STRING)),
    function(
        "bytes",
        overload("bytes_to_bytes", (BYTES,), BYTES, conversions.bytes_of),
        overload(
            "string_to_bytes",
            (STRING,),
            BYTES,
            conversions.bytes_of,
            runtime_cost=_receiver_cost,
            static_cost=_string_to_bytes_estimate,
        ),
    ),
    _conversion("double", DOUBLE, conversions.double_of, (DOUBLE, INT, STRING, UINT)),
    _conversion("duration", DURATION, conversions.duration_of, (DURATION, INT, STRING)),
    _conversion("int", INT, conversions.int_of, (INT, DOUBLE, DURATION, STRING, TIMESTAMP, UINT)),
    Function(
        "string",
        (
            *_conversion("string", STRING, conversions.text_of, (STRING, BOOL)).overloads,
            overload(
                "bytes_to_string",
                (BYTES,),
                STRING,
                conversions.text_of,
                runtime_cost=_receiver_cost,
                static_cost=_bytes_to_string_estimate,
            ),
            *_conversion("string", STRING, conversions.text_of, (DOUBLE, DURATION, INT, TIMESTAMP, UINT)).overloads,
        ),
    ),
    _conversion("timestamp", TIMESTAMP, conversions.timestamp_of, (TIMESTAMP, INT, STRING)),
    _conversion("uint", UINT, conversions.uint_of, (UINT, DOUBLE, INT, STRING)),
    function("dyn", overload("to_dyn", (_A,), DYN, lambda value: value)),
    function("type", overload("type", (_A,), type_of(_A), runtime_type)),
)
CONVERSIONS = frozenset(conversion.name for conversion in _CONVERSIONS)
"""Calls of these with a literal are evaluated once, when the expression is compiled (cel-go, OptOptimize)."""


def _matches(text: str, pattern: str) -> bool:
    try:
        return go_regexp.compiled(pattern).search(text) is not None
    except go_regexp.RegexpError as error:
        raise EvaluationError(str(error)) from None


def pattern_matcher(pattern: str) -> Callable[[str, str], bool]:
    """`matches` with a pattern that is known, which is then compiled only once."""
    try:
        search = go_regexp.compiled(pattern).search
    except go_regexp.RegexpError:
        return _matches
    return lambda text, _pattern: search(text) is not None


_STRINGS = (
    function(
        "matches",
        overload("matches", (STRING, STRING), BOOL, _matches),
        member(
            "matches_string",
            (STRING, STRING),
            BOOL,
            _matches,
            runtime_cost=_matches_cost,
            static_cost=_matches_estimate,
        ),
    ),
    function(
        "contains",
        member(
            "contains_string",
            (STRING, STRING),
            BOOL,
            lambda text, part: part in text,
            runtime_cost=_contains_cost,
            static_cost=_contains_estimate,
        ),
    ),
    function(
        "startsWith",
        member(
            "starts_with_string",
            (STRING, STRING),
            BOOL,
            lambda text, part: text.startswith(part),
            runtime_cost=_receiver_cost,
            static_cost=_argument_estimate,
        ),
    ),
    function(
        "endsWith",
        member(
            "ends_with_string",
            (STRING, STRING),
            BOOL,
            lambda text, part: text.endswith(part),
            runtime_cost=_receiver_cost,
            static_cost=_argument_estimate,
        ),
    ),
)


def _time_part(name: str, id: str, part: Callable[[datetime, int], int], of_duration: int | None = None) -> Function:
    """A getter of timestamps, in UTC or in a zone, and of durations if these have one (in units of nanoseconds)."""

    def read(moment: Timestamp, zone: str | None = None) -> int:
        return part(times.in_zone(moment, zone), moment.nanoseconds % times.SECOND)

    overloads = [
        member(f"timestamp_to_{id}", (TIMESTAMP,), INT, read),
        member(f"timestamp_to_{id}_with_tz", (TIMESTAMP, STRING), INT, read),
    ]
    if of_duration is not None:
        unit = of_duration

        def whole(span: Duration) -> int:
            count = abs(span.nanoseconds) // unit
            return -count if span.nanoseconds < 0 else count

        overloads.append(member(f"duration_to_{id}", (DURATION,), INT, whole))
    return function(name, *overloads)


_TIMES = (
    _time_part("getFullYear", "year", lambda at, _: at.year),
    _time_part("getMonth", "month", lambda at, _: at.month - 1),
    _time_part("getDayOfYear", "day_of_year", lambda at, _: at.timetuple().tm_yday - 1),
    _time_part("getDayOfMonth", "day_of_month", lambda at, _: at.day - 1),
    _time_part("getDate", "day_of_month_1_based", lambda at, _: at.day),
    _time_part("getDayOfWeek", "day_of_week", lambda at, _: (at.weekday() + 1) % 7),
    _time_part("getHours", "hours", lambda at, _: at.hour, 3600 * times.SECOND),
    _time_part("getMinutes", "minutes", lambda at, _: at.minute, 60 * times.SECOND),
    _time_part("getSeconds", "seconds", lambda at, _: at.second, times.SECOND),
    _time_part("getMilliseconds", "milliseconds", lambda _, rest: rest // 1_000_000, 1_000_000),
)

STANDARD = Library(
    "stdlib",
    functions=(
        *_LOGIC,
        *_OPERATORS,
        _NEGATE,
        _size(),
        *_CONVERSIONS,
        *_STRINGS,
        *_TIMES,
    ),
    types=(*_SCALARS, NULL, list_of(DYN), map_of(DYN, DYN), Type(Kind.TYPE, "type")),
)
STANDARD_OVERLOADS = frozenset(overload.id for function in STANDARD.functions for overload in function.overloads)
"""Calls of these cost by their overload; where that is not known before evaluation, 1."""
