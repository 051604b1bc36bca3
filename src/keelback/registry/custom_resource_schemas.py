"""What a CustomResourceDefinition's schema may say: it must be structural, so that objects can be pruned by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keelback.apimachinery import go_regexp, structural_schema, structural_schema_validation
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.structural_schema import SchemaTree

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES = ("atomic", "map", "set")
_WITHOUT_TYPE = {
    "root": "must not be empty at the root",
    "field": "must not be empty for specified object fields",
    "item": "must not be empty for specified array items",
}
_UNSUPPORTED = ("$ref", "additionalItems", "definitions", "dependencies", "id", "patternProperties")


def problems(schema: SchemaTree, path: str, level: str = "root") -> Iterator[FieldError]:
    """Everything wrong with a schema. `level` is root, field or item."""
    yield from _type_problems(schema, path, level)
    for name in _UNSUPPORTED:
        if schema.get(name):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", detail)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    yield from _pattern_problems(schema, path)
    yield from _list_problems(schema, path)
    yield from _default_problems(schema, path)
    for name, below in (schema.get("properties") or {}).items():
        yield from problems(below, f"{path}.properties[{name}]", "field")
    others = schema.get("additionalProperties")
    if others is False:
        yield forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    if others and schema.get("properties"):
        yield forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if isinstance(others, Mapping):
        yield from problems(others, f"{path}.additionalProperties", "field")
    items = schema.get("items")
    if isinstance(items, list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    elif isinstance(items, Mapping):
        yield from problems(items, f"{path}.items", "item")


def _type_problems(schema: SchemaTree, path: str, level: str) -> Iterator[FieldError]:
    place, given = f"{path}.type", schema.get("type") or ""
    either = bool(schema.get("x-kubernetes-int-or-string"))
    if not given and not either and not schema.get("x-kubernetes-preserve-unknown-fields"):
        yield required(place, _WITHOUT_TYPE[level])
    elif given and given not in _TYPES:
        yield not_supported(place, given, _TYPES)
    elif level == "root" and given != "object":
        yield invalid(place, given, "must be object at the root")
    elif schema.get("x-kubernetes-embedded-resource") and given != "object":
        yield invalid(place, given, "must be object if x-kubernetes-embedded-resource is true")


def _pattern_problems(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    pattern = schema.get("pattern")
    if pattern:
        try:
            go_regexp.compiled(pattern)
        except go_regexp.RegexpError as error:
            yield invalid(f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {error}")
    for name in ("allOf", "anyOf", "oneOf"):
        for at, part in enumerate(schema.get(name) or ()):
            yield from _nested_pattern_problems(part, f"{path}.{name}[{at}]")
    if isinstance(schema.get("not"), Mapping):
        yield from _nested_pattern_problems(schema["not"], f"{path}.not")


def _nested_pattern_problems(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    """Patterns within a logical junctor: its parts are no structural schemas, but their values are validated."""
    yield from _pattern_problems(schema, path)
    for name, below in (schema.get("properties") or {}).items():
        yield from _nested_pattern_problems(below, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield from _nested_pattern_problems(schema[name], f"{path}.{name}")


def _list_problems(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    list_type = schema.get("x-kubernetes-list-type")
    if not list_type:
        return
    if list_type not in _LIST_TYPES:
        yield not_supported(f"{path}.x-kubernetes-list-type", list_type, _LIST_TYPES)
    if schema.get("type") != "array":
        yield invalid(f"{path}.type", schema.get("type") or "", "must be array if x-kubernetes-list-type is specified")
    if list_type == "map" and not schema.get("x-kubernetes-list-map-keys"):
        detail = "must not be empty if x-kubernetes-list-type is map"
        yield required(f"{path}.x-kubernetes-list-map-keys", detail)


def _default_problems(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    given: Any = schema.get("default")
    if given is None:
        return
    default = structural_schema.defaulted(given, schema)
    yield from structural_schema_validation.validate(default, schema, f"{path}.default")
