"""The types of the Common Expression Language: what a checked expression may be, and how each is written in messages.

A type is a frozen value. Object types carry their fields, but are equal by name, as in cel-go's common/types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from types import MappingProxyType


@unique
class Kind(Enum):
    """The families of types."""

    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    DOUBLE = "double"
    STRING = "string"
    BYTES = "bytes"
    NULL = "null"
    TIMESTAMP = "timestamp"
    DURATION = "duration"
    DYN = "dyn"
    ANY = "any"
    ERROR = "error"
    TYPE = "type"
    LIST = "list"
    MAP = "map"
    OBJECT = "object"
    OPAQUE = "opaque"
    PARAMETER = "parameter"


NO_FIELDS: Mapping[str, Type] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Type:
    """One type. `parameters` are those of list, map, type and of opaque types such as `optional_type(string)`.

    `fields` are an object type's, by the name an expression uses; they take no part in equality. An object type with
    no fields known has any field, of type dyn, if `is_open`.
    """

    kind: Kind
    name: str
    parameters: tuple[Type, ...] = ()
    fields: Mapping[str, Type] = field(default_factory=lambda: NO_FIELDS, compare=False, repr=False)
    is_open: bool = field(default=False, compare=False, repr=False)

    def __str__(self) -> str:
        """As cel-go writes it in messages: `list(map(string, int))`."""
        if not self.parameters or self.kind is Kind.OBJECT:
            return self.name
        return f"{self.name}({', '.join(map(str, self.parameters))})"


BOOL = Type(Kind.BOOL, "bool")
INT = Type(Kind.INT, "int")
UINT = Type(Kind.UINT, "uint")
DOUBLE = Type(Kind.DOUBLE, "double")
STRING = Type(Kind.STRING, "string")
BYTES = Type(Kind.BYTES, "bytes")
NULL = Type(Kind.NULL, "null")
TIMESTAMP = Type(Kind.TIMESTAMP, "timestamp")
DURATION = Type(Kind.DURATION, "duration")
DYN = Type(Kind.DYN, "dyn")
ANY = Type(Kind.ANY, "any")
ERROR = Type(Kind.ERROR, "!error!")
"""What an expression has that did not check; it goes with everything, so that one mistake is reported once."""

OPTIONAL_NAME = "optional_type"


def list_of(element: Type) -> Type:
    """`list(element)`."""
    return Type(Kind.LIST, "list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """`map(key, value)`."""
    return Type(Kind.MAP, "map", (key, value))


def type_of(inner: Type) -> Type:
    """The type of the name of a type: `int` alone in an expression is of `type(int)`."""
    return Type(Kind.TYPE, "type", (inner,))


def optional_of(inner: Type) -> Type:
    """`optional_type(inner)`: what `a.?b` and `optional.of(x)` are."""
    return Type(Kind.OPAQUE, OPTIONAL_NAME, (inner,))


def opaque(name: str, *parameters: Type) -> Type:
    """A type only its library looks into: `kubernetes.Quantity`."""
    return Type(Kind.OPAQUE, name, parameters)


def parameter(name: str) -> Type:
    """A placeholder in signatures: the same name stands for the same type within one overload."""
    return Type(Kind.PARAMETER, name)


def object_of(name: str, fields: Mapping[str, Type], *, is_open: bool = False) -> Type:
    """An object with named fields; its values are plain dictionaries."""
    return Type(Kind.OBJECT, name, (), MappingProxyType(dict(fields)), is_open)


DYN_LIST = list_of(DYN)
DYN_MAP = map_of(DYN, DYN)

_TYPE_NAMES = {
    Kind.NULL: "null_type",
    Kind.TIMESTAMP: "google.protobuf.Timestamp",
    Kind.DURATION: "google.protobuf.Duration",
}


def type_name(type: Type) -> str:
    """The name by which an expression refers to a type, and `string(type(x))` writes it: `null_type`, `list`."""
    return _TYPE_NAMES.get(type.kind, type.name)
