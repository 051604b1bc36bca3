"""The values of expressions, in Python.

| CEL | Python |
|---|---|
| bool, int, double, string, bytes, null | bool, int, float, str, bytes, None |
| uint | `UInt`, a subclass of int |
| list, map and objects | list, dict |
| timestamp, duration | `Timestamp`, `Duration`: Python's own lack the nanoseconds |
| type | `keelback.cel.types.Type` |
| optional_type | `OptionalValue` |
| types of libraries | a subclass of `OpaqueValue` each |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from keelback.cel.types import BOOL, BYTES, DOUBLE, DYN, INT, NULL, STRING, UINT, Type, optional_of

INT_MIN = -(1 << 63)
INT_MAX = (1 << 63) - 1
UINT_MAX = (1 << 64) - 1

Value = Any
"""One value of the table above. Which is the checker's to know; the interpreter asks where it could not."""


@final
class UInt(int):
    """An unsigned number: `1u`. Never equal in type to an int, though `1u == 1` holds."""

    __slots__ = ()


class DomainMap(dict[str, Any]):
    """A map that answers an empty map for a key that it has not, as a device's attributes do for a domain.

    Only `in` and comprehensions tell that nothing is there.
    """

    def __missing__(self, key: str) -> dict[str, Any]:
        return {}


class OpaqueValue:
    """A value of a library's type. Subclasses are equal by their `__eq__`, and say which type they have."""

    __slots__ = ()
    cel_type: ClassVar[Type]


@final
@dataclass(frozen=True, slots=True)
class OptionalValue(OpaqueValue):
    """`optional.of(value)`, or `NONE`."""

    cel_type: ClassVar[Type] = optional_of(DYN)
    value: Value
    is_present: bool = True


NONE = OptionalValue(None, is_present=False)


@final
@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970 (UTC), from the year 1 to 9999."""

    nanoseconds: int
    offset_seconds: int = field(default=0, compare=False)
    """East of UTC: how its text is written, as the text it was read from was. It makes no other difference."""


@final
@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time in nanoseconds, within an int64."""

    nanoseconds: int


_LITERALS: dict[type, Type] = {
    bool: BOOL,
    int: INT,
    UInt: UINT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
    type(None): NULL,
}


def type_of_literal(value: Value) -> Type:
    """The type of a constant as it may stand in an expression."""
    return _LITERALS[type(value)]
