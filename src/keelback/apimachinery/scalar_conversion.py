"""Numbers, texts and truths of a strategically merged tree as its type holds them.

Upstream turns such a tree into an object without going through JSON, so that more fits and other words are used: a
whole float is an integer, an integer that is too large wraps around (runtime.DefaultUnstructuredConverter).
"""

from __future__ import annotations

from typing import Any

from keelback.apimachinery.shapes import Shape, field_shape

_BITS = {"int32": 32, "int64": 64}


class ConversionError(ValueError):
    """A value has no way into its field; in the converter's words."""


def converted(tree: Any, shape: Shape) -> Any:
    """The tree with its scalars converted. Raises ConversionError; leaves alone what is no struct, map or list."""
    if tree is None:
        return None
    if shape.fields is not None and isinstance(tree, dict):
        fields = shape.fields
        return {k: converted(v, field_shape(shape, k)) if k in fields else v for k, v in tree.items()}
    if shape.item is not None and isinstance(tree, list):
        return [converted(one, shape.item) for one in tree]
    if shape.values is not None and isinstance(tree, dict):
        return {k: converted(v, shape.values) for k, v in tree.items()}
    match shape.go_type:
        case "int32" | "int64":
            return _integer(tree, shape.go_type)
        case "bool" if not isinstance(tree, bool):
            raise ConversionError("unrecognized type: bool")
        case "string" if isinstance(tree, int) and not isinstance(tree, bool):
            raise ConversionError("cannot convert int64 to string")
        case "string" if not isinstance(tree, str):
            raise ConversionError("unrecognized type: string")
        case "intstr.IntOrString" if isinstance(tree, bool | float | dict | list):
            raise ConversionError(f"json: cannot unmarshal {_json_kind(tree)} into Go value of type int32")
        case "v1.Time" if not isinstance(tree, str):
            raise ConversionError(f"json: cannot unmarshal {_json_kind(tree)} into Go value of type string")
    return tree


def _integer(tree: Any, go_type: str) -> int:
    if isinstance(tree, bool) or not isinstance(tree, int | float):
        raise ConversionError(f"unrecognized type: {go_type}")
    if isinstance(tree, float):
        if not tree.is_integer():
            raise ConversionError(f"cannot convert float64 to {go_type}")
        tree = int(tree)
    number: int = tree
    half = 1 << (_BITS[go_type] - 1)
    return (number + half) % (2 * half) - half


def _json_kind(tree: Any) -> str:
    match tree:
        case bool():
            return "bool"
        case dict():
            return "object"
        case list():
            return "array"
        case float():
            return f"number {tree}"
        case _:
            return "number"
