"""When values are equal, in order, and of which types: CEL's heterogeneous equality.

Numbers of different types compare by what they count; everything else of different types is unequal, and not to be
ordered: `no such overload`.
"""

from __future__ import annotations

from keelback.cel.errors import no_such_overload
from keelback.cel.merging_lists import MergingList
from keelback.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN_LIST,
    DYN_MAP,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Kind,
    Type,
    type_name,
    type_of,
)
from keelback.cel.values import Duration, OpaqueValue, OptionalValue, Timestamp, UInt, Value

_NUMBERS = frozenset({int, UInt, float})
_PLAIN = frozenset({str, int, float, bool, bytes, UInt, type(None), Timestamp, Duration})
_SIMPLE = _PLAIN - {float}
_TYPES: dict[type, Type] = {
    bool: BOOL,
    int: INT,
    UInt: UINT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
    type(None): NULL,
    list: DYN_LIST,
    dict: DYN_MAP,
    Timestamp: TIMESTAMP,
    Duration: DURATION,
}


def runtime_type(value: Value) -> Type:
    """What `type(value)` is."""
    known = _TYPES.get(type(value))
    if known is not None:
        return known
    if isinstance(value, Type):
        return type_of(value)
    if isinstance(value, list):
        return DYN_LIST
    if isinstance(value, dict):
        return DYN_MAP
    if isinstance(value, OpaqueValue):
        return value.cel_type
    raise no_such_overload()


def is_of(type: Type, value: Value) -> bool:
    """Whether a value may be given where a signature says `type`."""
    if type.kind in (Kind.DYN, Kind.ANY, Kind.PARAMETER):
        return True
    actual = runtime_type(value)
    if actual.kind is not type.kind:
        return False
    if type.kind is Kind.OPAQUE:
        return actual.name == type.name
    if not type.parameters or not value or type.kind not in (Kind.LIST, Kind.MAP):
        return True
    # As cel-go does: the first element speaks for all.
    if type.kind is Kind.LIST:
        return is_of(type.parameters[0], value[0])
    key = next(iter(value))
    return is_of(type.parameters[0], key) and is_of(type.parameters[1], value[key])


def equal(left: Value, right: Value) -> bool:
    """`==`, which never fails."""
    kind, other = type(left), type(right)
    if kind is other and kind in _PLAIN:
        return bool(left == right)
    if kind in _NUMBERS and other in _NUMBERS:
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        if isinstance(left, MergingList):
            return left.equal_to(right, equal)
        if isinstance(right, MergingList):
            return right.equal_to(left, equal)
        if len(left) != len(right):
            return False
        kinds = set(map(type, left))
        # Where Python compares as the language does, it does so far faster. (Of NaN it says that it is itself.)
        if len(kinds) == 1 and kinds <= _SIMPLE and kinds == set(map(type, right)):
            return bool(left == right)
        return all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return len(left) == len(right) and all(_same_entry(key, value, right) for key, value in left.items())
    if isinstance(left, OptionalValue) and isinstance(right, OptionalValue):
        return left.is_present is right.is_present and equal(left.value, right.value)
    if isinstance(left, Type) and isinstance(right, Type):
        return type_name(left) == type_name(right)
    if isinstance(left, OpaqueValue) and isinstance(right, OpaqueValue):
        return bool(left == right)
    return False


def _same_entry(key: Value, value: Value, other: dict[Value, Value]) -> bool:
    return has_key(other, key) and equal(value, other[key])


_LARGE = 1000


def has_key(mapping: dict[Value, Value], key: Value) -> bool:
    """Whether the map has the key: `1`, `1u` and `1.0` are the same one, `true` is none of them."""
    if type(key) is str:
        return key in mapping
    try:
        if key not in mapping:
            return False
    except TypeError:
        raise no_such_overload() from None
    if key not in (0, 1):
        return True
    # For Python true is 1. Maps of both are written out in an expression, and small.
    if len(mapping) > _LARGE:
        return (type(key) is bool) is (type(next(iter(mapping))) is bool)
    return any(equal(key, other) for other in mapping)


def contains(element: Value, container: Value) -> bool:
    """`element in container`."""
    if isinstance(container, dict):
        return has_key(container, element)
    if isinstance(container, list):
        # Python finds too much, for it true is 1, but never too little, and ten times as fast: a rule may ask often.
        if type(element) in _SIMPLE and element not in container:
            return False
        return type(element) is str or any(equal(element, other) for other in container)
    raise no_such_overload()


_ORDERED = frozenset({str, bytes, bool, Timestamp, Duration})


def compared(left: Value, right: Value) -> int:
    """-1, 0 or 1; 2 where a number that is none (NaN) takes part."""
    kind, other = type(left), type(right)
    if not (kind is other and kind in _ORDERED) and not (kind in _NUMBERS and other in _NUMBERS):
        raise no_such_overload()
    if left < right:
        return -1
    if left > right:
        return 1
    return 0 if left == right else 2
