"""What is wrong with a configuration that shall be applied, in upstream's words: types, unknown fields, list keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from keelback.apimachinery.go_text import go_printed, go_syntax, go_type
from keelback.apimachinery.list_elements import FREE, PathElementError, key_value, path_element
from keelback.apimachinery.schema import ListType, Scalar, Schema, Shape


def errors(tree: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """What is wrong with a tree that shall be applied, in upstream's words: types, unknown fields, list keys."""
    if tree is None:
        return
    match schema.shape:
        case Shape.SCALAR:
            complaint = _scalar_error(tree, schema.scalar)
            if complaint:
                yield _at(path, complaint)
        case Shape.STRUCT | Shape.MAP:
            if not isinstance(tree, dict):
                yield _at(path, f"expected map, got {_go(tree)}")
                return
            for name, value in tree.items():
                below = schema.below(name)
                if below is None:
                    yield _at(f"{path}.{name}", "field not declared in schema")
                else:
                    yield from errors(value, below, f"{path}.{name}")
        case Shape.LIST:
            if not isinstance(tree, list):
                yield _at(path, f"expected list, got {_go(tree)}")
                return
            yield from _list_errors(tree, schema, path)
        case _:
            return


def _list_errors(items: Sequence[Any], schema: Schema, path: str) -> Iterator[str]:
    element_schema = schema.element or FREE
    seen: set[str] = set()
    for index, item in enumerate(items):
        if schema.list_type is ListType.ATOMIC:
            shown = f"[{index}]"
        else:
            try:
                element = path_element(item, schema)
            except PathElementError as error:
                yield _at(path, f"element {index}: {error}")
                return
            shown = _shown_element(item, schema)
            if element in seen:
                yield _at(path, f"duplicate entries for key {shown}")
            seen.add(element)
        yield from errors(item, element_schema, f"{path}{shown}")


def _shown_element(item: Any, schema: Schema) -> str:
    if schema.list_type is ListType.SET:
        return f"[={msgspec.json.encode(item).decode()}]"
    pairs = (f"{key}={msgspec.json.encode(key_value(item, key, schema)).decode()}" for key in schema.keys)
    return f"[{','.join(pairs)}]"


def _scalar_error(value: Any, scalar: Scalar) -> str:
    match scalar:
        case Scalar.STRING if not isinstance(value, str):
            return f"expected string, got &value.valueUnstructured{{Value:{go_syntax(value)}}}"
        case Scalar.NUMERIC if isinstance(value, bool) or not isinstance(value, int | float):
            return f"expected numeric (int or float), got {go_type(value)}"
        case Scalar.BOOLEAN if not isinstance(value, bool):
            return f"expected boolean, got {_go(value)}"
        case Scalar.UNTYPED if isinstance(value, dict | list):
            return f"expected any scalar, got {_go(value)}"
        case _:
            return ""


def _at(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message


def _go(value: Any) -> str:
    return f"&{{{go_printed(value)}}}"
