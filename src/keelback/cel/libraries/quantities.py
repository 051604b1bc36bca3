"""Kubernetes' `quantity` library: resource quantities, compared, added, and turned into numbers.

Beside the exact amount a value keeps the scaled integer upstream would hold it in: that decides what `isInteger` says.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import ClassVar, final

from keelback.apimachinery import quantity
from keelback.apimachinery.quantity import Format, Quantity, QuantityError
from keelback.cel.declarations import Library, function, member, overload
from keelback.cel.errors import EvaluationError
from keelback.cel.libraries import costs
from keelback.cel.types import BOOL, DOUBLE, INT, STRING, Type, opaque
from keelback.cel.values import INT_MAX, INT_MIN, OpaqueValue

QUANTITY = opaque("kubernetes.Quantity")

_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_PARTS = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?(.*)", re.ASCII)
_INT64_DIGITS = 18


@dataclass(frozen=True, slots=True)
class _Scaled:
    """`value` times ten to the `scale`, in an int64 (apimachinery's int64Amount)."""

    value: int
    scale: int

    def plus(self, other: _Scaled) -> _Scaled | None:
        """The sum, or None if it leaves the int64."""
        if not other.value:
            return self
        if not self.value:
            return other
        scale = min(self.scale, other.scale)
        left, right = _widened(self, scale), _widened(other, scale)
        if left is None or right is None or not INT_MIN <= left + right <= INT_MAX:
            return None
        return _Scaled(left + right, scale)

    def integer(self) -> int | None:
        """The whole number, if the scale is none that would need division."""
        return _widened(self, 0) if self.scale >= 0 else None


def _widened(amount: _Scaled, scale: int) -> int | None:
    value = amount.value * int(10 ** (amount.scale - scale))
    return value if INT_MIN <= value <= INT_MAX else None


@final
@dataclass(frozen=True, slots=True)
class QuantityValue(OpaqueValue):
    """One quantity; equal to every other of the same amount."""

    cel_type: ClassVar[Type] = QUANTITY
    quantity: Quantity
    scaled: _Scaled | None = field(compare=False)
    """None where upstream needs a decimal of arbitrary size."""


def _scaled(text: str) -> _Scaled | None:
    """The scaled integer that upstream's parser makes of a valid quantity's text, or None."""
    match = _PARTS.fullmatch(text)
    if match is None:
        return None
    sign, numerator, fraction, suffix = match.groups(default="")
    digits = (numerator or "0") + fraction
    bits = _BINARY_SUFFIXES.get(suffix)
    if bits is not None:
        # Upstream's guess of how many decimal digits the power of two takes.
        precision = 15 - len(numerator or "0") - bits * 3 // 10 - 1 if not fraction else -1
        scale, factor = 0, 1 << bits
    else:
        exponent = _SUFFIXES.get(suffix)
        scale = (int(suffix[1:]) if exponent is None else exponent) - len(fraction)
        precision, factor = _INT64_DIGITS - len(digits), 1
    value = int(digits) * factor
    if precision < 0 or scale < -9 or value > INT_MAX:
        return None
    return _Scaled(-value if sign == "-" else value, scale)


def of_text(text: str) -> QuantityValue:
    """The value a text stands for. Raises QuantityError."""
    return QuantityValue(quantity.parse(text), _scaled(text))


def _quantity(text: str) -> QuantityValue:
    try:
        return of_text(text)
    except QuantityError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse(text)
    except QuantityError:
        return False
    return True


def _of_int(number: int) -> QuantityValue:
    return QuantityValue(quantity.of(number, Format.DECIMAL_EXPONENT), _Scaled(number, 0))


def _sign(value: QuantityValue) -> int:
    nanos = value.quantity.nanos
    return (nanos > 0) - (nanos < 0)


def _is_integer(value: QuantityValue) -> bool:
    return value.scaled is not None and value.scaled.integer() is not None


def _as_integer(value: QuantityValue) -> int:
    number = value.scaled.integer() if value.scaled is not None else None
    if number is None:
        raise EvaluationError("cannot convert value to integer")
    return number


def _as_float(value: QuantityValue) -> float:
    try:
        if value.scaled is None:
            return value.quantity.as_float()
        return value.scaled.value * 10.0**value.scaled.scale
    except OverflowError:
        return math.inf if value.quantity.nanos > 0 else -math.inf


def _add(value: QuantityValue, other: QuantityValue) -> QuantityValue:
    scaled = value.scaled.plus(other.scaled) if value.scaled is not None and other.scaled is not None else None
    return QuantityValue(value.quantity + other.quantity, scaled)


def _sub(value: QuantityValue, other: QuantityValue) -> QuantityValue:
    scaled = other.scaled and _Scaled(-other.scaled.value, other.scaled.scale)
    total = value.scaled.plus(scaled) if value.scaled is not None and scaled is not None else None
    return QuantityValue(value.quantity - other.quantity, total)


def _add_int(value: QuantityValue, number: int) -> QuantityValue:
    return _add(value, _of_int(number))


def _sub_int(value: QuantityValue, number: int) -> QuantityValue:
    return _sub(value, _of_int(number))


def _is_greater(value: QuantityValue, other: QuantityValue) -> bool:
    return value.quantity > other.quantity


def _is_less(value: QuantityValue, other: QuantityValue) -> bool:
    return value.quantity < other.quantity


def _compared(value: QuantityValue, other: QuantityValue) -> int:
    return (value.quantity > other.quantity) - (value.quantity < other.quantity)


_PAIR = (QUANTITY, QUANTITY)

LIBRARY = Library(
    "kubernetes.quantity",
    functions=(
        function("quantity", overload("string_to_quantity", (STRING,), QUANTITY, _quantity, **costs.TRAVERSAL)),
        function("isQuantity", overload("is_quantity_string", (STRING,), BOOL, _is_quantity, **costs.TRAVERSAL)),
        # A function, not a method, in the releases so far: `sign(q)`.
        function("sign", overload("quantity_sign", (QUANTITY,), INT, _sign, **costs.NOMINAL)),
        function("isInteger", member("quantity_is_integer", (QUANTITY,), BOOL, _is_integer, **costs.NOMINAL)),
        function("asInteger", member("quantity_get_int", (QUANTITY,), INT, _as_integer, **costs.NOMINAL)),
        function("asApproximateFloat", member("quantity_get_float", (QUANTITY,), DOUBLE, _as_float, **costs.NOMINAL)),
        function("isGreaterThan", member("quantity_is_greater_than", _PAIR, BOOL, _is_greater, **costs.NOMINAL)),
        function("isLessThan", member("quantity_is_less_than", _PAIR, BOOL, _is_less, **costs.NOMINAL)),
        function("compareTo", member("quantity_compare_to", _PAIR, INT, _compared, **costs.NOMINAL)),
        function(
            "add",
            member("quantity_add", _PAIR, QUANTITY, _add, **costs.NOMINAL),
            member("quantity_add_int", (QUANTITY, INT), QUANTITY, _add_int, **costs.NOMINAL),
        ),
        function(
            "sub",
            member("quantity_sub", _PAIR, QUANTITY, _sub, **costs.NOMINAL),
            member("quantity_sub_int", (QUANTITY, INT), QUANTITY, _sub_int, **costs.NOMINAL),
        ),
    ),
)
