"""What tells the elements of an associative list apart: the path element of each, and the schema of what lies below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from keelback.apimachinery.schema import MISSING, ListType, Schema, Shape

FREE: Final = Schema(Shape.ANY)
"""The schema of what no schema declares."""


class PathElementError(ValueError):
    """A list element that cannot be told apart from others; the message is upstream's."""


def path_element(item: Any, schema: Schema) -> str:
    """What tells an element of an associative list apart: `k:{"name":"c"}` or `v:"value"`.

    Raises:
        PathElementError: The element has no such thing.
    """
    if schema.list_type is ListType.SET:
        if isinstance(item, dict):
            raise PathElementError("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise PathElementError("not supported: associative list with lists as elements")
        if item is None:
            raise PathElementError("associative list without keys has an element that's an explicit null")
        return f"v:{_json(item)}" if isinstance(item, str) else f"v:{msgspec.json.encode(item).decode()}"
    if item is None:
        raise PathElementError("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise PathElementError("associative list with keys may not have non-map elements")
    keys = schema.keys
    if len(keys) == 1:
        value = item.get(keys[0], MISSING)
        if isinstance(value, str):
            return f'k:{{"{keys[0]}":{_json(value)}}}'
    return "k:" + msgspec.json.encode({key: key_value(item, key, schema) for key in keys}).decode()


def by_path_element(items: Sequence[Any], schema: Schema) -> tuple[dict[str, Any], frozenset[str]]:
    """List elements by path element, and those path elements that occur more than once."""
    by_element: dict[str, Any] = {}
    repeated: set[str] = set()
    for item in items:
        element = path_element(item, schema)
        if element in by_element:
            repeated.add(element)
        else:
            by_element[element] = item
    return by_element, frozenset(repeated)


def key_value(item: Mapping[str, Any], key: str, schema: Schema) -> Any:
    """An element's value of one of its list's keys, the default where it has none. Raises PathElementError."""
    value = item.get(key, MISSING)
    if value is not MISSING:
        return value
    declared = schema.element.fields.get(key) if schema.element is not None else None
    if declared is None or declared.default is MISSING:
        raise PathElementError(
            f'associative list with keys has an element that omits key field "{key}" (and doesn\'t have default value)'
        )
    return declared.default


def schema_below(schema: Schema, name: str) -> Schema:
    """The schema of a member; what is not declared is free-form."""
    field = schema.fields.get(name)
    if field is not None:
        return field.schema
    return schema.element if schema.element is not None and schema.shape is not Shape.LIST else FREE


@lru_cache(maxsize=16384)
def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()
