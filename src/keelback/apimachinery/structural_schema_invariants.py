"""What makes a schema structural: each field has one type and one place, so that objects can be pruned by it.

Logical junctors (allOf, anyOf, oneOf, not) may narrow values, but name no type and no field of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keelback.apimachinery import go_regexp
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required
from keelback.apimachinery.structural_schema import SchemaTree

_WITHOUT_TYPE = {
    "root": "must not be empty at the root",
    "field": "must not be empty for specified object fields",
    "item": "must not be empty for specified array items",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_UNSUPPORTED = (
    ("id", "id"),
    ("$schema", "schema"),
    ("$ref", "$ref"),
    ("additionalItems", "additionalItems"),
    ("patternProperties", "patternProperties"),
    ("definitions", "definitions"),
    ("dependencies", "dependencies"),
)
_NESTED_EMPTY = "must be empty to be structural"
_NESTED_FALSE = "must be false to be structural"
_NESTED_UNDEFINED = "must be undefined to be structural"
_FORBIDDEN_IN_JUNCTORS = (
    ("type", _NESTED_EMPTY),
    ("additionalProperties", _NESTED_UNDEFINED),
    ("default", _NESTED_UNDEFINED),
    ("title", _NESTED_EMPTY),
    ("description", _NESTED_EMPTY),
    ("nullable", _NESTED_FALSE),
    ("x-kubernetes-preserve-unknown-fields", _NESTED_FALSE),
    ("x-kubernetes-embedded-resource", _NESTED_FALSE),
    ("x-kubernetes-int-or-string", _NESTED_FALSE),
    ("x-kubernetes-list-map-keys", _NESTED_EMPTY),
    ("x-kubernetes-list-type", _NESTED_UNDEFINED),
    ("x-kubernetes-map-type", _NESTED_UNDEFINED),
    ("x-kubernetes-validations", _NESTED_EMPTY),
)
# What the schema of the root's metadata may hold besides these makes it more than a restriction of names.
_OF_METADATA = frozenset(("type", "properties", "default", "nullable"))


def unsupported(schema: SchemaTree) -> str:
    """Why no structural schema can be made of this one at all; empty if it can."""
    for name, told in _UNSUPPORTED:
        if schema.get(name):
            return f"OpenAPIV3Schema '{told}' is not supported"
    if isinstance(schema.get("items"), list):
        return "OpenAPIV3Schema 'items' must be an object, but is an array"
    for _, below in _all_parts(schema, ""):
        if why := unsupported(below):
            return why
    return ""


def problems(schema: SchemaTree, path: str) -> list[FieldError]:
    """Every invariant a schema breaks, sorted by its text as upstream does."""
    found = [*_invariants(schema, path, "root"), *_completeness(schema, schema, path, path)]
    return sorted(found, key=lambda one: f"{one.field}: {one.body}")


def _all_parts(schema: SchemaTree, path: str) -> Iterator[tuple[str, SchemaTree]]:
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), Mapping):
            yield f"{path}.{name}", schema[name]
    for name, below in (schema.get("properties") or {}).items():
        yield f"{path}.properties[{name}]", below
    for name in ("allOf", "anyOf", "oneOf"):
        for at, below in enumerate(schema.get(name) or ()):
            yield f"{path}.{name}[{at}]", below


def _invariants(schema: SchemaTree, path: str, level: str) -> Iterator[FieldError]:
    properties: SchemaTree = schema.get("properties") or {}
    items, others = schema.get("items"), schema.get("additionalProperties")
    kind = schema.get("type") or ""
    embeds = bool(schema.get("x-kubernetes-embedded-resource"))
    keeps = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if kind == "array" and items is None:
        yield required(f"{path}.items", "must be specified")
    if isinstance(items, Mapping):
        yield from _invariants(items, f"{path}.items", "item")
    for name, below in properties.items():
        yield from _invariants(below, f"{path}.properties[{name}]", "field")
    if others is not None:
        if level == "root":
            yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
        if isinstance(others, Mapping):
            yield from _invariants(others, f"{path}.additionalProperties", "field")
    yield from _extensions(schema, path, embeds=embeds, keeps=keeps)
    yield from _junctors(
        schema,
        path,
        skips_any=schema.get("anyOf") == _INT_OR_STRING,
        skips_first=bool(schema.get("allOf")) and schema["allOf"][0].get("anyOf") == _INT_OR_STRING,
    )
    if embeds and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{path}.type", kind, detail) if kind else required(f"{path}.type", detail)
    elif not kind and not schema.get("x-kubernetes-int-or-string") and not keeps:
        yield required(f"{path}.type", _WITHOUT_TYPE[level])
    if embeds and others is not None:
        yield forbidden(f"{path}.additionalProperties", "must not be used if x-kubernetes-embedded-resource is set")
    if level == "root" and kind and kind != "object":
        yield invalid(f"{path}.type", kind, "must be object at the root")
    yield from _type_fields(properties, path, level, embeds=embeds)
    if embeds and not keeps and not properties:
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        yield required(f"{path}.properties", detail)


def _extensions(schema: SchemaTree, path: str, *, embeds: bool, keeps: bool) -> Iterator[FieldError]:
    if schema.get("x-kubernetes-int-or-string"):
        detail = "must be false if x-kubernetes-int-or-string is true"
        if keeps:
            yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", True, detail)
        if embeds:
            yield invalid(f"{path}.x-kubernetes-embedded-resource", True, detail)


def _type_fields(properties: SchemaTree, path: str, level: str, *, embeds: bool) -> Iterator[FieldError]:
    """kind, apiVersion and metadata of a resource have the types they have everywhere."""
    is_resource = level == "root" or embeds
    for name in ("kind", "apiVersion"):
        given = properties.get(name)
        if is_resource and given is not None and given.get("type") != "string":
            yield invalid(f"{path}.properties[{name}].type", given.get("type") or "", "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    place = f"{path}.properties[metadata]"
    if is_resource and metadata.get("type") != "object":
        yield invalid(f"{place}.type", metadata.get("type") or "", "must be object")
    if level == "root":
        others = {name for name, value in metadata.items() if value not in (None, False, "", [], {})} - _OF_METADATA
        if others or metadata.get("nullable") or set(metadata.get("properties") or ()) - {"name", "generateName"}:
            detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield forbidden(place, detail)


def _junctors(schema: SchemaTree, path: str, *, skips_any: bool, skips_first: bool) -> Iterator[FieldError]:
    for name in ("anyOf", "allOf", "oneOf"):
        if name == "anyOf" and skips_any:
            continue
        for at, part in enumerate(schema.get(name) or ()):
            yield from _nested(part, f"{path}.{name}[{at}]", skips_any=name == "allOf" and skips_first and at == 0)
    if isinstance(schema.get("not"), Mapping):
        yield from _nested(schema["not"], f"{path}.not")
    pattern = schema.get("pattern")
    if pattern:
        try:
            go_regexp.compiled(pattern)
        except go_regexp.RegexpError as error:
            yield invalid(f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {error}")


def _nested(schema: SchemaTree, path: str, *, skips_any: bool = False) -> Iterator[FieldError]:
    """What a part of a junctor must not hold."""
    yield from _junctors(schema, path, skips_any=skips_any, skips_first=False)
    if isinstance(schema.get("items"), Mapping):
        yield from _nested(schema["items"], f"{path}.items")
    properties = schema.get("properties") or {}
    for name, below in properties.items():
        yield from _nested(below, f"{path}.properties[{name}]")
    for name, detail in _FORBIDDEN_IN_JUNCTORS:
        given: Any = schema.get(name)
        if given or (given is not None and name in ("additionalProperties", "default")):
            yield forbidden(f"{path}.{name}", detail)
    if "metadata" in properties:
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _completeness(values: SchemaTree, schema: SchemaTree, path: str, place: str) -> Iterator[FieldError]:
    """Every field that a junctor speaks of must be specified outside of it, too."""
    if isinstance(values.get("not"), Mapping):
        yield from _nested_completeness(values["not"], schema, path, f"{place}.not")
    for name in ("allOf", "anyOf", "oneOf"):
        for at, part in enumerate(values.get(name) or ()):
            yield from _nested_completeness(part, schema, path, f"{place}.{name}[{at}]")


def _nested_completeness(values: SchemaTree, schema: SchemaTree, path: str, place: str) -> Iterator[FieldError]:
    yield from _completeness(values, schema, path, place)
    if isinstance(values.get("items"), Mapping):
        if isinstance(schema.get("items"), Mapping):
            yield from _nested_completeness(values["items"], schema["items"], f"{path}.items", f"{place}.items")
        else:
            yield required(f"{path}.items", f"because it is defined in {place}.items")
    properties = schema.get("properties") or {}
    for name, below in (values.get("properties") or {}).items():
        here, there = f"{path}.properties[{name}]", f"{place}.properties[{name}]"
        if name in properties:
            yield from _nested_completeness(below, properties[name], here, there)
        else:
            yield required(here, f"because it is defined in {there}")
