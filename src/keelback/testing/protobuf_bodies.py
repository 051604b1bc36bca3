"""A tree in Kubernetes' protobuf: written by the same table that the server reads it by, for requests in tests."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any


def encode(tree: Any) -> bytes:
    """A tree in Kubernetes' protobuf envelope; what the messages have no place for is left out."""
    if not isinstance(tree, dict):
        return b"k8s\x00" + json.dumps(tree).encode()
    version, kind = str(tree.get("apiVersion")), str(tree.get("kind"))
    group, _, short = version.rpartition("/")
    rows = _rows().get(f"{group.partition('.')[0] or 'core'}.{short}.{kind}", ())
    raw = _message(rows, tree)
    type_meta = _field(1, version.encode("utf-8", "replace")) + _field(2, kind.encode("utf-8", "replace"))
    return b"k8s\x00" + _field(1, type_meta) + _field(2, raw) + _field(3, b"") + _field(4, b"")


_table: dict[str, Sequence[str]] = {}


def _rows() -> Mapping[str, Sequence[str]]:
    if not _table:
        _table.update(json.loads(files("keelback.apimachinery").joinpath("protobuf_fields.json").read_bytes()))
    return _table


def _message(rows: Sequence[str], tree: Any) -> bytes:
    made = b""
    for row in rows:
        number, name, type_name = row.split(" ")
        base = type_name.lstrip("[]{}*=")
        value = tree.get(name) if isinstance(tree, dict) and not type_name.startswith("=") else tree
        if value is None:
            continue
        if type_name.startswith("[]"):
            made += b"".join(_one(int(number), base, one) for one in (value if isinstance(value, list) else [value]))
        elif type_name.startswith("{}"):
            pairs = value.items() if isinstance(value, dict) else []
            made += b"".join(_field(int(number), _one(1, "string", key) + _one(2, base, one)) for key, one in pairs)
        else:
            made += _one(int(number), base, value)
    return made


def _one(number: int, base: str, value: Any) -> bytes:
    if base in ("bool", "int32", "int64"):
        return _varint(number << 3) + _varint(int(value) if isinstance(value, int) else 1)
    if base == "double":
        return _varint(number << 3 | 1) + struct.pack("<d", value if isinstance(value, float) else 1.0)
    if base == "resource.Quantity":
        return _field(number, _field(1, str(value).encode("utf-8", "replace")))
    if base == "intstr.IntOrString":
        is_text = isinstance(value, str)
        body = _one(1, "int32", int(is_text)) + (_one(3, "string", value) if is_text else _one(2, "int32", value))
        return _field(number, body)
    if base in ("string", "bytes") or not isinstance(value, dict):
        return _field(number, str(value).encode("utf-8", "surrogatepass"))
    return _field(number, _message(_rows().get(base, ()), value))


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
