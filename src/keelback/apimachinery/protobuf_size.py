"""How large an object is in protobuf, the form in which Kubernetes keeps its built-in kinds.

Limits that upstream sets on that form can thus be kept by who keeps another. Objects of custom resources are JSON there
too. Of a large object the answer is exact but for some bytes: fields that Go sends although they are unset.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from keelback.apimachinery import protobuf

_ENVELOPE = len(protobuf.PREFIX) + 8
_VARINTS: Final = frozenset({"bool", "int32", "int64"})
_TIME_BYTES: Final = 8
_DOUBLE_BYTES: Final = 8
# Messages that hold JSON, or what JSON has as a plain value.
_RAW: Final = frozenset({"meta.v1.FieldsV1", "runtime.RawExtension", "apiextensions.v1.JSON"})
_TIMES: Final = frozenset({"meta.v1.Time", "meta.v1.MicroTime"})


def stored_size(body: bytes) -> int:
    """The bytes that a JSON object of this kind takes in Kubernetes' store."""
    tree = msgspec.json.decode(body)
    kind, api_version = tree.pop("kind"), tree.pop("apiVersion")
    try:
        rows = protobuf.rows_of_kind(api_version, kind)
    except protobuf.ProtobufError:
        return len(body)
    return _ENVELOPE + len(kind) + len(api_version) + _message_size(rows, tree)


def _message_size(rows: list[str], tree: dict[str, Any]) -> int:
    size = 0
    for row in rows:
        number, name, type_name = row.split(" ")
        if type_name.startswith("="):
            size += _prefixed(number, _message_size(protobuf.rows_of(type_name[1:]), tree))
        elif (value := tree.get(name)) is not None:
            size += _field_size(number, type_name, value)
    return size


def _field_size(number: str, type_name: str, value: Any) -> int:
    base = type_name.lstrip("[]{}*")
    if type_name.startswith("[]"):
        return sum(_value_size(number, base, one) for one in value)
    if type_name.startswith("{}"):
        entries = ((_value_size("1", "string", key), _value_size("2", base, one)) for key, one in value.items())
        return sum(_prefixed(number, key + one) for key, one in entries)
    return _value_size(number, base, value)


def _value_size(number: str, base: str, value: Any) -> int:
    """One field with its number. A value of a shape not foreseen counts as its JSON."""
    tag = 1 if int(number) < 16 else 2
    if base in _VARINTS:
        return tag + _varint_size(int(value))
    if base == "double":
        return tag + _DOUBLE_BYTES
    if base == "string" and isinstance(value, str):
        return _prefixed(number, len(value) if value.isascii() else len(value.encode()))
    if base == "bytes" and isinstance(value, str):
        return _prefixed(number, len(value) * 3 // 4 - value[-2:].count("="))
    if base in _TIMES:
        return _prefixed(number, _TIME_BYTES)
    if isinstance(value, dict) and base not in _RAW:
        return _prefixed(number, _message_size(protobuf.rows_of(base), value))
    if isinstance(value, str):
        return _prefixed(number, _prefixed("1", len(value.encode())))
    return _prefixed(number, _prefixed("1", len(msgspec.json.encode(value))))


def _prefixed(number: str, length: int) -> int:
    """A field of this many bytes, with its number and its length."""
    return (1 if int(number) < 16 else 2) + _varint_size(length) + length


def _varint_size(value: int) -> int:
    return 10 if value < 0 else max(1, (value.bit_length() + 6) // 7)
