"""Bytes to typed objects and back.

An object is written with `kind` and `apiVersion` first and `metadata` third, always: the server relies on these
fixed first bytes to splice the resourceVersion in, and to leave kind and apiVersion out of lists.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from keelback.apimachinery.canonical_values import canonical
from keelback.apimachinery.json_trees import DecodeError, Duplicated, loads, marked_tree
from keelback.apimachinery.meta import Kind, Object, ObjectMeta, replace
from keelback.apimachinery.shapes import cleaned, is_union, mismatch, overflow, shape_of, strict_errors
from keelback.apimachinery.unstructured import Unstructured

__all__ = [
    "DecodeError",
    "encode",
    "encode_stored",
    "decoder",
    "decode",
    "to_tree",
    "decode_body",
    "convert",
    "canonical",
    "Duplicated",
    "loads",
    "marked_tree",
    "strict_errors",
]

T = TypeVar("T")


_ENCODER = msgspec.json.Encoder()
_UP_TO_METADATA = b',"metadata":{'


def encode(obj: Any) -> bytes:
    """An object (anything with `__kind__`) as it goes over the wire."""
    kind: Kind = obj.__kind__
    body = _ENCODER.encode(obj.flat() if isinstance(obj, Unstructured) else obj)
    if kind.head:
        # It goes on to the metadata.
        start = kind.head[: -len(_UP_TO_METADATA)]
    else:
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
        if is_union(hint) and len(members) == 2 and type(None) in members and get_origin(members[0]) is tuple:
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
    if _has_long_number(data) and not issubclass(cls, Unstructured):
        _refuse_overflow(cls, loads(data))
    return canonical(value)


_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def _has_long_number(data: bytes) -> bool:
    """Whether a text has ten digits in a row, without which no integer is too large for its field."""
    return b"0000000000" in data.translate(_AS_ZEROS)


def _refuse_overflow(cls: Any, tree: Any) -> None:
    if told := overflow(tree, shape_of(cls), cls.__name__):
        raise DecodeError(told)


def convert(cls: type[T], tree: Any) -> T:
    """An object from a JSON tree, as lenient as `decode_body`. Raises DecodeError."""
    if isinstance(cls, type) and issubclass(cls, Unstructured):
        made: T = _unstructured(cls, tree)
        return made
    try:
        # Through bytes, for a tree holds base64, times and raw JSON in their text form. Most have nothing to tidy.
        data = _ENCODER.encode(tree)
        if b"null" not in data:
            return _read(cls, data, tree)
    except (msgspec.MsgspecError, OverflowError, UnicodeError, RecursionError):
        pass
    shape = shape_of(cls)
    tidy = cleaned(tree, shape)
    try:
        return _read(cls, _ENCODER.encode(tidy), tidy)
    except (msgspec.ValidationError, OverflowError) as error:
        # Numbers of more than 64 bits have no encoding, and no field.
        raise DecodeError(mismatch(tidy, shape, cls.__name__, "") or str(error)) from error


def _read(cls: type[T], data: bytes, tree: Any) -> T:
    """An object from a tree and its bytes."""
    value: T = decoder(cls).decode(data)
    if _has_long_number(data):
        _refuse_overflow(cls, tree)
    return canonical(value)


def _unstructured(cls: Any, tree: Any) -> Any:
    content = {name: one for name, one in tree.items() if name not in ("kind", "apiVersion", "metadata")}
    return cls(metadata=convert(ObjectMeta, tree.get("metadata") or {}), content=content)
