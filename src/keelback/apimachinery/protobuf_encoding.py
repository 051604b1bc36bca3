"""JSON objects as Kubernetes' protobuf, byte for byte as its generated code writes them.

Fields go by their numbers and maps by their keys. A scalar that is no pointer in Go is written even when it is zero, a
message where the JSON has it. An encoder is made of the table when the first such message is written.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from keelback.apimachinery import protobuf
from keelback.apimachinery.protobuf import PREFIX, ProtobufError

Write = Callable[[Any], bytes]
"""One field of this value, with its number; or, for a message, its fields one after another."""

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_TAIL: Final = b"\x1a\x00\x22\x00"  # no content encoding, no content type
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_NUMBERS: Final = frozenset({"int32", "int64"})
_TIMES: Final = frozenset({"meta.v1.Time", "meta.v1.MicroTime"})
_INLINED: Final = ""
_NOTHING: Final[dict[str, Any]] = {}
# Times that are no pointers in Go: null in JSON or left out when they are zero, and here an empty message. So are those
# of conditions.
_TIMES_BY_VALUE: Final = {
    "authentication.v1.TokenRequestStatus": ("expirationTimestamp",),
    "core.v1.ContainerStateRunning": ("startedAt",),
    "core.v1.ContainerStateTerminated": ("startedAt", "finishedAt"),
    "core.v1.Event": ("firstTimestamp", "lastTimestamp", "eventTime"),
    "core.v1.EventSeries": ("lastObservedTime",),
    "core.v1.PreferAvoidPodsEntry": ("evictionTime",),
    "events.v1.Event": ("eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"),
    "events.v1.EventSeries": ("lastObservedTime",),
    "meta.v1.ObjectMeta": ("creationTimestamp",),
    "storage.v1.VolumeError": ("time",),
}


def from_json(body: bytes) -> bytes:
    """An encoded JSON object in protobuf, in its envelope. Raises ProtobufError where its kind has no message."""
    tree = msgspec.json.decode(body)
    return from_tree(tree, tree.get("apiVersion", ""), tree.get("kind", ""))


def from_tree(tree: dict[str, Any], api_version: str, kind: str) -> bytes:
    """A decoded JSON object in its envelope. Raises ProtobufError."""
    # The oldest documents of discovery name no version.
    raw = _written(_encoder(protobuf.name_of(api_version or "v1", kind)), tree)
    return _enveloped(_head(api_version, kind), raw)


def message(name: str, tree: Any) -> bytes:
    """The fields of a message by its name in the table, without an envelope. Raises ProtobufError."""
    return _written(_encoder(name), tree)


def is_known(api_version: str, kind: str) -> bool:
    """Whether a kind has a message: custom resources and Tables have none."""
    try:
        protobuf.name_of(api_version, kind)
    except ProtobufError:
        return False
    return True


class KindEncoder:
    """Writes the objects of one kind. Raises ProtobufError when the kind has no message."""

    def __init__(self, api_version: str, kind: str) -> None:
        self._name = protobuf.name_of(api_version, kind)
        self._head = _head(api_version, kind)

    def raw(self, body: bytes) -> bytes:
        """An encoded JSON object as its message: what stands in a list."""
        return _written(_encoder(self._name), msgspec.json.decode(body))

    def enveloped(self, raw: bytes) -> bytes:
        """A message as it is answered alone."""
        return _enveloped(self._head, raw)

    def enveloped_list(self, list_meta: dict[str, Any], items: Sequence[bytes]) -> list[bytes]:
        """The list of this kind around messages, in pieces: nothing large is copied."""
        meta = _field(1, message("meta.v1.ListMeta", list_meta))
        heads = [b"\x12" + varint(len(one)) for one in items]
        size = len(meta) + sum(map(len, heads)) + sum(map(len, items))
        pieces = [b"%b\x12%b%b" % (self._head, varint(size), meta)]
        for head, item in zip(heads, items, strict=True):
            pieces += (head, item)
        return [*pieces, _TAIL]


def watch_frame(type_: str, enveloped: bytes) -> bytes:
    """An event of a watch: its length in four bytes, then a WatchEvent without an envelope around its object."""
    event = _field(1, type_.encode()) + _field(2, _field(1, enveloped))
    return len(event).to_bytes(4, "big") + event


def _head(api_version: str, kind: str) -> bytes:
    return PREFIX + _field(1, _field(1, api_version.encode()) + _field(2, kind.encode()))


def _enveloped(head: bytes, raw: bytes) -> bytes:
    return b"%b%b%b" % (head, _field(2, raw), _TAIL)


def _written(encode: Write, tree: Any) -> bytes:
    try:
        return encode(tree)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ProtobufError(f"the object has not the shape of its kind: {error}") from error


_encoders: dict[str, Write] = {}


def _encoder(name: str) -> Write:
    """What writes the fields of a message. Messages that hold themselves look it up when they are written."""
    found = _encoders.get(name)
    if found is None:
        found = _encoders[name] = _PLAIN.get(name) or _compiled(name)
    return found


def _compiled(name: str) -> Write:
    fields: list[tuple[str, bytes, Write]] = []
    for row in protobuf.rows_of(name):
        number, json_name, type_name = row.split(" ")
        base = type_name.lstrip("[]{}*=")
        write = _write_of(int(number), base)
        absent = b""
        if type_name.startswith("[]"):
            write = _list_of(write)
        elif type_name.startswith("{}"):
            write = _map_of(int(number), base)
        elif type_name == base:
            absent = _absent(int(number), base)
        if base in _TIMES and (name.endswith("Condition") or json_name in _TIMES_BY_VALUE.get(name, ())):
            absent = _field(int(number), b"")
        fields.append((_INLINED if type_name.startswith("=") else json_name, absent, write))
    if any(json_name is _INLINED for json_name, _, _ in fields):
        return _with_inlined(fields)
    return _plain_message(fields)


def _plain_message(fields: list[tuple[str, bytes, Write]]) -> Write:
    def encode(tree: Any) -> bytes:
        get = (tree or _NOTHING).get
        return b"".join([absent if (value := get(name)) is None else write(value) for name, absent, write in fields])

    return encode


def _with_inlined(fields: list[tuple[str, bytes, Write]]) -> Write:
    def encode(tree: Any) -> bytes:
        tree = tree or _NOTHING
        get = tree.get
        return b"".join(
            [
                absent if (value := tree if name is _INLINED else get(name)) is None else write(value)
                for name, absent, write in fields
            ]
        )

    return encode


def _absent(number: int, base: str) -> bytes:
    """A scalar that is no pointer, where JSON has none."""
    if base == "string":
        return _field(number, b"")
    if base in _NUMBERS or base == "bool":
        return _tag(number, _VARINT) + b"\x00"
    if base == "double":
        return _tag(number, _FIXED64) + bytes(8)
    return b""


def _write_of(number: int, base: str) -> Write:
    if base == "string":
        return _text_field(number)
    if base == "bytes":
        return lambda value: _field(number, binascii.a2b_base64(value))
    if base == "bool":
        yes, no = _tag(number, _VARINT) + b"\x01", _tag(number, _VARINT) + b"\x00"
        return lambda value: yes if value else no
    if base in _NUMBERS:
        tag = _tag(number, _VARINT)
        return lambda value: tag + varint(int(value))
    if base == "double":
        tag = _tag(number, _FIXED64)
        return lambda value: tag + struct.pack("<d", value)
    return _message_field(number, base)


def _text_field(number: int) -> Write:
    heads, tag = _heads(number), _tag(number, _BYTES)

    def write(value: Any) -> bytes:
        data: bytes = value.encode()
        size = len(data)
        return heads[size] + data if size < 128 else b"%b%b%b" % (tag, varint(size), data)

    return write


def _message_field(number: int, base: str) -> Write:
    heads, tag = _heads(number), _tag(number, _BYTES)

    def write(value: Any) -> bytes:
        data = (_encoders.get(base) or _encoder(base))(value)
        size = len(data)
        return heads[size] + data if size < 128 else b"%b%b%b" % (tag, varint(size), data)

    return write


def _list_of(write: Write) -> Write:
    return lambda values: b"".join([write(one) for one in values])


def _map_of(number: int, base: str) -> Write:
    write_key, write_value = _text_field(1), _write_of(2, base)

    def write(values: Any) -> bytes:
        return b"".join([_field(number, write_key(key) + write_value(values[key])) for key in sorted(values)])

    return write


def _field(number: int, data: bytes) -> bytes:
    size = len(data)
    if size < 128:
        return _heads(number)[size] + data
    return b"%b%b%b" % (_tag(number, _BYTES), varint(size), data)


@lru_cache(maxsize=128)
def _heads(number: int) -> tuple[bytes, ...]:
    """A field's number with each length of one byte."""
    tag = _tag(number, _BYTES)
    return tuple(tag + bytes((size,)) for size in range(128))


def _tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte; one below zero as the format has it, in ten bytes."""
    if 0 <= value < 128:
        return _SMALL[value]
    value &= 0xFFFFFFFFFFFFFFFF
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


_SMALL: Final = tuple(bytes((value,)) for value in range(128))


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


@lru_cache(maxsize=4096)
def _time(text: str) -> bytes:
    if not text or (instant := _instant(text)) == _ZERO_TIME:
        return b""
    return b"\x08%b\x10\x00" % varint((instant - _EPOCH) // _SECOND)


@lru_cache(maxsize=1024)
def _micro_time(text: str) -> bytes:
    if not text or (instant := _instant(text)) == _ZERO_TIME:
        return b""
    seconds, rest = divmod(instant - _EPOCH, _SECOND)
    return b"\x08%b\x10%b" % (varint(seconds), varint(rest.microseconds * 1000))


def _quantity(value: Any) -> bytes:
    return _field(1, str(value).encode())


def _int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + _field(3, value.encode())
    return b"\x08\x00\x10%b\x1a\x00" % varint(value)


def _raw(value: Any) -> bytes:
    return b"" if value is None else _field(1, msgspec.json.encode(value))


def _items(value: Any) -> bytes:
    return b"".join([_field(1, one.encode()) for one in value or ()])


_SCHEMA = "apiextensions.v1.JSONSchemaProps"


def _schema_or_bool(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"\x08\x01" + _field(2, _encoder(_SCHEMA)(value))
    return b"\x08\x01" if value else b"\x08\x00"


def _schema_or_array(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join([_field(2, _encoder(_SCHEMA)(one)) for one in value])
    return _field(1, _encoder(_SCHEMA)(value))


def _schema_or_strings(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join([_field(2, one.encode()) for one in value])
    return _field(1, _encoder(_SCHEMA)(value))


# Messages whose JSON is not an object of their fields.
_PLAIN: Final[dict[str, Write]] = {
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": _raw,
    "meta.v1.Verbs": _items,
    "resource.Quantity": _quantity,
    "intstr.IntOrString": _int_or_string,
    "runtime.RawExtension": _raw,
    "authentication.v1.ExtraValue": _items,
    "authorization.v1.ExtraValue": _items,
    "certificates.v1.ExtraValue": _items,
    "apiextensions.v1.JSON": _raw,
    "apiextensions.v1.JSONSchemaPropsOrBool": _schema_or_bool,
    "apiextensions.v1.JSONSchemaPropsOrArray": _schema_or_array,
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _schema_or_strings,
}
