"""Resource quantities ("500m", "1Gi", "1e3"): exact values in whole nanos, and upstream's canonical text.

Every quantity is a whole number of nanos: what is finer is rounded away from zero when it is parsed, as upstream does.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from typing import Final


class QuantityError(ValueError):
    """A text that is not a quantity; the message is upstream's."""


class Format(enum.Enum):
    """How a quantity is written: it follows the suffix it was read with."""

    DECIMAL_EXPONENT = "DecimalExponent"
    BINARY_SI = "BinarySI"
    DECIMAL_SI = "DecimalSI"


ERR_FORMAT: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
ERR_NUMERIC: Final = "unable to parse numeric part of quantity"
ERR_SUFFIX: Final = "unable to parse quantity's suffix"

NANOS_PER_UNIT: Final = 10**9
_NANOS_PER_MILLI: Final = 10**6
_MAX_UNITS: Final = 2**63 - 1
# Upstream keeps any exponent lazily; a bound here keeps a hostile text from costing megabytes of digits.
_MAX_EXPONENT: Final = 1000

_TEXT = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE][-+]?[0-9]+", re.ASCII)
_DECIMAL_SUFFIXES: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_NAMES: Final = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_SUFFIXES: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BINARY_NAMES: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount and the form it is written in; quantities of equal amount are equal whatever their form."""

    nanos: int
    format: Format = Format.DECIMAL_SI

    def __str__(self) -> str:
        return _written(self.nanos, self.format)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.format)

    @property
    def value(self) -> int:
        """Whole units, a fraction rounded away from zero."""
        return _divided_away_from_zero(self.nanos, NANOS_PER_UNIT)

    @property
    def milli_value(self) -> int:
        """Thousandths, a fraction rounded away from zero."""
        return _divided_away_from_zero(self.nanos, _NANOS_PER_MILLI)

    def as_float(self) -> float:
        """The nearest float, for ratios and metrics."""
        return self.nanos / NANOS_PER_UNIT

    def rounded_up(self, exponent: int) -> Quantity:
        """The amount rounded away from zero to a multiple of ten to the `exponent` (-9 to 18)."""
        unit = int(10 ** (exponent + 9))
        return Quantity(_divided_away_from_zero(self.nanos, unit) * unit, self.format)


ZERO: Final = Quantity(0)


@lru_cache(maxsize=16384)
def parse(text: str) -> Quantity:
    """The quantity a text stands for.

    Raises:
        QuantityError: The text is none, with upstream's message.
    """
    if not text:
        raise QuantityError(ERR_FORMAT)
    match = _TEXT.fullmatch(text)
    if match is None:
        raise QuantityError(ERR_FORMAT)
    sign, numerator, fraction, suffix = match.groups()
    fraction = fraction or ""
    number = int(numerator + fraction or "0")
    amount, form = _scaled(number, len(fraction), suffix)
    return Quantity(-amount if sign == "-" else amount, form)


@lru_cache(maxsize=16384)
def canonical(text: str) -> str:
    """The form in which the API server stores and answers a quantity: "0.5" is "500m", "1024Mi" is "1Gi".

    Raises:
        QuantityError: The text is not a quantity.
    """
    return str(parse(text))


@lru_cache(maxsize=16384)
def value(text: str) -> int:
    """Whole units of a quantity's text, rounded away from zero."""
    return parse(text).value


@lru_cache(maxsize=16384)
def milli_value(text: str) -> int:
    """Thousandths of a quantity's text, rounded away from zero."""
    return parse(text).milli_value


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as the first quantity is less than, equal to or greater than the second."""
    first, second = parse(left).nanos, parse(right).nanos
    return (first > second) - (first < second)


def of(units: int, form: Format = Format.DECIMAL_SI) -> Quantity:
    """A quantity of whole units."""
    return Quantity(units * NANOS_PER_UNIT, form)


def of_milli(thousandths: int, form: Format = Format.DECIMAL_SI) -> Quantity:
    """A quantity of thousandths, such as millicores."""
    return Quantity(thousandths * _NANOS_PER_MILLI, form)


def _scaled(number: int, fraction_digits: int, suffix: str) -> tuple[int, Format]:
    """Nanos of `number` with the last digits behind the point, under a suffix."""
    exponent = _DECIMAL_SUFFIXES.get(suffix)
    if exponent is not None:
        return _decimal_nanos(number, exponent - fraction_digits), Format.DECIMAL_SI
    bits = _BINARY_SUFFIXES.get(suffix)
    if bits is not None:
        return _binary_nanos(number << bits, fraction_digits)
    if not _EXPONENT.fullmatch(suffix):
        raise QuantityError(ERR_SUFFIX)
    if len(suffix) > 12:
        raise QuantityError(ERR_SUFFIX)
    exponent = int(suffix[1:])
    if exponent > _MAX_EXPONENT:
        raise QuantityError(ERR_NUMERIC)
    return _decimal_nanos(number, exponent - fraction_digits), Format.DECIMAL_EXPONENT


def _decimal_nanos(number: int, exponent: int) -> int:
    exponent += 9
    if exponent >= 0:
        return number * int(10**exponent)
    if not number:
        return 0
    # Below one nano the amount is one nano: whoever asks for something gets something.
    if -exponent > len(str(number)):
        return 1
    return _divided_away_from_zero(number, int(10**-exponent))


def _binary_nanos(number: int, fraction_digits: int) -> tuple[int, Format]:
    nanos = _decimal_nanos(number, -fraction_digits)
    if nanos > _MAX_UNITS * NANOS_PER_UNIT:
        return _MAX_UNITS * NANOS_PER_UNIT, Format.BINARY_SI
    # Upstream: less than one unit is never written with a binary suffix, to avoid rounding and confusion.
    return nanos, Format.DECIMAL_SI if 0 < nanos < NANOS_PER_UNIT else Format.BINARY_SI


def _divided_away_from_zero(number: int, divisor: int) -> int:
    return -(-number // divisor) if number >= 0 else number // divisor


def _written(nanos: int, form: Format) -> str:
    if not nanos:
        return "0"
    if form is Format.BINARY_SI:
        units, rest = divmod(nanos, NANOS_PER_UNIT)
        if not rest and not -1024 < units < 1024:
            return _written_binary(units)
        form = Format.DECIMAL_SI
    number, exponent = nanos, -9
    while number % 1000 == 0 and not (form is Format.DECIMAL_SI and exponent == 18):
        number //= 1000
        exponent += 3
    if form is Format.DECIMAL_SI:
        return f"{number}{_DECIMAL_NAMES[exponent]}"
    return f"{number}e{exponent}" if exponent else str(number)


def _written_binary(units: int) -> str:
    power = 0
    while units % 1024 == 0 and power < len(_BINARY_NAMES) - 1:
        units //= 1024
        power += 1
    return f"{units}{_BINARY_NAMES[power]}"
