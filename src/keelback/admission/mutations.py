"""The patches of mutating policies: from what an expression gives to the changed tree (KEP-3962)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from keelback.apimachinery import json_patch, typed_errors, typed_value
from keelback.apimachinery.schema import Schema, Shape
from keelback.cel import parser, syntax
from keelback.cel.source import Source
from keelback.cel.values import Duration, OptionalValue, Timestamp, Value

Tree = Mapping[str, Any]
_ROOT: Final = "Object"


class MutationError(Exception):
    """A patch cannot be applied."""


def json_patched(tree: Tree, operations: Value) -> Tree:
    """The tree after a list of JSONPatch values; unchanged if a `test` among them fails. Raises MutationError."""
    if not isinstance(operations, list):
        raise MutationError("type mismatch: JSONPatchType.expression should evaluate to array")
    try:
        patched: Tree = json_patch.apply(tree, [_operation(one) for one in operations])
    except json_patch.TestFailed:
        return tree
    except json_patch.JSONPatchError as error:
        raise MutationError(f"JSON Patch: {error}") from error
    return patched


def _operation(value: Value) -> dict[str, Any]:
    made: dict[str, Any] = {"op": value.get("op", ""), "path": value.get("path", "")}
    if value.get("from"):
        made["from"] = value["from"]
    if "value" in value:
        made["value"] = as_json(value["value"])
    return made


def applied(tree: Tree, configuration: Value, schema: Schema) -> Tree:
    """The tree with everything that an apply configuration says. Raises MutationError."""
    if not isinstance(configuration, dict):
        raise MutationError("invalid return type")
    patch = {**as_json(configuration), "apiVersion": tree.get("apiVersion"), "kind": tree.get("kind")}
    problems = list(typed_errors.errors(patch, schema))
    if problems:
        said = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {one}" for one in problems)
        raise MutationError(f"error applying patch: failed to convert patch object to typed object: {said}")
    atomic = list(_atomics(patch, schema, ""))
    if atomic:
        raise MutationError(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + ", ".join(atomic)
        )
    merged: Tree = typed_value.merge(tree, patch, schema)
    return merged


def _atomics(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """The places where a configuration would replace a list or map as a whole."""
    if isinstance(value, Mapping) and schema.shape in (Shape.STRUCT, Shape.MAP):
        if schema.atomic:
            yield path
        for name, member in value.items():
            below = schema.below(name)
            if below is not None:
                yield from _atomics(member, below, f"{path}.{name}")
    elif isinstance(value, list) and schema.shape is Shape.LIST:
        if schema.atomic:
            yield path
        for index, element in enumerate(value):
            if schema.element is not None:
                yield from _atomics(element, schema.element, f"{path}[{index}]")


@lru_cache(maxsize=1024)
def misnamed_in(text: str) -> tuple[str, ...]:
    """What is wrong with the names of the objects that an expression makes."""
    return tuple(_misnamed(parser.parse(Source(text), {})))


def _misnamed(expression: syntax.Expression, path: str = _ROOT) -> Iterator[str]:
    """Objects whose type's name is not that of the fields that lead to them: `Object{spec: Object.status{}}`."""
    match expression:
        case syntax.ObjectLiteral(name=name, entries=entries):
            if name != path:
                yield (
                    f'unexpected type name "{name}", expected "{path}", which matches field name path from root '
                    "Object type"
                )
            for entry in entries:
                yield from _misnamed(entry.value, f"{path}.{entry.key}")
        case syntax.ListLiteral(elements=elements):
            for element in elements:
                yield from _misnamed(element, path)
        case syntax.MapLiteral(entries=entries):
            for entry in entries:
                yield from _misnamed(entry.value, path)
        case syntax.Call(function=syntax.CONDITIONAL, arguments=(_, first, second)):
            yield from _misnamed(first, path)
            yield from _misnamed(second, path)


def as_json(value: Value) -> Any:
    """A value as JSON has it. Raises MutationError for one that JSON has not."""
    match value:
        case None | bool() | float() | str():
            return value
        case int():
            return int(value)
        case dict():
            return {_key(key): as_json(one) for key, one in value.items()}
        case list():
            return [as_json(one) for one in value]
        case bytes():
            return msgspec.json.decode(msgspec.json.encode(value))
        case Timestamp() | Duration():
            return str(value)
        case OptionalValue(is_present=True, value=held):
            return as_json(held)
        case OptionalValue():
            return None
        case _:
            raise MutationError("JSONPath valueExpression evaluated to a type that could not marshal to JSON")


def _key(key: Value) -> str:
    if not isinstance(key, str):
        raise MutationError(f"map key {key!r} is not a string")
    return key
