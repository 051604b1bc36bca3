"""From a structural OpenAPI schema to what expressions see of it: types, sizes for the cost estimator, and values.

The rules are those of k8s.io/apiserver/pkg/cel/common (schemas.go). Data without a schema cannot be seen: fields that
`x-kubernetes-preserve-unknown-fields` keeps, lists and maps of such data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from keelback.cel.estimates import Estimate
from keelback.cel.field_names import RESERVED, escaped
from keelback.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    object_of,
)

SchemaTree: TypeAlias = Mapping[str, Any]

MAX_REQUEST_SIZE: Final = 3 * 1024 * 1024
"""The bytes of the largest request: no value of a request can be larger, which bounds what has no bound of its own."""

# The shortest JSON of each kind, and the longest of those with a fixed form: limits.go.
_STRING_SIZE: Final = 2
_BOOL_SIZE: Final = 4
_NUMBER_SIZE: Final = 1
_EMPTY_SIZE: Final = 2
_DATE_SIZE: Final = 12
_DATETIME_SIZE: Final = 21
_DURATION_SIZE: Final = 3
_LONGEST_TIME: Final = 32
_LONGEST_STRING: Final = MAX_REQUEST_SIZE - 2

_NOTHING: Mapping[str, Declared] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Declared:
    """What a schema declares: a type, and how large its values may be."""

    type: Type
    most: int = 0
    """Elements of a list, entries of a map, bytes of a text; zero for everything else."""
    least_serialized: int = 0
    """The bytes of its shortest JSON."""
    fields: Mapping[str, Declared] = field(default_factory=lambda: _NOTHING)
    """Of an object, by the names that expressions use."""
    key: Declared | None = None
    element: Declared | None = None

    def size(self, path: Sequence[str]) -> Estimate | None:
        """How large the value may be that a path from here leads to, for `Program.estimate_cost`.

        The path is the estimator's without the variable's own name: `("spec", "list", "@items")`.
        """
        current: Declared | None = self
        for name in path:
            if current is None:
                return None
            match name:
                case "@items" | "@values":
                    current = current.element
                case "@keys":
                    current = current.key
                case _:
                    current = current.fields.get(name)
        return None if current is None else Estimate(0, current.most)

    @property
    def largest_count(self) -> int:
        """How many such values one request can hold at the very most (model.MaxCardinality)."""
        return MAX_REQUEST_SIZE // (self.least_serialized + 1)


def declared(
    schema: SchemaTree, name: str, *, is_resource: bool = False, takes_keywords: bool = False
) -> Declared | None:
    """What expressions see of a schema; None if they cannot see it at all.

    Args:
        schema: A structural schema; `allOf` and its like play no part.
        name: What the type is called; fields below are called `name.field`, elements `name.@idx` and `name.@elem`.
        is_resource: It is the root of an object: `apiVersion`, `kind`, `metadata.name` and `metadata.generateName`
            can be seen even if the schema does not name them.
        takes_keywords: `a.namespace` may be written beside `a.__namespace__`, as in admission policies.
    """
    if schema.get("x-kubernetes-int-or-string"):
        longest = schema.get("maxLength")
        return Declared(DYN, _LONGEST_STRING if longest is None else _positive(longest) * 4, 1)
    if is_resource:
        schema = with_type_and_object_meta(schema)
    match schema.get("type"):
        case "array":
            return _list(schema, name, takes_keywords)
        case "object":
            if isinstance(schema.get("additionalProperties"), Mapping):
                return _map(schema, name, takes_keywords)
            return _object(schema, name, takes_keywords)
        case "string":
            return _string(schema)
        case "boolean":
            return Declared(BOOL, least_serialized=_BOOL_SIZE)
        case "number":
            return Declared(DOUBLE, least_serialized=_NUMBER_SIZE)
        case "integer":
            return Declared(INT, least_serialized=_NUMBER_SIZE)
        case _:
            return None


def with_type_and_object_meta(schema: SchemaTree) -> SchemaTree:
    """The schema of a resource, with what every resource has."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    metadata: Mapping[str, Any] = properties.get("metadata") or {}
    inner: Mapping[str, Any] = metadata.get("properties") or {}
    texts = (properties.get("kind"), properties.get("apiVersion"), inner.get("name"), inner.get("generateName"))
    if metadata.get("type") == "object" and all((text or {}).get("type") == "string" for text in texts):
        return schema
    text = {"type": "string"}
    object_meta = {"type": "object", "properties": {"name": text, "generateName": text}}
    return {**schema, "properties": {**properties, "kind": text, "apiVersion": text, "metadata": object_meta}}


def _below(schema: SchemaTree, name: str, takes_keywords: bool) -> Declared | None:
    is_resource = bool(schema.get("x-kubernetes-embedded-resource"))
    return declared(schema, name, is_resource=is_resource, takes_keywords=takes_keywords)


def _list(schema: SchemaTree, name: str, takes_keywords: bool) -> Declared | None:
    items = schema.get("items")
    element = _below(items, f"{name}.@idx", takes_keywords) if isinstance(items, Mapping) else None
    if element is None:
        return None
    most = schema.get("maxItems")
    # Brackets around all, a comma behind each.
    most = (MAX_REQUEST_SIZE - 2) // (element.least_serialized + 1) if most is None else _positive(most)
    return Declared(list_of(element.type), most, _EMPTY_SIZE, element=element)


def _map(schema: SchemaTree, name: str, takes_keywords: bool) -> Declared | None:
    element = _below(schema["additionalProperties"], f"{name}.@elem", takes_keywords)
    if element is None:
        return None
    most = schema.get("maxProperties")
    # Braces around all; at least two characters of key, its quotes, a colon and a comma for each.
    most = (MAX_REQUEST_SIZE - 2) // (element.least_serialized + 6) if most is None else _positive(most)
    key = Declared(STRING, least_serialized=_STRING_SIZE)
    return Declared(map_of(STRING, element.type), most, _EMPTY_SIZE, key=key, element=element)


def _object(schema: SchemaTree, name: str, takes_keywords: bool) -> Declared:
    required = frozenset(schema.get("required") or ())
    fields: dict[str, Declared] = {}
    least = _EMPTY_SIZE
    for property_name, property_schema in (schema.get("properties") or {}).items():
        identifier = escaped(property_name)
        inner = _below(property_schema, f"{name}.{identifier}", takes_keywords)
        if inner is None:
            continue
        if identifier is not None:
            fields[identifier] = inner
            if takes_keywords and property_name in RESERVED:
                fields[property_name] = inner
        if property_name in required and property_schema.get("default") is None:
            least += len(property_name.encode()) + inner.least_serialized + 4
    type = object_of(name, {identifier: inner.type for identifier, inner in fields.items()})
    return Declared(type, 0, least, MappingProxyType(fields))


def _string(schema: SchemaTree) -> Declared:
    longest = schema.get("maxLength")
    match schema.get("format"):
        case "byte":
            return Declared(BYTES, _LONGEST_STRING if longest is None else _positive(longest), _STRING_SIZE)
        case "duration":
            return Declared(DURATION, _LONGEST_TIME, _DURATION_SIZE)
        case "date":
            return Declared(TIMESTAMP, _DATE_SIZE, _DATE_SIZE)
        case "date-time":
            return Declared(TIMESTAMP, _LONGEST_TIME, _DATETIME_SIZE)
    if longest is not None:
        # A schema counts characters, and a character has up to four bytes.
        return Declared(STRING, _positive(longest) * 4, _STRING_SIZE)
    choices = schema.get("enum")
    if choices:
        return Declared(
            STRING, max(len(each.encode()) if isinstance(each, str) else 0 for each in choices), _STRING_SIZE
        )
    return Declared(STRING, _LONGEST_STRING, _STRING_SIZE)


def _positive(number: int) -> int:
    return max(number, 0)
