"""From decoded JSON to the values of expressions, as a schema says: texts to times, integers of `number` to floats.

A conversion is made once for a schema. It copies only what it must change: most data is a value as it is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from keelback.cel.conversions import duration_of, timestamp_of
from keelback.cel.errors import EvaluationError
from keelback.cel.field_names import escaped
from keelback.cel.merging_lists import MergingList
from keelback.cel.schemas import SchemaTree, with_type_and_object_meta
from keelback.cel.values import INT_MAX, INT_MIN, Duration, Value

Convert: TypeAlias = Callable[[Any], Value]

_DURATION_PART = re.compile(r"([0-9]+)\s*([A-Za-zµ]+)", re.ASCII)
_SECOND: Final = 10**9
_UNITS: Final = (
    (("ns",), "nano", 1),
    (("us", "µs"), "micro", 10**3),
    (("ms",), "milli", 10**6),
    (("s",), "sec", _SECOND),
    (("m",), "min", 60 * _SECOND),
    (("h", "hr"), "hour", 3600 * _SECOND),
    (("d",), "day", 24 * 3600 * _SECOND),
    (("w", "wk"), "week", 7 * 24 * 3600 * _SECOND),
)


def conversion(schema: SchemaTree, *, is_resource: bool = False) -> Convert:
    """What makes values of data that the schema describes.

    Data that does not conform stays as it is: it is for validation to refuse it. A null field of an object is an
    absent one; nulls in lists and maps stay.
    """
    return _conversion(schema, is_resource) or _unchanged


def _unchanged(value: Any) -> Value:
    return value


def _conversion(schema: SchemaTree, is_resource: bool) -> Convert | None:
    """None where every value of the schema already is one of the language."""
    if schema.get("x-kubernetes-int-or-string"):
        return None
    match schema.get("type"):
        case "object":
            return _object_conversion(schema, is_resource)
        case "array":
            return _list_conversion(schema)
        case "string":
            return _TEXTS.get(schema.get("format", ""))
        case "number":
            return _number
        case _:
            return None


def _below(schema: SchemaTree) -> Convert | None:
    return _conversion(schema, bool(schema.get("x-kubernetes-embedded-resource")))


def _object_conversion(schema: SchemaTree, is_resource: bool) -> Convert | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        return _map_conversion(additional)
    if is_resource:
        schema = with_type_and_object_meta(schema)
    changing: dict[str, tuple[str, Convert]] = {}
    for name, property_schema in (schema.get("properties") or {}).items():
        identifier, convert = escaped(name), _below(property_schema)
        if convert is not None or (identifier or name) != name or property_schema.get("nullable"):
            changing[name] = (identifier or name, convert or _unchanged)
    if not changing:
        return None

    def convert_object(value: Any) -> Value:
        if not isinstance(value, dict) or changing.keys().isdisjoint(value):
            return value
        converted = dict(value)
        for name, (identifier, convert) in changing.items():
            if name in converted:
                inner = converted.pop(name)
                if inner is not None:
                    converted[identifier] = convert(inner)
        return converted

    return convert_object


def _map_conversion(schema: SchemaTree) -> Convert | None:
    convert = _below(schema)
    if convert is None:
        return None

    def convert_map(value: Any) -> Value:
        if not isinstance(value, dict):
            return value
        return {key: None if inner is None else convert(inner) for key, inner in value.items()}

    return convert_map


def _list_conversion(schema: SchemaTree) -> Convert | None:
    items = schema.get("items")
    convert = _below(items) if isinstance(items, Mapping) else None
    keys: list[str] | None = None
    match schema.get("x-kubernetes-list-type"):
        case "map":
            keys = [escaped(key) or key for key in schema.get("x-kubernetes-list-map-keys") or ()]
        case "set":
            pass
        case _:
            return None if convert is None else _elementwise(convert)

    elementwise = _unchanged if convert is None else _elementwise(convert)

    def convert_merging(value: Any) -> Value:
        return MergingList(elementwise(value), keys) if isinstance(value, list) else value

    return convert_merging


def _elementwise(convert: Convert) -> Convert:
    def convert_list(value: Any) -> Value:
        if not isinstance(value, list):
            return value
        return [None if inner is None else convert(inner) for inner in value]

    return convert_list


def _number(value: Any) -> Value:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _bytes(value: Any) -> Value:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return value


def _date(value: Any) -> Value:
    return _time(f"{value}T00:00:00Z", value)


def _date_time(value: Any) -> Value:
    return _time(value.upper().replace(" ", "T") if isinstance(value, str) else value, value)


def _time(text: Any, value: Any) -> Value:
    try:
        return timestamp_of(text)
    except (EvaluationError, TypeError):
        return value


def _duration(value: Any) -> Value:
    if not isinstance(value, str):
        return value
    try:
        return duration_of(value)
    except EvaluationError:
        return _worded_duration(value)


def _worded_duration(value: str) -> Value:
    """`3 days 2 hours`, which the API takes beside Go's form (strfmt.ParseDuration)."""
    nanoseconds, found = 0, False
    for count, unit in _DURATION_PART.findall(value):
        size = _unit_size(unit.lower())
        if size is not None and len(count) < 20:
            nanoseconds += int(count) * size
            found = True
    return Duration(nanoseconds) if found and INT_MIN <= nanoseconds <= INT_MAX else value


def _unit_size(unit: str) -> int | None:
    for names, beginning, size in _UNITS:
        if unit in names or unit.startswith(beginning):
            return size
    return None


_TEXTS: Final[dict[str, Convert]] = {
    "byte": _bytes,
    "date": _date,
    "date-time": _date_time,
    "duration": _duration,
}
