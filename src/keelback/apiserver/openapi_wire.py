"""What OpenAPI documents are made of as protobuf: fields, maps as lists of pairs, free values as text."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from keelback.apimachinery.protobuf_encoding import varint


def message(number: int, data: bytes) -> bytes:
    """A field that holds a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def text(number: int, value: str) -> bytes:
    """A field that holds text."""
    return message(number, value.encode())


def texts(pairs: Iterable[tuple[int, str]]) -> bytes:
    """Fields that hold text, those left out that are empty."""
    return b"".join(text(number, value) for number, value in pairs if value)


def integer(number: int, value: int) -> bytes:
    """A field that holds a whole number or a flag."""
    return varint(number << 3) + varint(value)


def double(number: int, value: float) -> bytes:
    """A field that holds a number of eight bytes."""
    return varint(number << 3 | 1) + struct.pack("<d", value)


def named(number: int, values: Mapping[str, Any], encode_value: Callable[[Any], bytes]) -> bytes:
    """A map as the format has it: entries of name and value."""
    return b"".join(message(number, text(1, name) + message(2, encode_value(value))) for name, value in values.items())


def free(value: Any) -> bytes:
    """A value of any form: its text is YAML, which JSON is."""
    return message(2, msgspec.json.encode(value) + b"\n")


def extensions(number: int, tree: Mapping[str, Any]) -> bytes:
    """The members of a tree whose names begin with `x-`."""
    return named(number, {key: value for key, value in tree.items() if key.startswith("x-")}, free)
