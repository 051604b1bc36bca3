"""Values to values of other types: `string(1)`, `int("12")`, `timestamp("2026-01-01T00:00:00Z")`.

What cannot be converted fails in cel-go's words.
"""

from __future__ import annotations

import math
import re

from keelback.cel import times
from keelback.cel.equality import runtime_type
from keelback.cel.errors import EvaluationError
from keelback.cel.types import Type
from keelback.cel.types import type_name as name_of
from keelback.cel.values import INT_MAX, INT_MIN, UINT_MAX, Duration, Timestamp, UInt, Value

_INT = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_UINT = re.compile(r"[0-9]{1,30}", re.ASCII)
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[+-]?(?:inf|infinity)|nan", re.IGNORECASE | re.ASCII)
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def type_name(value: Value) -> str:
    """The name of the type of a value: `google.protobuf.Timestamp`."""
    return name_of(runtime_type(value))


def _impossible(value: Value, to: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{type_name(value)}' to '{to}'")


def text_of(value: Value) -> str:
    """`string(value)`."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is UInt:
        return str(int(value))
    if kind is float:
        return double_text(value)
    if kind is bytes:
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, Timestamp):
        return times.timestamp_text(value)
    if isinstance(value, Duration):
        return times.duration_text(value)
    if isinstance(value, Type):
        return name_of(value)
    raise _impossible(value, "string")


def int_of(value: Value) -> int:
    """`int(value)`: of a double towards zero, of a timestamp its seconds since 1970."""
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is UInt:
        return _in_range(int(value), INT_MIN, INT_MAX, "integer overflow")
    if kind is float:
        # Doubles reach 2**63 only by rounding; cel-go takes neither end for sure.
        if not INT_MIN < value < INT_MAX:
            raise EvaluationError("integer overflow")
        return int(value)
    if kind is str and _INT.fullmatch(value) and INT_MIN <= int(value) <= INT_MAX:
        return int(value)
    if isinstance(value, Timestamp):
        return value.nanoseconds // times.SECOND
    if isinstance(value, Duration):
        return value.nanoseconds
    raise _impossible(value, "int")


def uint_of(value: Value) -> UInt:
    """`uint(value)`."""
    kind = type(value)
    if kind is UInt:
        return UInt(value)
    if kind is int:
        return UInt(_in_range(value, 0, UINT_MAX, "unsigned integer overflow"))
    if kind is float:
        if not 0 <= value < UINT_MAX:
            raise EvaluationError("unsigned integer overflow")
        return UInt(int(value))
    if kind is str and _UINT.fullmatch(value) and int(value) <= UINT_MAX:
        return UInt(int(value))
    raise _impossible(value, "uint")


def double_of(value: Value) -> float:
    """`double(value)`."""
    kind = type(value)
    if kind in (float, int, UInt):
        return float(value)
    if kind is str and _SPECIAL.fullmatch(value):
        return float(value)
    if kind is str and _DOUBLE.fullmatch(value):
        number = float(value)
        if not math.isinf(number):
            return number
    raise _impossible(value, "double")


def bool_of(value: Value) -> bool:
    """`bool(value)`."""
    if type(value) is bool:
        return bool(value)
    if type(value) is str:
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
    raise _impossible(value, "bool")


def bytes_of(value: Value) -> bytes:
    """`bytes(value)`: a text's UTF-8."""
    if type(value) is bytes:
        return bytes(value)
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass")
    raise _impossible(value, "bytes")


def timestamp_of(value: Value) -> Timestamp:
    """`timestamp(value)`: of RFC 3339, or of seconds since 1970."""
    if isinstance(value, Timestamp):
        return value
    if type(value) is int:
        return times.timestamp(value * times.SECOND)
    if type(value) is str:
        moment = times.parse_timestamp(value)
        if moment is not None:
            return moment
    raise _impossible(value, "google.protobuf.Timestamp")


def duration_of(value: Value) -> Duration:
    """`duration(value)`: of Go's text for one, or of nanoseconds."""
    if isinstance(value, Duration):
        return value
    if type(value) is int:
        return Duration(value)
    if type(value) is str:
        span = times.parse_duration(value)
        if span is not None:
            return span
    raise _impossible(value, "google.protobuf.Duration")


def _in_range(number: int, lowest: int, highest: int, otherwise: str) -> int:
    if lowest <= number <= highest:
        return number
    raise EvaluationError(otherwise)


_FIRST_EXPONENT = 6


def double_text(number: float) -> str:
    """As Go's `%g` prints it: `1.5`, `1e+06`."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    sign, digits, exponent = _shortest(number)
    point = len(digits) + exponent
    if -4 <= point - 1 < _FIRST_EXPONENT:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        if point >= len(digits):
            return sign + digits + "0" * (point - len(digits))
        return f"{sign}{digits[:point]}.{digits[point:]}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{'-' if point - 1 < 0 else '+'}{abs(point - 1):02d}"


def _shortest(number: float) -> tuple[str, str, int]:
    """Sign, digits and the power of ten of the last one, as few as denote the number."""
    mantissa, _, power = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or "0") - len(fraction)
    stripped = digits.rstrip("0")
    return "-" if number < 0 else "", stripped, exponent + len(digits) - len(stripped)
