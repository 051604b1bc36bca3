"""What operators do with values whose types are known only when they are evaluated.

Values of types that an operator is not for fail with `no such overload`; numbers that leave their range, with an
overflow.
"""

from __future__ import annotations

import math
from typing import Any

from keelback.cel import times
from keelback.cel.conversions import double_text
from keelback.cel.equality import compared, has_key, runtime_type
from keelback.cel.errors import EvaluationError, no_such_overload
from keelback.cel.merging_lists import MergingList
from keelback.cel.types import Type, type_name
from keelback.cel.values import (
    INT_MAX,
    INT_MIN,
    NONE,
    UINT_MAX,
    DomainMap,
    Duration,
    OpaqueValue,
    OptionalValue,
    Timestamp,
    UInt,
    Value,
)


def less(left: Value, right: Value) -> bool:
    """`<`."""
    return compared(left, right) == -1


def less_or_equal(left: Value, right: Value) -> bool:
    """`<=`."""
    return compared(left, right) in (-1, 0)


def greater(left: Value, right: Value) -> bool:
    """`>`."""
    return compared(left, right) == 1


def greater_or_equal(left: Value, right: Value) -> bool:
    """`>=`."""
    return compared(left, right) in (0, 1)


def _int(number: int) -> int:
    if INT_MIN <= number <= INT_MAX:
        return number
    raise EvaluationError("integer overflow")


def _uint(number: int) -> UInt:
    if 0 <= number <= UINT_MAX:
        return UInt(number)
    raise EvaluationError("unsigned integer overflow")


def add(left: Value, right: Value) -> Value:
    """`+`."""
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return _int(left + right)
        if kind in (str, float, bytes):
            return left + right
        if kind is UInt:
            return _uint(int(left) + int(right))
        if kind is Duration:
            return times.duration(left.nanoseconds + right.nanoseconds)
    if isinstance(left, list) and isinstance(right, list):
        return left.merged(right) if isinstance(left, MergingList) else left + right
    if (kind is Timestamp and other is Duration) or (kind is Duration and other is Timestamp):
        offset_seconds = left.offset_seconds if kind is Timestamp else right.offset_seconds
        return times.timestamp(left.nanoseconds + right.nanoseconds, offset_seconds)
    raise no_such_overload()


def subtract(left: Value, right: Value) -> Value:
    """`-`."""
    kind, other = type(left), type(right)
    if kind is int and other is int:
        return _int(left - right)
    if kind is UInt and other is UInt:
        return _uint(int(left) - int(right))
    if kind is float and other is float:
        return left - right
    if kind is Timestamp and other is Duration:
        return times.timestamp(left.nanoseconds - right.nanoseconds, left.offset_seconds)
    if kind is other and kind in (Timestamp, Duration):
        return times.duration(left.nanoseconds - right.nanoseconds)
    raise no_such_overload()


def multiply(left: Value, right: Value) -> Value:
    """`*`."""
    kind, other = type(left), type(right)
    if kind is int and other is int:
        return _int(left * right)
    if kind is UInt and other is UInt:
        return _uint(int(left) * int(right))
    if kind is float and other is float:
        return left * right
    raise no_such_overload()


def divide(left: Value, right: Value) -> Value:
    """`/`, towards zero."""
    kind, other = type(left), type(right)
    if kind is float and other is float:
        return divide_doubles(left, right)
    if not (kind is other and kind in (int, UInt)):
        raise no_such_overload()
    if right == 0:
        raise EvaluationError("division by zero")
    if kind is UInt:
        return UInt(int(left) // int(right))
    quotient = abs(left) // abs(right)
    return _int(quotient if (left < 0) is (right < 0) else -quotient)


def divide_doubles(left: float, right: float) -> float:
    """As IEEE 754 has it: by zero there are infinities and NaN."""
    if right:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def remainder(left: Value, right: Value) -> Value:
    """`%`, with the sign of the left."""
    kind, other = type(left), type(right)
    if not (kind is other and kind in (int, UInt)):
        raise no_such_overload()
    if right == 0:
        raise EvaluationError("modulus by zero")
    if kind is UInt:
        return UInt(int(left) % int(right))
    if left == INT_MIN and right == -1:
        raise EvaluationError("integer overflow")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def negate(value: Value) -> Value:
    """`-x`."""
    if type(value) is int:
        return _int(-value)
    if type(value) is float:
        return -value
    raise no_such_overload()


def invert(value: Value) -> bool:
    """`!x`."""
    if type(value) is bool:
        return not value
    raise no_such_overload()


def index(container: Value, key: Value) -> Value:
    """`container[key]`."""
    if isinstance(container, dict):
        if has_key(container, key) or isinstance(container, DomainMap):
            return container[key]
        raise missing_key(key)
    if isinstance(container, list):
        return container[list_index(container, key)]
    if isinstance(container, OptionalValue):
        return optional_index(container, key)
    raise missing_key(key)


def missing_key(key: Value) -> EvaluationError:
    """There is nothing by that key, or nothing could be: cel-go says the same of both."""
    return EvaluationError(f"no such key: {shown(key)}")


def _no_field(operand: Value, field: str) -> EvaluationError:
    if isinstance(operand, list):
        return EvaluationError("unsupported index type 'string' in list")
    return missing_key(field)


def list_index(container: list[Any], key: Value) -> int:
    """A whole number of any type, within the list. Raises EvaluationError."""
    kind = type(key)
    if kind is int or kind is UInt or (kind is float and key.is_integer()):
        position = int(key)
    else:
        raise EvaluationError(f"unsupported index type '{type_name(runtime_type(key))}' in list")
    if 0 <= position < len(container):
        return position
    raise EvaluationError(f"index out of bounds: {position}")


def optional_index(container: Value, key: Value) -> OptionalValue:
    """`container[?key]`: none where there is no such element or entry."""
    if isinstance(container, OptionalValue):
        return optional_index(container.value, key) if container.is_present else NONE
    if isinstance(container, dict):
        known = has_key(container, key) or isinstance(container, DomainMap)
        return OptionalValue(container[key]) if known else NONE
    if isinstance(container, list):
        if type(key) in (int, UInt) and not 0 <= key < len(container):
            return NONE
        return OptionalValue(container[list_index(container, key)])
    raise missing_key(key)


def select(operand: Value, field: str) -> Value:
    """`operand.field`, where the operand was no plain dictionary that has it."""
    if isinstance(operand, dict):
        if has_field(operand, field):
            return operand[field]
        raise missing_key(field)
    if isinstance(operand, OptionalValue):
        return optional_select(operand, field)
    raise _no_field(operand, field)


def optional_select(operand: Value, field: str) -> OptionalValue:
    """`operand.?field`."""
    if isinstance(operand, OptionalValue):
        return optional_select(operand.value, field) if operand.is_present else NONE
    if isinstance(operand, dict):
        return OptionalValue(operand[field]) if has_field(operand, field) else NONE
    raise _no_field(operand, field)


def has_field(operand: Value, field: str) -> bool:
    """`has(operand.field)`."""
    if isinstance(operand, dict):
        return field in operand or isinstance(operand, DomainMap)
    if isinstance(operand, OptionalValue):
        return operand.is_present and has_field(operand.value, field)
    raise _no_field(operand, field)


def size(value: Value) -> int:
    """Code points, bytes, elements or entries."""
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    raise no_such_overload()


def size_or_one(value: Value) -> int:
    """What the cost of handling a value is measured by."""
    return len(value) if isinstance(value, (str, bytes, list, dict)) else 1


def is_zero(value: Value) -> bool:
    """Whether this is the value its type begins with: 0, "", an empty list."""
    if isinstance(value, Duration):
        return value.nanoseconds == 0
    if isinstance(value, OptionalValue):
        return not value.is_present
    return not isinstance(value, (OpaqueValue, Timestamp, Type)) and not value


def shown(value: Value) -> str:
    """A key in a message, as Go prints it."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float:
        return double_text(value)
    return str(value)
