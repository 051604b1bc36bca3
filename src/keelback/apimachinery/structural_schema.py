"""What a custom resource's schema does to an object before it is validated: unknown fields go, defaults come.

A schema is the JSON tree of an `openAPIV3Schema`; the functions return new trees and leave the given ones alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from keelback.apimachinery import codecs
from keelback.apimachinery.meta import ObjectMeta

SchemaTree: TypeAlias = Mapping[str, Any]

_TYPE_FIELDS = ("apiVersion", "kind", "metadata")
PRESERVING: SchemaTree = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""The schema under which everything stays."""


def keeps_unknown_fields(schema: SchemaTree) -> bool:
    """Whether fields that the schema does not name are kept."""
    return bool(schema.get("x-kubernetes-preserve-unknown-fields"))


def additional(schema: SchemaTree) -> SchemaTree | None:
    """The schema of a map's values; None where only named properties may stand."""
    found = schema.get("additionalProperties")
    if isinstance(found, Mapping):
        return found
    return PRESERVING if found else None


def pruned(value: Any, schema: SchemaTree, *, is_root: bool = False) -> Any:
    """The value without fields the schema does not name."""
    return _pruned(value, schema, "", None, is_root=is_root)


def unknown_fields(value: Any, schema: SchemaTree) -> list[str]:
    """The paths of an object's fields that `pruned` drops, sorted; those in the metadata of embedded objects last."""
    found: list[str] = []
    _pruned(value, schema, "", found, is_root=True)
    embedded: list[str] = []
    _embedded_unknown(value, schema, "", embedded, is_root=True)
    return [*sorted(found), *embedded]


def _pruned(value: Any, schema: SchemaTree, path: str, found: list[str] | None, *, is_root: bool = False) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, Mapping):
            return value
        return [_pruned(one, items, f"{path}[{at}]", found) for at, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    embeds = is_root or bool(schema.get("x-kubernetes-embedded-resource"))
    properties: SchemaTree = schema.get("properties") or {}
    others = additional(schema)
    keeps = keeps_unknown_fields(schema)
    made: dict[str, Any] = {}
    for key, below in value.items():
        place = f"{path}.{key}" if path else key
        if embeds and key in _TYPE_FIELDS:
            made[key] = below
        elif key in properties:
            made[key] = _pruned(below, properties[key], place, found)
        elif others is not None:
            made[key] = below if others is PRESERVING else _pruned(below, others, place, found)
        elif keeps:
            made[key] = below
        elif found is not None:
            found.append(place)
    return made


def _embedded_unknown(value: Any, schema: SchemaTree, path: str, found: list[str], *, is_root: bool = False) -> None:
    if schema.get("x-kubernetes-embedded-resource") and not is_root and isinstance(value, dict):
        for one in codecs.strict_errors(value.get("metadata"), ObjectMeta):
            kind, _, field = one.partition(' "')
            found.append(f"{path}.metadata.{field.rstrip(chr(34))}" if kind == "unknown field" else one)
    for key, place, below in _children(value, schema, path):
        _embedded_unknown(key, below, place, found)


def _children(value: Any, schema: SchemaTree, path: str) -> list[tuple[Any, str, SchemaTree]]:
    """The parts of a value that the schema describes, each with its path and schema."""
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, Mapping):
            return []
        return [(one, f"{path}[{at}]", items) for at, one in enumerate(value)]
    if not isinstance(value, dict):
        return []
    properties: SchemaTree = schema.get("properties") or {}
    others = additional(schema)
    made: list[tuple[Any, str, SchemaTree]] = []
    for key, below in value.items():
        part = properties.get(key, others)
        if part is not None:
            made.append((below, f"{path}.{key}" if path else key, part))
    return made


def with_embedded_metadata(value: Any, schema: SchemaTree, *, is_root: bool = False) -> Any:
    """The value with the metadata of embedded objects reduced to what metadata may hold. Raises codecs.DecodeError."""
    if isinstance(value, list):
        items = schema.get("items")
        return [with_embedded_metadata(one, items) for one in value] if isinstance(items, Mapping) else value
    if not isinstance(value, dict):
        return value
    properties: SchemaTree = schema.get("properties") or {}
    others = additional(schema)
    made = {}
    for key, below in value.items():
        part = properties.get(key, others)
        made[key] = below if part is None or part is PRESERVING else with_embedded_metadata(below, part)
    if schema.get("x-kubernetes-embedded-resource") and not is_root and isinstance(made.get("metadata"), dict):
        typed = codecs.convert(ObjectMeta, made["metadata"])
        made["metadata"] = msgspec.json.decode(msgspec.json.encode(typed))
    return made


def defaulted(value: Any, schema: SchemaTree) -> Any:
    """The value with the schema's defaults, and without nulls where neither null nor a default may stand."""
    if isinstance(value, list):
        items = schema.get("items")
        return [_defaulted_part(one, items) for one in value] if isinstance(items, Mapping) else value
    if not isinstance(value, dict):
        return value
    properties: SchemaTree = schema.get("properties") or {}
    others = additional(schema)
    made: dict[str, Any] = {}
    for key, below in value.items():
        part = properties.get(key, others)
        if part is None or part is PRESERVING:
            made[key] = below
        elif below is not None or part.get("nullable"):
            made[key] = defaulted(below, part)
        elif key not in properties and part.get("default") is not None:
            made[key] = _defaulted_part(below, part)
    for key, part in properties.items():
        if key not in made and part.get("default") is not None:
            made[key] = defaulted(copy.deepcopy(part["default"]), part)
    return made


def _defaulted_part(value: Any, schema: SchemaTree) -> Any:
    """An element of a list or map: where it is null and must not be, the default stands for it if there is one."""
    if value is None and not schema.get("nullable") and schema.get("default") is not None:
        value = copy.deepcopy(schema["default"])
    return defaulted(value, schema)


def has_defaults(schema: SchemaTree) -> bool:
    """Whether any part of a schema has a default."""
    if schema.get("default") is not None:
        return True
    parts = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(has_defaults(one) for one in parts if isinstance(one, Mapping))
