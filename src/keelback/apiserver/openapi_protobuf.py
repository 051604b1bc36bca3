"""An OpenAPI v2 document as protobuf (`openapi.v2.Document`): older client libraries read no other form of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

Tree = dict[str, Any]

_METHODS: Final = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
# The fields of openapi.v2.Schema: numbers by how their values are written.
_SCHEMA_TEXTS: Final = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_SCHEMA_NUMBERS: Final = {
    "maxLength": 11,
    "minLength": 12,
    "maxItems": 14,
    "minItems": 15,
    "maxProperties": 17,
    "minProperties": 18,
}
_SCHEMA_DOUBLES: Final = {"multipleOf": 6, "maximum": 7, "minimum": 9}
_SCHEMA_FLAGS: Final = {"exclusiveMaximum": 8, "exclusiveMinimum": 10, "uniqueItems": 16, "readOnly": 27}


def encode(document: Mapping[str, Any]) -> bytes:
    """The whole document, a tree as `v2_document` makes it. What the format cannot say is left out."""
    info = document["info"]
    scheme = document["securityDefinitions"]["BearerToken"]
    api_key = _texts(((1, scheme["type"]), (2, scheme["name"]), (3, scheme["in"]), (4, scheme["description"])))
    return b"".join(
        (
            _text(1, document["swagger"]),
            _bytes(2, _texts(((1, info["title"]), (2, info["version"])))),
            described(document),
            *(_bytes(12, _named(1, one, lambda _: b"")) for one in document["security"]),
            _bytes(13, _named(1, {"BearerToken": api_key}, lambda key: _bytes(2, key))),
        )
    )


def described(document: Mapping[str, Any]) -> bytes:
    """A document's paths, definitions and parameters.

    Raises LookupError, TypeError, ValueError or AttributeError for another server's that are not as the format has it.
    """
    return b"".join(
        (
            _bytes(8, _named(2, document["paths"], _path_item)),
            _bytes(9, _named(1, document["definitions"], _schema)),
            _bytes(10, _named(1, document["parameters"], _parameter)),
        )
    )


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _texts(pairs: Iterable[tuple[int, str]]) -> bytes:
    return b"".join(_text(number, text) for number, text in pairs if text)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _named(number: int, values: Mapping[str, Any], encode_value: Callable[[Any], bytes]) -> bytes:
    """A map as the format has it: entries of name and value."""
    return b"".join(_bytes(number, _text(1, name) + _bytes(2, encode_value(value))) for name, value in values.items())


def _extensions(number: int, tree: Mapping[str, Any]) -> bytes:
    return _named(number, {key: value for key, value in tree.items() if key.startswith("x-")}, _any)


def _any(value: Any) -> bytes:
    return _bytes(2, msgspec.json.encode(value) + b"\n")  # its text is YAML, which JSON is


def _path_item(item: Tree) -> bytes:
    return b"".join(
        (
            *(_bytes(number, _operation(item[method])) for method, number in _METHODS.items() if method in item),
            *(_bytes(9, _parameter_item(one)) for one in item.get("parameters", ())),
        )
    )


def _operation(operation: Tree) -> bytes:
    answers = {code: _bytes(1, _response(answer)) for code, answer in operation.get("responses", {}).items()}
    return b"".join(
        (
            *(_text(1, one) for one in operation.get("tags", ())),
            _texts(((3, operation.get("description", "")), (5, operation.get("operationId", "")))),
            *(_text(6, one) for one in operation.get("produces", ())),
            *(_text(7, one) for one in operation.get("consumes", ())),
            *(_bytes(8, _parameter_item(one)) for one in operation.get("parameters", ())),
            _bytes(9, _named(1, answers, bytes)),
            *(_text(10, one) for one in operation.get("schemes", ())),
            _extensions(13, operation),
        )
    )


def _response(answer: Tree) -> bytes:
    schema = _bytes(2, _bytes(1, _schema(answer["schema"]))) if "schema" in answer else b""
    return _text(1, answer.get("description", "")) + schema


def _parameter_item(parameter: Tree) -> bytes:
    if "$ref" in parameter:
        return _bytes(2, _text(1, parameter["$ref"]))
    return _bytes(1, _parameter(parameter))


def _parameter(parameter: Tree) -> bytes:
    place, name, text = parameter["in"], parameter["name"], parameter.get("description", "")
    if place == "body":
        required = _number(4, 1) if parameter.get("required") else b""
        return _bytes(
            1, _texts(((1, text), (2, name), (3, place))) + required + _bytes(5, _schema(parameter["schema"]))
        )
    required = _number(1, 1) if parameter.get("required") else b""
    is_query = place == "query"
    # A query parameter has one field more than one in the path, so the numbers after it differ by one.
    first = 6 if is_query else 5
    described = _texts(((2, place), (3, text), (4, name), (first, parameter.get("type", ""))))
    unique = _number(20 if is_query else 19, 1) if parameter.get("uniqueItems") else b""
    return _bytes(2, _bytes(3 if is_query else 4, required + described + unique))


def _schema(schema: Any) -> bytes:
    if not isinstance(schema, dict):
        return b""
    parts = [_text(number, schema[key]) for key, number in _SCHEMA_TEXTS.items() if key in schema]
    parts.extend(_number(number, schema[key]) for key, number in _SCHEMA_NUMBERS.items() if key in schema)
    parts.extend(_number(number, 1) for key, number in _SCHEMA_FLAGS.items() if schema.get(key))
    parts.extend(
        _varint(number << 3 | 1) + struct.pack("<d", schema[key])
        for key, number in _SCHEMA_DOUBLES.items()
        if key in schema
    )
    if "default" in schema:
        parts.append(_bytes(5, _any(schema["default"])))
    parts.extend(_text(19, one) for one in schema.get("required", ()))
    parts.extend(_bytes(20, _any(one)) for one in schema.get("enum", ()))
    more = schema.get("additionalProperties")
    if isinstance(more, bool):
        parts.append(_bytes(21, _number(2, int(more))))
    elif more is not None:
        parts.append(_bytes(21, _bytes(1, _schema(more))))
    if "type" in schema:
        parts.append(_bytes(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_bytes(23, _bytes(1, _schema(schema["items"]))))
    parts.extend(_bytes(24, _schema(one)) for one in schema.get("allOf", ()))
    if "properties" in schema:
        parts.append(_bytes(25, _named(1, schema["properties"], _schema)))
    parts.append(_extensions(31, schema))
    return b"".join(parts)
