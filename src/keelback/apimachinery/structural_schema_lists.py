"""Lists that are sets and maps by their schema: no element, or no key, may stand in them twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from keelback.apimachinery.errors import FieldError, duplicate, invalid
from keelback.apimachinery.structural_schema import SchemaTree


def duplicates(value: Any, schema: SchemaTree, path: str = "") -> Iterator[FieldError]:
    """Every element that stands a second time in a set or map, at any depth."""
    if isinstance(value, list):
        match schema.get("x-kubernetes-list-type"):
            case "set":
                for at in _repeated(value):
                    yield duplicate(f"{path}[{at}]", value[at])
            case "map":
                yield from _in_map(value, tuple(schema.get("x-kubernetes-list-map-keys") or ()), path)
        items = schema.get("items")
        if isinstance(items, Mapping):
            for at, one in enumerate(value):
                yield from duplicates(one, items, f"{path}[{at}]")
    elif isinstance(value, dict):
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, one in value.items():
            if name in properties:
                yield from duplicates(one, properties[name], f"{path}.{name}" if path else name)
            elif isinstance(others, Mapping):
                yield from duplicates(one, others, f"{path}[{name}]")


def by_key(elements: list[Any], keys: tuple[str, ...], items: SchemaTree) -> dict[bytes, Any]:
    """The elements of a map by their keys; the first of several with the same."""
    found: dict[bytes, Any] = {}
    for one in elements:
        key = key_of(one, keys, items)
        if key is not None:
            found.setdefault(key, one)
    return found


def key_of(element: Any, keys: tuple[str, ...], items: SchemaTree) -> bytes | None:
    """An element's key, defaults included; None for what is no object."""
    if not isinstance(element, dict) or not keys:
        return None
    properties = items.get("properties") or {}
    values = [element.get(name, (properties.get(name) or {}).get("default")) for name in keys]
    return msgspec.json.encode(values, order="deterministic")


def _in_map(value: list[Any], keys: tuple[str, ...], path: str) -> Iterator[FieldError]:
    for at, one in enumerate(value):
        if one is not None and not isinstance(one, dict):
            yield invalid(f"{path}[{at}]", one, "must be an object for an array of list-type map")
            return
    found = [{name: one[name] for name in keys if name in one} if one else {} for one in value]
    for at in _repeated(found):
        yield duplicate(f"{path}[{at}]", found[at])


def _repeated(values: list[Any]) -> Iterator[int]:
    """Where each value that repeats stands for the second time; further repetitions are not told."""
    times: dict[bytes, int] = {}
    for at, one in enumerate(values):
        key = msgspec.json.encode(one, order="deterministic")
        times[key] = times.get(key, 0) + 1
        if times[key] == 2:
            yield at
