"""What may stand where in a JSON tree of a type: for what clients may leave loose, and for saying what does not fit.

How wide an integer is no type says, but the message of the same name does (`protobuf_fields.json`).
"""

from __future__ import annotations

import functools
import json
from datetime import datetime
from importlib.resources import files
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from keelback.apimachinery.json_trees import Duplicated
from keelback.apimachinery.meta import QuantityText


class Shape:
    """What may stand at one place of a JSON tree: the compiled form of a type annotation."""

    __slots__ = ("fields", "go_type", "is_quantity", "item", "name", "values")

    def __init__(self) -> None:
        self.fields: dict[str, Shape] | None = None
        self.item: Shape | None = None
        self.values: Shape | None = None
        self.is_quantity = False
        self.go_type = ""
        self.name = ""


_SHAPES: dict[type, Shape] = {}
_SCALARS = frozenset((str, int, float, bool, type(None)))
_GO_SCALARS = {str: "string", int: "int32", bool: "bool", float: "float64", bytes: "[]uint8"}


def shape_of(cls: type) -> Shape:
    """The shape of a struct type, compiled once."""
    known = _SHAPES.get(cls)
    if known is not None:
        return known
    shape = _SHAPES[cls] = Shape()
    shape.name = cls.__name__
    shape.go_type = f"v1.{cls.__name__}"
    hints = get_type_hints(cls, include_extras=True)
    fields = {one.encode_name: _shape_of_annotation(hints[one.name]) for one in msgspec.structs.fields(cls)}
    if hasattr(cls, "__kind__"):
        plain = Shape()
        plain.go_type = "string"
        fields = {"kind": plain, "apiVersion": plain, **fields}
    shape.fields = fields
    return shape


def _shape_of_annotation(annotation: Any) -> Shape:
    quantity_marked = False
    while get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):
        quantity_marked = quantity_marked or any(isinstance(one, QuantityText) for one in annotation.__metadata__)
        annotation = get_args(annotation)[0]
    members = [one for one in get_args(annotation) if one is not type(None)]
    if is_union(annotation) and len(members) == 1:
        shape = _shape_of_annotation(members[0])
        if quantity_marked:
            shape.is_quantity = True
        return shape
    shape = Shape()
    shape.is_quantity = quantity_marked
    origin = get_origin(annotation)
    if origin is tuple:
        shape.item = _shape_of_annotation(get_args(annotation)[0])
        shape.go_type = f"[]{shape.item.go_type}"
    elif origin is not None and not is_union(annotation):
        shape.values = _shape_of_annotation(get_args(annotation)[1])
        shape.go_type = f"map[string]{shape.values.go_type}"
    elif isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return shape_of(annotation)
    elif isinstance(annotation, type):
        shape.go_type = "resource.Quantity" if quantity_marked else _GO_SCALARS.get(annotation, "")
        if annotation.__name__ == "datetime":
            shape.go_type = "v1.Time"
    elif is_union(annotation) and set(members) == {int, str}:
        shape.go_type = "intstr.IntOrString"
    return shape


def is_union(annotation: Any) -> bool:
    """Whether a type annotation is a union, written either way."""
    origin = get_origin(annotation)
    return origin is not None and getattr(origin, "__name__", str(origin)) in {"UnionType", "Union", "typing.Union"}


def cleaned(tree: Any, shape: Shape) -> Any:
    """The tree without nulls, and with quantities that were given as numbers as text."""
    if isinstance(tree, dict):
        if shape.fields is not None:
            known = shape.fields
            return {k: cleaned(v, known[k]) for k, v in tree.items() if v is not None and k in known}
        if shape.values is not None:
            part = shape.values
            if part.go_type == "string":
                return {k: "" if v is None else v for k, v in tree.items()}
            return {k: cleaned(v, part) for k, v in tree.items() if v is not None or not part.go_type}
    elif isinstance(tree, list) and shape.item is not None:
        return [cleaned({} if v is None and shape.item.fields is not None else v, shape.item) for v in tree]
    elif shape.is_quantity and isinstance(tree, int | float) and not isinstance(tree, bool):
        return json.dumps(tree)
    return tree


_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}


def mismatch(tree: Any, shape: Shape, owner: str, path: str) -> str:
    """Go's complaint about the first value that does not fit, or nothing."""
    found = _JSON_NAMES.get(type(tree), "object")
    if isinstance(tree, float):
        found = f"number {tree}"
    complaint = _complaint(found, shape, owner, path)
    if shape.fields is not None:
        if not isinstance(tree, dict):
            return complaint
        parts = ((field_shape(shape, k), shape.name, f"{path}.{k}", v) for k, v in tree.items() if k in shape.fields)
    elif shape.item is not None:
        if not isinstance(tree, list):
            return complaint
        parts = ((shape.item, owner, path, v) for v in tree)
    elif shape.values is not None:
        if not isinstance(tree, dict):
            return complaint
        parts = ((shape.values, owner, path, v) for v in tree.values())
    else:
        return _scalar_mismatch(tree, shape, complaint)
    for part, part_owner, part_path, value in parts:
        text = mismatch(value, part, part_owner, part_path)
        if text:
            return text
    return ""


def _complaint(found: str, shape: Shape, owner: str, path: str) -> str:
    return f"json: cannot unmarshal {found} into Go struct field {owner}{path} of type {shape.go_type}"


def _scalar_mismatch(tree: Any, shape: Shape, complaint: str) -> str:
    match shape.go_type:
        case "string" | "resource.Quantity":
            fits = isinstance(tree, str)
        case "int32" | "int64":
            fits = isinstance(tree, int) and not isinstance(tree, bool)
            if fits and _is_too_large(tree, shape.go_type):
                return complaint.replace("unmarshal number", f"unmarshal number {tree}", 1)
        case "bool":
            fits = isinstance(tree, bool)
        case "float64":
            fits = isinstance(tree, int | float) and not isinstance(tree, bool)
        case "intstr.IntOrString":
            complaint = complaint.replace("intstr.IntOrString", "int32")
            fits = isinstance(tree, int | str) and not isinstance(tree, bool)
            if isinstance(tree, int) and fits and _is_too_large(tree, "int32"):
                return complaint.replace("unmarshal number", f"unmarshal number {tree}", 1)
        case "v1.Time":
            if isinstance(tree, str) and _is_time(tree):
                return ""
            if isinstance(tree, str):
                return (
                    f'parsing time "{tree}" as "2006-01-02T15:04:05Z07:00": cannot parse "{tree}" as "2006"'
                    if not tree[:1].isdigit()
                    else f'parsing time "{tree}" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'
                )
            fits = False
        case "[]uint8":
            if isinstance(tree, str):
                return f"illegal base64 data at input byte {_first_bad_base64(tree)}"
            fits = False
        case _:
            fits = True
    return "" if fits else complaint


def _is_too_large(number: int, go_type: str) -> bool:
    limit = 1 << (31 if go_type == "int32" else 63)
    return not -limit <= number < limit


def field_shape(owner: Shape, name: str) -> Shape:
    """The shape of a field that there is, with its integers as wide as they are."""
    assert owner.fields is not None
    shape = owner.fields[name]
    inner = shape.item or shape
    if inner.go_type != "int32" or (owner.name, name) not in _wide_fields():
        return shape
    wide = Shape()
    wide.go_type = "int64"
    if shape.item is None:
        return wide
    items = Shape()
    items.go_type, items.item = "[]int64", wide
    return items


@functools.cache
def _wide_fields() -> frozenset[tuple[str, str]]:
    """Messages and fields with integers of 64 bits."""
    rows: dict[str, list[str]] = msgspec.json.decode(
        files("keelback.apimachinery").joinpath("protobuf_fields.json").read_bytes()
    )
    split = ((message.rpartition(".")[2], row.split(" ")) for message, fields in rows.items() for row in fields)
    return frozenset((message, name) for message, (_, name, kind) in split if kind.endswith("int64"))


def overflow(tree: Any, shape: Shape, owner: str, path: str = "") -> str:
    """Go's complaint about the first integer that is too large for its field, or nothing. The tree fits otherwise."""
    if shape.fields is not None and isinstance(tree, dict):
        parts = [(field_shape(shape, k), shape.name, f"{path}.{k}", v) for k, v in tree.items() if k in shape.fields]
    elif shape.item is not None and isinstance(tree, list):
        parts = [(shape.item, owner, path, one) for one in tree]
    elif shape.values is not None and isinstance(tree, dict):
        parts = [(shape.values, owner, path, one) for one in tree.values()]
    elif isinstance(tree, int) and shape.go_type in ("int32", "int64", "intstr.IntOrString"):
        return _scalar_mismatch(tree, shape, _complaint("number", shape, owner, path))
    else:
        return ""
    return next((told for part, of, at, value in parts if (told := overflow(value, part, of, at))), "")


def _is_time(text: str) -> bool:
    try:
        msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return False
    return True


def _first_bad_base64(text: str) -> int:
    alphabet = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    for at, letter in enumerate(text):
        if letter not in alphabet:
            return at
    return len(text) - len(text) % 4


def strict_errors(tree: Any, cls: type) -> list[str]:
    """Every unknown and every repeated field of a tree, as strict decoding words them, in document order."""
    return strict_errors_in(tree, shape_of(cls))


def strict_errors_in(tree: Any, shape: Shape) -> list[str]:
    """As `strict_errors`, for a shape that no type has."""
    found: list[str] = []
    if not _is_known(tree, shape):
        _collect_strict(tree, shape, "", found)
    return found


def _is_known(tree: Any, shape: Shape) -> bool:
    """Whether nothing in a tree is unknown or repeated: almost always so, and found out without naming each place."""
    if type(tree) is dict:
        fields = shape.fields
        if fields is None:
            below = shape.values
            return below is None or all(_is_known(one, below) for one in tree.values() if type(one) not in _SCALARS)
        if not tree.keys() <= fields.keys():
            return False
        for key, value in tree.items():
            if type(value) not in _SCALARS and not _is_known(value, fields[key]):
                return False
        return True
    if type(tree) is list:
        item = shape.item
        return item is None or all(_is_known(value, item) for value in tree if type(value) not in _SCALARS)
    return False


def _collect_strict(tree: Any, shape: Shape, path: str, found: list[str]) -> None:
    if isinstance(tree, dict):
        repeated = tree.repeated if isinstance(tree, Duplicated) else ()
        fields = shape.fields
        for key, value in tree.items():
            place = f"{path}.{key}" if path else key
            if fields is not None:
                part = fields.get(key)
                if part is None:
                    found.append(f'unknown field "{place}"')
                    continue
            else:
                part = shape.values
            if key in repeated:
                found.append(f'duplicate field "{place}"')
            if part is not None and isinstance(value, dict | list):
                _collect_strict(value, part, place, found)
    elif isinstance(tree, list) and shape.item is not None and shape.item.go_type != "string":
        for at, value in enumerate(tree):
            _collect_strict(value, shape.item, f"{path}[{at}]", found)
