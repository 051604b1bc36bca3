"""An OpenAPI v3 document as protobuf (`openapi.v3.Document`), which clients of many documents ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keelback.apiserver.openapi_wire import double, extensions, free, integer, message, named, text, texts

Tree = Mapping[str, Any]

_METHODS: Final = {"get": 4, "put": 5, "post": 6, "delete": 7, "options": 8, "head": 9, "patch": 10, "trace": 11}
# The fields of openapi.v3.Schema: numbers by how their values are written.
_SCHEMA_TEXTS: Final = {"title": 9, "pattern": 17, "type": 25, "description": 34, "format": 35}
_SCHEMA_NUMBERS: Final = {
    "maxLength": 15,
    "minLength": 16,
    "maxItems": 18,
    "minItems": 19,
    "maxProperties": 21,
    "minProperties": 22,
}
_SCHEMA_DOUBLES: Final = {"multipleOf": 10, "maximum": 11, "minimum": 13}
_SCHEMA_FLAGS: Final = {
    "nullable": 1,
    "readOnly": 3,
    "writeOnly": 4,
    "deprecated": 8,
    "exclusiveMaximum": 12,
    "exclusiveMinimum": 14,
    "uniqueItems": 20,
}
_SCHEMA_LISTS: Final = {"allOf": 26, "oneOf": 27, "anyOf": 28}


def encode(document: Tree) -> bytes:
    """The whole document. What the format cannot say is left out.

    Raises LookupError, TypeError, ValueError or AttributeError for another server's that is not as OpenAPI has it.
    """
    info = document["info"]
    return b"".join(
        (
            text(1, document["openapi"]),
            message(2, texts(((1, info["title"]), (2, info.get("description", "")), (6, info["version"])))),
            message(4, named(1, document.get("paths", {}), _path_item)),
            message(5, _components(document.get("components", {}))),
            *(message(6, named(1, one, _strings)) for one in document.get("security", ())),
            extensions(9, document),
        )
    )


def _components(components: Tree) -> bytes:
    schemes = components.get("securitySchemes", {})
    return b"".join(
        (
            message(1, named(1, components["schemas"], _referable_schema)) if "schemas" in components else b"",
            message(7, named(1, schemes, _security_scheme)) if schemes else b"",
        )
    )


def _security_scheme(scheme: Tree) -> bytes:
    fields = {"type": 1, "description": 2, "name": 3, "in": 4, "scheme": 5, "bearerFormat": 6}
    return message(1, texts((number, scheme.get(key, "")) for key, number in fields.items()))


def _strings(values: list[str]) -> bytes:
    return b"".join(text(1, one) for one in values)


def _reference(tree: Tree) -> bytes:
    return message(2, text(1, tree["$ref"]))


def _path_item(item: Tree) -> bytes:
    return b"".join(
        (
            texts(((2, item.get("summary", "")), (3, item.get("description", "")))),
            *(message(number, _operation(item[method])) for method, number in _METHODS.items() if method in item),
            *(message(13, _parameter(one)) for one in item.get("parameters", ())),
            extensions(14, item),
        )
    )


def _operation(operation: Tree) -> bytes:
    described = {"summary": 2, "description": 3, "operationId": 5}
    return b"".join(
        (
            *(text(1, one) for one in operation.get("tags", ())),
            texts((number, operation.get(key, "")) for key, number in described.items()),
            *(message(6, _parameter(one)) for one in operation.get("parameters", ())),
            message(7, _request_body(operation["requestBody"])) if "requestBody" in operation else b"",
            message(8, _responses(operation.get("responses", {}))),
            integer(10, 1) if operation.get("deprecated") else b"",
            extensions(13, operation),
        )
    )


def _parameter(parameter: Tree) -> bytes:
    if "$ref" in parameter:
        return _reference(parameter)
    described = texts(((1, parameter["name"]), (2, parameter["in"]), (3, parameter.get("description", ""))))
    required = integer(4, 1) if parameter.get("required") else b""
    schema = message(10, _referable_schema(parameter["schema"])) if "schema" in parameter else b""
    return message(1, described + required + schema + extensions(14, parameter))


def _request_body(body: Tree) -> bytes:
    if "$ref" in body:
        return _reference(body)
    described = texts(((1, body.get("description", "")),))
    required = integer(3, 1) if body.get("required") else b""
    return message(1, described + message(2, _content(body["content"])) + required)


def _responses(answers: Tree) -> bytes:
    codes = {code: answer for code, answer in answers.items() if code != "default"}
    default = message(1, _response(answers["default"])) if "default" in answers else b""
    return default + named(2, codes, _response)


def _response(answer: Tree) -> bytes:
    if "$ref" in answer:
        return _reference(answer)
    content = message(3, _content(answer["content"])) if "content" in answer else b""
    return message(1, texts(((1, answer.get("description", "")),)) + content)


def _content(content: Tree) -> bytes:
    return named(1, content, _media_type)


def _media_type(media_type: Tree) -> bytes:
    return message(1, _referable_schema(media_type["schema"])) if "schema" in media_type else b""


def _referable_schema(schema: Any) -> bytes:
    if isinstance(schema, Mapping) and "$ref" in schema:
        return _reference(schema)
    return message(1, _schema(schema))


def _schema(schema: Any) -> bytes:
    if not isinstance(schema, Mapping):
        return b""
    parts = [text(number, schema[key]) for key, number in _SCHEMA_TEXTS.items() if key in schema]
    parts.extend(integer(number, schema[key]) for key, number in _SCHEMA_NUMBERS.items() if key in schema)
    parts.extend(integer(number, 1) for key, number in _SCHEMA_FLAGS.items() if schema.get(key))
    parts.extend(double(number, schema[key]) for key, number in _SCHEMA_DOUBLES.items() if key in schema)
    parts.extend(text(23, one) for one in schema.get("required", ()))
    parts.extend(message(24, free(one)) for one in schema.get("enum", ()))
    for key, number in _SCHEMA_LISTS.items():
        parts.extend(message(number, _referable_schema(one)) for one in schema.get(key, ()))
    if "not" in schema:
        parts.append(message(29, _schema(schema["not"])))
    if "items" in schema:
        parts.append(message(30, message(1, _referable_schema(schema["items"]))))
    if "properties" in schema:
        parts.append(message(31, named(1, schema["properties"], _referable_schema)))
    more = schema.get("additionalProperties")
    if isinstance(more, bool):
        parts.append(message(32, integer(2, int(more))))
    elif more is not None:
        parts.append(message(32, message(1, _referable_schema(more))))
    if "default" in schema:
        parts.append(message(33, _default(schema["default"])))
    parts.append(extensions(36, schema))
    return b"".join(parts)


def _default(value: Any) -> bytes:
    """A number, a flag or text; that there is another default is all that the format can say of it."""
    if isinstance(value, bool):
        return integer(2, int(value))
    if isinstance(value, int | float):
        return double(1, value)
    return text(3, value) if isinstance(value, str) else b""
