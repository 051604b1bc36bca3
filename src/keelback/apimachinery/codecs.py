"""Bytes to typed objects and back.

An object is written with `kind` and `apiVersion` first and `metadata` third, always: the server relies on these
fixed first bytes to splice the resourceVersion in, and to leave kind and apiVersion out of lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from keelback.apimachinery import json_text, quantity
from keelback.apimachinery.meta import MicroTimeText, Object, ObjectMeta, QuantityText, replace
from keelback.apimachinery.unstructured import Unstructured

T = TypeVar("T")
ObjectT = TypeVar("ObjectT", bound=Object)

_ENCODER = msgspec.json.Encoder()


class DecodeError(Exception):
    """A body does not have the shape of the type; the message is worded as Go's JSON decoder words it."""


def encode(obj: Any) -> bytes:
    """An object (anything with `__kind__`) as it goes over the wire."""
    kind = obj.__kind__
    body = _ENCODER.encode(obj.flat() if isinstance(obj, Unstructured) else obj)
    start = b'{"kind":"%b","apiVersion":"%b"' % (kind.kind.encode(), kind.api_version.encode())
    return start + b"," + body[1:] if len(body) > 2 else start + b"}"


def encode_stored(obj: Object) -> bytes:
    """An object as the store keeps it: without its resourceVersion, which is the revision of the write itself."""
    if obj.metadata.resource_version:
        obj = replace(obj, metadata=replace(obj.metadata, resource_version=""))
    return encode(_without_empty_lists(obj))


def _without_empty_lists(obj: Object) -> Object:
    """Null for the empty lists that may be null: a list of no items does not survive Kubernetes' store."""
    for path in _nullable_lists(type(obj)):
        obj = _with_null(obj, path)
    return obj


def _with_null(value: Any, path: tuple[str, ...]) -> Any:
    held = getattr(value, path[0])
    made = _with_null(held, path[1:]) if len(path) > 1 else (held or None)
    return value if made is held else replace(value, **{path[0]: made})


@cache
def _nullable_lists(cls: Any) -> tuple[tuple[str, ...], ...]:
    """Where the lists stand that are null when they are empty, in the object itself and in its spec and status."""
    found: list[tuple[str, ...]] = []
    for name, hint in get_type_hints(cls).items():
        if name in ("spec", "status") and isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            found.extend((name, *path) for path in _nullable_lists(hint))
        members = get_args(hint)
        if _is_union(hint) and len(members) == 2 and type(None) in members and get_origin(members[0]) is tuple:
            found.append((name,))
    return tuple(found)


decoder: Callable[[Any], msgspec.json.Decoder[Any]] = cache(msgspec.json.Decoder)
"""The one JSON decoder of a type. Unknown fields are skipped."""


def decode(cls: type[T], data: bytes) -> T:
    """An object from bytes that this project wrote. Raises msgspec.ValidationError for others."""
    decoded: T = decoder(cls).decode(data)
    return decoded


def to_tree(obj: Any) -> dict[str, Any]:
    """An object as a JSON tree with its kind and apiVersion."""
    tree: dict[str, Any] = msgspec.json.decode(encode(obj))
    return tree


def decode_body(cls: type[T], data: bytes) -> T:
    """An object from a client's JSON: nulls are absent, quantities may be numbers. Raises DecodeError."""
    try:
        value: T = decoder(cls).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return convert(cls, loads(data))
    return canonical(value)


def convert(cls: type[T], tree: Any) -> T:
    """An object from a JSON tree, as lenient as `decode_body`. Raises DecodeError."""
    if isinstance(cls, type) and issubclass(cls, Unstructured):
        made: T = _unstructured(cls, tree)
        return made
    shape = shape_of(cls)
    cleaned = _cleaned(tree, shape)
    try:
        return canonical(msgspec.convert(cleaned, cls, str_keys=True, builtin_types=()))
    except msgspec.ValidationError:
        pass
    try:
        # Through bytes, for a tree holds base64, times and raw JSON in their text form.
        decoded: T = decoder(cls).decode(_ENCODER.encode(cleaned))
        return canonical(decoded)
    except (msgspec.ValidationError, OverflowError) as error:
        raise DecodeError(_mismatch(cleaned, shape, cls.__name__, "") or str(error)) from error


def _unstructured(cls: Any, tree: Any) -> Any:
    content = {name: one for name, one in tree.items() if name not in ("kind", "apiVersion", "metadata")}
    return cls(metadata=convert(ObjectMeta, tree.get("metadata") or {}), content=content)


class Duplicated(dict[str, Any]):
    """A JSON object in which a key stood twice; `repeated` has those keys."""

    repeated: tuple[str, ...] = ()


def loads(data: bytes) -> Any:
    """A JSON tree in which objects with repeated keys are `Duplicated`. Raises DecodeError in Go's words."""
    try:
        # As text: of bytes the decoder guesses the encoding, and takes zeros for UTF-16.
        return json.loads(
            json_text.as_go_reads(data).decode(), object_pairs_hook=_from_pairs, parse_constant=_refuse_constant
        )
    except json_text.TooDeep as error:
        raise DecodeError(str(error)) from error
    except json.JSONDecodeError as error:
        raise DecodeError(_syntax_error(data, error)) from error
    except ValueError as error:
        # Python refuses to read thousands of digits, and such a number fits nothing.
        raise DecodeError("json: cannot unmarshal number into Go value of type float64") from error


def _from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    repeated = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    marked = Duplicated(made)
    marked.repeated = tuple(dict.fromkeys(repeated))
    return marked


def _refuse_constant(text: str) -> Any:
    raise DecodeError(f"invalid character '{text[0]}' looking for beginning of value")


def _syntax_error(data: bytes, error: Exception) -> str:
    text = data.decode("utf-8", "replace")
    at = len(text) if not isinstance(error, json.JSONDecodeError) else error.pos
    while at < len(text) and text[at].isspace():
        at += 1
    if at >= len(text):
        return "unexpected end of JSON input"
    wanted = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after array element" if "[" in text[:at] else "after object key:value pair",
        "Extra data": "after top-level value",
    }.get(getattr(error, "msg", ""), "looking for beginning of value")
    return f"invalid character '{text[at]}' {wanted}"


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
    if _is_union(annotation) and len(members) == 1:
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
    elif origin is not None and not _is_union(annotation):
        shape.values = _shape_of_annotation(get_args(annotation)[1])
        shape.go_type = f"map[string]{shape.values.go_type}"
    elif isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return shape_of(annotation)
    elif isinstance(annotation, type):
        shape.go_type = "resource.Quantity" if quantity_marked else _GO_SCALARS.get(annotation, "")
        if annotation.__name__ == "datetime":
            shape.go_type = "v1.Time"
    elif _is_union(annotation) and set(members) == {int, str}:
        shape.go_type = "intstr.IntOrString"
    return shape


def _is_union(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin is not None and getattr(origin, "__name__", str(origin)) in {"UnionType", "Union", "typing.Union"}


def _cleaned(tree: Any, shape: Shape) -> Any:
    """The tree without nulls, and with quantities that were given as numbers as text."""
    if isinstance(tree, dict):
        if shape.fields is not None:
            known = shape.fields
            return {k: _cleaned(v, known[k]) for k, v in tree.items() if v is not None and k in known}
        if shape.values is not None:
            part = shape.values
            if part.go_type == "string":
                return {k: "" if v is None else v for k, v in tree.items()}
            return {k: _cleaned(v, part) for k, v in tree.items() if v is not None or not part.go_type}
    elif isinstance(tree, list) and shape.item is not None:
        return [_cleaned({} if v is None and shape.item.fields is not None else v, shape.item) for v in tree]
    elif shape.is_quantity and isinstance(tree, int | float) and not isinstance(tree, bool):
        return json.dumps(tree)
    return tree


_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}


def _mismatch(tree: Any, shape: Shape, owner: str, path: str) -> str:
    """Go's complaint about the first value that does not fit, or nothing."""
    found = _JSON_NAMES.get(type(tree), "object")
    if isinstance(tree, float):
        found = f"number {tree}"
    complaint = f"json: cannot unmarshal {found} into Go struct field {owner}{path} of type {shape.go_type}"
    if shape.fields is not None:
        if not isinstance(tree, dict):
            return complaint
        parts = ((shape.fields[k], shape.name, f"{path}.{k}", v) for k, v in tree.items() if k in shape.fields)
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
        text = _mismatch(value, part, part_owner, part_path)
        if text:
            return text
    return ""


def _scalar_mismatch(tree: Any, shape: Shape, complaint: str) -> str:
    match shape.go_type:
        case "string" | "resource.Quantity":
            fits = isinstance(tree, str)
        case "int32":
            fits = isinstance(tree, int) and not isinstance(tree, bool)
        case "bool":
            fits = isinstance(tree, bool)
        case "float64":
            fits = isinstance(tree, int | float) and not isinstance(tree, bool)
        case "intstr.IntOrString":
            fits = isinstance(tree, int | str) and not isinstance(tree, bool)
            complaint = complaint.replace("intstr.IntOrString", "int32")
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
    found: list[str] = []
    _collect_strict(tree, shape_of(cls), "", found)
    return found


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


def canonical(value: T) -> T:
    """The same value with every quantity in canonical form; the very same object if all of them are already."""
    cls: Any = type(value)
    rewrite = _rewriter(cls)
    rewritten: T = value if rewrite is None else rewrite(value)
    return rewritten


@cache
def _rewriter(cls: Any) -> Any:
    """A function that makes the quantities inside a struct canonical, or None where there are none."""
    if not (isinstance(cls, type) and issubclass(cls, msgspec.Struct)):
        return None
    hints = get_type_hints(cls, include_extras=True)
    parts = tuple((name, made) for name, hint in hints.items() if (made := _annotation_rewriter(hint, cls)) is not None)
    if not parts:
        return None

    def rewrite(value: Any) -> Any:
        changes = {}
        for name, part in parts:
            before = getattr(value, name)
            if before is None or before == () or before == {}:
                continue
            after = part(before)
            if after is not before:
                changes[name] = after
        return msgspec.structs.replace(value, **changes) if changes else value

    return rewrite


def _annotation_rewriter(annotation: Any, owner: type) -> Any:
    while hasattr(annotation, "__metadata__"):
        if any(isinstance(one, QuantityText) for one in annotation.__metadata__):
            return _canonical_quantity
        if any(isinstance(one, MicroTimeText) for one in annotation.__metadata__):
            return _canonical_micro_time
        annotation = get_args(annotation)[0]
    if _is_union(annotation):
        members = [one for one in get_args(annotation) if one is not type(None)]
        return _annotation_rewriter(members[0], owner) if len(members) == 1 else None
    origin = get_origin(annotation)
    if origin is tuple:
        item = _annotation_rewriter(get_args(annotation)[0], owner)
        return None if item is None else lambda value: _rewrite_tuple(value, item)
    if origin is not None and len(get_args(annotation)) == 2:
        item = _annotation_rewriter(get_args(annotation)[1], owner)
        return None if item is None else lambda value: _rewrite_map(value, item)
    if isinstance(annotation, type) and annotation is not owner:
        return _rewriter(annotation)
    return None


def _rewrite_tuple(value: tuple[Any, ...], item: Any) -> tuple[Any, ...]:
    made = tuple([item(one) for one in value])
    return value if all(a is b for a, b in zip(value, made, strict=True)) else made


def _rewrite_map(value: dict[str, Any], item: Any) -> dict[str, Any]:
    made = {key: item(one) for key, one in value.items()}
    return value if all(made[key] is one for key, one in value.items()) else made


@lru_cache(maxsize=4096)
def _canonical_quantity(text: str) -> str:
    try:
        made = quantity.canonical(text)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    return text if made == text else made


_MICRO_TIME_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_is_seconds = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d").match
_is_micros = re.compile(r"\.\d{6}").match
_is_zone = re.compile(r"Z|[+-]\d\d:\d\d").fullmatch


def _canonical_micro_time(text: str) -> str:
    """An instant in UTC with six decimals. Raises DecodeError, in Go's words, for any other number of them."""
    if not text:
        return text
    rest, wanted = text, "2006"
    if seconds := _is_seconds(text):
        rest, wanted = text[seconds.end() :], ".000000"
        if micros := _is_micros(rest):
            rest, wanted = rest[micros.end() :], "Z07:00"
            if _is_zone(rest):
                try:
                    instant = datetime.fromisoformat(text)
                except ValueError as error:
                    raise DecodeError(f'parsing time "{text}": {error}') from error
                return text if rest == "Z" else instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    raise DecodeError(f'parsing time "{text}" as "{_MICRO_TIME_LAYOUT}": cannot parse "{rest}" as "{wanted}"')
