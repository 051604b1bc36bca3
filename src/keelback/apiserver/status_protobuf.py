"""A Status in protobuf: what a client reads that asked for protobuf alone, and cannot have it.

As Kubernetes' generated code does, strings that are no pointers are written even when they are empty.
"""

from __future__ import annotations

from keelback.apimachinery.meta import Status, StatusDetails
from keelback.apimachinery.protobuf import PREFIX


def encode(status: Status) -> bytes:
    """The enveloped message."""
    meta = status.metadata
    list_meta = _text(1, meta.self_link) + _text(2, meta.resource_version) + _text(3, meta.continue_)
    raw = _bytes(1, list_meta) + _text(2, status.status) + _text(3, status.message) + _text(4, status.reason)
    if status.details is not None:
        raw += _bytes(5, _details(status.details))
    raw += _number(6, status.code)
    type_meta = _text(1, "v1") + _text(2, "Status")
    return PREFIX + _bytes(1, type_meta) + _bytes(2, raw) + _text(3, "") + _text(4, "")


def _details(details: StatusDetails) -> bytes:
    causes = b"".join(
        _bytes(4, _text(1, one.reason) + _text(2, one.message) + _text(3, one.field)) for one in details.causes
    )
    named = _text(1, details.name) + _text(2, details.group) + _text(3, details.kind)
    return named + causes + _number(5, details.retry_after_seconds) + _text(6, details.uid)


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _bytes(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return bytes((number << 3,)) + _varint(value)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
