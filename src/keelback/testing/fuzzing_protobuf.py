"""Protobuf bodies with something wrong in their structure, where spoiling bytes by chance seldom gets to."""

from __future__ import annotations

import random
from typing import Final

_PREFIX: Final = b"k8s\x00"
_WIRE_TYPES: Final = (0, 1, 2, 3, 4, 5, 6, 7)


def spoiled(body: bytes, chance: random.Random) -> bytes:
    """The body with one field of some message in it repeated, renumbered, mistyped, cut, nested or of another size."""
    if not body.startswith(_PREFIX):
        return body
    return _PREFIX + _spoiled_message(body[len(_PREFIX) :], chance, 0)


def _spoiled_message(message: bytes, chance: random.Random, depth: int) -> bytes:
    fields = _fields(message)
    if not fields:
        return message + _field(chance.choice((1, 2, 15, 100, 2**29 - 1)), 2, b"x")
    at = chance.randrange(len(fields))
    number, wire_type, payload = fields[at]
    if wire_type == 2 and len(payload) > 1 and depth < 12 and chance.random() < 0.7:
        fields[at] = (number, wire_type, _spoiled_message(payload, chance, depth + 1))
        return b"".join(_field(*one) for one in fields)
    written = [_field(*one) for one in fields]
    match chance.randrange(8):
        case 0:
            written[at] *= chance.choice((2, 50))
        case 1:
            written[at] = _field(chance.choice((number + 1, 0, 19_000, 2**29 - 1, 2**32)), wire_type, payload)
        case 2:
            written[at] = _varint(number << 3 | chance.choice(_WIRE_TYPES)) + payload
        case 3:
            written[at] = written[at][: chance.randrange(len(written[at]) + 1)]
        case 4:
            nested = payload
            for _ in range(chance.choice((5, 200, 2000))):
                nested = _field(number, 2, nested)
            written[at] = nested
        case 5:
            written[at] = _varint(number << 3 | 2) + _varint(chance.choice((2**31, 2**63, 2**64 - 1, len(payload) + 1)))
        case 6:
            written[at] = _varint(number << 3) + b"\xff" * chance.choice((9, 10, 11)) + b"\x01"
        case 7:
            written[at] = _field(number, 2, chance.choice((b"\xff\xfe", b"\x00", b"", b"-", b"\xed\xa0\x80" * 3)))
    return b"".join(written)


def _fields(message: bytes) -> list[tuple[int, int, bytes]]:
    """The fields of a message; none where it is no message."""
    found = []
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        if tag is None:
            return []
        if tag & 7 == 2:
            size, start = _read_varint(message, at)
            if size is None or start + size > len(message):
                return []
            found.append((tag >> 3, 2, message[start : start + size]))
            at = start + size
        elif tag & 7 == 0:
            _, end = _read_varint(message, at)
            found.append((tag >> 3, 0, message[at:end]))
            at = end
        else:
            return []
    return found


def _read_varint(data: bytes, at: int) -> tuple[int | None, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return None, at


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _field(number: int, wire_type: int, payload: bytes) -> bytes:
    head = _varint(number << 3 | wire_type)
    return head + _varint(len(payload)) + payload if wire_type == 2 else head + payload
