"""An OpenAPI v2 document as protobuf (`openapi.v2.Document`): older client libraries read no other form of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keelback.apiserver.openapi_wire import double, extensions, free, integer, message, named, text, texts

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
    api_key = texts(((1, scheme["type"]), (2, scheme["name"]), (3, scheme["in"]), (4, scheme["description"])))
    return b"".join(
        (
            text(1, document["swagger"]),
            message(2, texts(((1, info["title"]), (2, info["version"])))),
            described(document),
            *(message(12, named(1, one, lambda _: b"")) for one in document["security"]),
            message(13, named(1, {"BearerToken": api_key}, lambda key: message(2, key))),
        )
    )


def described(document: Mapping[str, Any]) -> bytes:
    """A document's paths, definitions and parameters.

    Raises LookupError, TypeError, ValueError or AttributeError for another server's that are not as the format has it.
    """
    return b"".join(
        (
            message(8, named(2, document["paths"], _path_item)),
            message(9, named(1, document["definitions"], _schema)),
            message(10, named(1, document["parameters"], _parameter)),
        )
    )


def _path_item(item: Tree) -> bytes:
    return b"".join(
        (
            *(message(number, _operation(item[method])) for method, number in _METHODS.items() if method in item),
            *(message(9, _parameter_item(one)) for one in item.get("parameters", ())),
        )
    )


def _operation(operation: Tree) -> bytes:
    answers = {code: message(1, _response(answer)) for code, answer in operation.get("responses", {}).items()}
    return b"".join(
        (
            *(text(1, one) for one in operation.get("tags", ())),
            texts(((3, operation.get("description", "")), (5, operation.get("operationId", "")))),
            *(text(6, one) for one in operation.get("produces", ())),
            *(text(7, one) for one in operation.get("consumes", ())),
            *(message(8, _parameter_item(one)) for one in operation.get("parameters", ())),
            message(9, named(1, answers, bytes)),
            *(text(10, one) for one in operation.get("schemes", ())),
            extensions(13, operation),
        )
    )


def _response(answer: Tree) -> bytes:
    schema = message(2, message(1, _schema(answer["schema"]))) if "schema" in answer else b""
    return text(1, answer.get("description", "")) + schema


def _parameter_item(parameter: Tree) -> bytes:
    if "$ref" in parameter:
        return message(2, text(1, parameter["$ref"]))
    return message(1, _parameter(parameter))


def _parameter(parameter: Tree) -> bytes:
    place, name, what = parameter["in"], parameter["name"], parameter.get("description", "")
    if place == "body":
        required = integer(4, 1) if parameter.get("required") else b""
        return message(
            1, texts(((1, what), (2, name), (3, place))) + required + message(5, _schema(parameter["schema"]))
        )
    required = integer(1, 1) if parameter.get("required") else b""
    is_query = place == "query"
    # A query parameter has one field more than one in the path, so the numbers after it differ by one.
    first = 6 if is_query else 5
    described = texts(((2, place), (3, what), (4, name), (first, parameter.get("type", ""))))
    unique = integer(20 if is_query else 19, 1) if parameter.get("uniqueItems") else b""
    return message(2, message(3 if is_query else 4, required + described + unique))


def _schema(schema: Any) -> bytes:
    if not isinstance(schema, dict):
        return b""
    parts = [text(number, schema[key]) for key, number in _SCHEMA_TEXTS.items() if key in schema]
    parts.extend(integer(number, schema[key]) for key, number in _SCHEMA_NUMBERS.items() if key in schema)
    parts.extend(integer(number, 1) for key, number in _SCHEMA_FLAGS.items() if schema.get(key))
    parts.extend(double(number, schema[key]) for key, number in _SCHEMA_DOUBLES.items() if key in schema)
    if "default" in schema:
        parts.append(message(5, free(schema["default"])))
    parts.extend(text(19, one) for one in schema.get("required", ()))
    parts.extend(message(20, free(one)) for one in schema.get("enum", ()))
    more = schema.get("additionalProperties")
    if isinstance(more, bool):
        parts.append(message(21, integer(2, int(more))))
    elif more is not None:
        parts.append(message(21, message(1, _schema(more))))
    if "type" in schema:
        parts.append(message(22, text(1, schema["type"])))
    if "items" in schema:
        parts.append(message(23, message(1, _schema(schema["items"]))))
    parts.extend(message(24, _schema(one)) for one in schema.get("allOf", ()))
    if "properties" in schema:
        parts.append(message(25, named(1, schema["properties"], _schema)))
    parts.append(extensions(31, schema))
    return b"".join(parts)
