"""Protobuf request bodies as JSON: typed Go clients send built-in kinds that way. `protobuf_encoding` is the way back.

The messages are data (`protobuf_fields.json`), read on first use; a decoder is made when its first message comes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

PREFIX: Final = b"k8s\x00"
"""What every encoded object begins with; a `runtime.Unknown` follows."""

_DEEPEST = 150
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_ABSENT: Final = object()


class ProtobufError(ValueError):
    """The bytes are no protobuf message of a kind that is known here. The text is Kubernetes' own.

    `kind` and `api_version` are what the envelope says, empty when it could not be read.
    """

    kind = ""
    api_version = ""


def to_json(body: bytes) -> bytes:
    """An enveloped object as JSON, `kind` and `apiVersion` first. Raises ProtobufError."""
    kind, api_version, raw = _checked(_envelope, body, 0)
    try:
        return _checked(_encoded, kind, api_version, raw)
    except ProtobufError as error:
        error.kind, error.api_version = kind, api_version
        raise


def rows_of_kind(api_version: str, kind: str) -> list[str]:
    """The fields of a kind's message, as `number name type` each. Raises ProtobufError where the kind has none."""
    return _message_of(api_version, kind).rows


def name_of(api_version: str, kind: str) -> str:
    """The name in the table of the message of a kind. Raises ProtobufError where the kind has none."""
    return _message_of(api_version, kind).name


def rows_of(name: str) -> list[str]:
    """The fields of a message, by its name in the table."""
    return _message(name).rows


def _checked(read: Callable[..., T], *arguments: Any) -> T:
    try:
        return read(*arguments)
    except IndexError:
        raise ProtobufError("unexpected EOF") from None
    except UnicodeDecodeError:
        raise ProtobufError("proto: field contains invalid UTF-8") from None
    except RecursionError:
        raise ProtobufError("proto: message is nested too deeply") from None


def _envelope(body: bytes, depth: int) -> tuple[str, str, bytes]:
    """Kind, version and bytes of the object that an envelope holds."""
    if body[:4] != PREFIX:
        raise ProtobufError(
            "provided data does not appear to be a protobuf message, expected prefix "
            f"[{' '.join(str(byte) for byte in PREFIX)}]"
        )
    unknown = _decode(_UNKNOWN, body, 4, len(body), depth)
    type_meta = unknown.get("typeMeta", {})
    if encoding := unknown.get("contentEncoding"):
        raise ProtobufError(f"unsupported content encoding {encoding}")
    return type_meta.get("kind", ""), type_meta.get("apiVersion", ""), unknown.get("raw", b"")


def _encoded(kind: str, api_version: str, raw: bytes) -> bytes:
    return msgspec.json.encode(_object(kind, api_version, raw, 0))


def _object(kind: str, api_version: str, raw: bytes, depth: int) -> dict[str, Any]:
    tree = _decode(_message_of(api_version, kind), raw, 0, len(raw), depth)
    return {"kind": kind, "apiVersion": api_version, **tree}


class _Message:
    """One message type. `fields` maps a field's tag (number and wire type) to what decodes it."""

    __slots__ = ("fields", "finish", "name", "rows")

    def __init__(self, name: str, rows: list[str]) -> None:
        self.name = name
        self.rows = rows
        self.fields: dict[int, tuple[int, str, Any]] | None = None
        self.finish = _FINISHERS.get(name)

    def compile(self) -> dict[int, tuple[int, str, Any]]:
        """Make `fields`, once."""
        made: dict[int, tuple[int, str, Any]] = {}
        for row in self.rows:
            number, name, type_name = row.split(" ")
            _compile_field(made, int(number) << 3, name, type_name)
        self.fields = made
        return made


# What to do with a field's value. Scalars that are no pointers in Go are always sent, and mean nothing when zero.
(
    _STRING,
    _STRING_IF_SET,
    _STRINGS,
    _DATA,
    _DATA_LIST,
    _ONE,
    _INLINE,
    _MANY,
    _MAP,
    _NUMBER,
    _NUMBER_IF_SET,
    _NUMBERS,
    _PACKED,
    _DOUBLE,
    _DOUBLES,
) = range(15)


def _boolean(value: int) -> bool:
    return value != 0


def _int32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 0x100000000 if value & 0x80000000 else value


def _int64(value: int) -> int:
    return value - 0x10000000000000000 if value & 0x8000000000000000 else value


_NUMBER_TYPES: Final[dict[str, Callable[[int], Any]]] = {"bool": _boolean, "int32": _int32, "int64": _int64}


def _compile_field(made: dict[int, tuple[int, str, Any]], tag: int, name: str, type_name: str) -> None:
    is_list, is_map = type_name.startswith("[]"), type_name.startswith("{}")
    is_pointer, is_inline = type_name.startswith("*"), type_name.startswith("=")
    base = type_name.lstrip("[]{}*=")
    if is_map:
        made[tag | _BYTES] = (_MAP, name, _Message("", ["1 key *string", f"2 value *{base}"]))
    elif base == "string":
        made[tag | _BYTES] = (_STRINGS if is_list else _STRING if is_pointer else _STRING_IF_SET, name, None)
    elif base == "bytes":
        made[tag | _BYTES] = (_DATA_LIST if is_list else _DATA, name, None)
    elif base == "double":
        made[tag | _FIXED64] = (_DOUBLES if is_list else _DOUBLE, name, None)
    elif (number := _NUMBER_TYPES.get(base)) is not None:
        made[tag | _VARINT] = (_NUMBERS if is_list else _NUMBER if is_pointer else _NUMBER_IF_SET, name, number)
        if is_list:
            made[tag | _BYTES] = (_PACKED, name, number)
    else:
        made[tag | _BYTES] = (_MANY if is_list else _INLINE if is_inline else _ONE, name, _message(base))


def _decode(message: _Message, data: bytes, at: int, end: int, depth: int) -> dict[str, Any]:
    """The fields of one message between two offsets. Raises ProtobufError, IndexError or UnicodeDecodeError."""
    if depth > _DEEPEST:
        raise ProtobufError("proto: message is nested too deeply")
    fields = message.fields
    if fields is None:
        fields = message.compile()
    tree: dict[str, Any] = {}
    while at < end:
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = _varint(data, at - 1)
        field = fields.get(tag)
        if field is None:
            at = _skip(message, data, tag, at, end)
            continue
        operation, name, argument = field
        value: Any
        if operation < _NUMBER:
            length = data[at]
            at += 1
            if length > 127:
                length, at = _varint(data, at - 1)
            start, at = at, at + length
            if at > end:
                raise ProtobufError("unexpected EOF")
            if operation <= _STRING_IF_SET:
                if length or operation == _STRING:
                    tree[name] = str(data[start:at], "utf-8")
            elif operation == _ONE:
                value = _decode(argument, data, start, at, depth + 1)
                if argument.finish is None or (value := argument.finish(value, depth)) is not _ABSENT:
                    tree[name] = value
            elif operation == _MANY:
                value = _decode(argument, data, start, at, depth + 1)
                if argument.finish is not None:
                    value = argument.finish(value, depth)
                    value = None if value is _ABSENT else value
                tree.setdefault(name, []).append(value)
            elif operation == _MAP:
                entry = _decode(argument, data, start, at, depth + 1)
                tree.setdefault(name, {})[entry.get("key", "")] = _entry_value(argument, entry)
            elif operation == _STRINGS:
                tree.setdefault(name, []).append(str(data[start:at], "utf-8"))
            elif operation == _INLINE:
                tree.update(_decode(argument, data, start, at, depth + 1))
            elif operation == _DATA:
                tree[name] = data[start:at]
            else:
                tree.setdefault(name, []).append(data[start:at])
            continue
        if operation >= _PACKED:
            at = _rare(operation, name, argument, tree, data, at, end)
            continue
        number = data[at]
        at += 1
        if number > 127:
            number, at = _varint(data, at - 1)
        if operation == _NUMBERS:
            tree.setdefault(name, []).append(argument(number))
        elif number or operation == _NUMBER:
            tree[name] = argument(number)
    if at != end:
        raise ProtobufError("unexpected EOF")
    return tree


def _rare(operation: int, name: str, argument: Any, tree: dict[str, Any], data: bytes, at: int, end: int) -> int:
    """Decode doubles, and numbers that a client packed; answers where the next field begins."""
    if operation == _PACKED:
        length, at = _varint(data, at)
        stop = at + length
        if stop > end:
            raise ProtobufError("unexpected EOF")
        while at < stop:
            number, at = _varint(data, at)
            tree.setdefault(name, []).append(argument(number))
        return at
    import struct

    if at + 8 > end:
        raise ProtobufError("unexpected EOF")
    value = struct.unpack_from("<d", data, at)[0]
    if operation == _DOUBLES:
        tree.setdefault(name, []).append(value)
    else:
        tree[name] = value
    return at + 8


def _entry_value(entry_type: _Message, entry: dict[str, Any]) -> Any:
    """A map entry's value; Go sends a zero value by leaving it out."""
    if "value" in entry:
        return entry["value"]
    fields = entry_type.fields or entry_type.compile()
    for operation, name, argument in fields.values():
        if name == "value" and operation == _ONE:
            finished = argument.finish({}, 0) if argument.finish else {}
            return None if finished is _ABSENT else finished
    is_number = any(name == "value" and operation >= _NUMBER for operation, name, _ in fields.values())
    return 0 if is_number else ""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift >= 64:
            raise ProtobufError("proto: integer overflow")


def _skip(message: _Message, data: bytes, tag: int, at: int, end: int) -> int:
    """Where the next field begins after one that is not known. Refuses a known field of a wrong wire type."""
    number, wire_type = tag >> 3, tag & 7
    if number == 0:
        raise ProtobufError(f"proto: {message.name.rpartition('.')[2]}: illegal tag {number} (wire type {wire_type})")
    if wire_type == _GROUP_END:
        raise ProtobufError(f"proto: {message.name.rpartition('.')[2]}: wiretype end group for non-group")
    for known, (_, name, _) in (message.fields or {}).items():
        if known >> 3 == number:
            raise ProtobufError(f"proto: wrong wireType = {wire_type} for field {name[:1].upper()}{name[1:]}")
    open_groups = 0
    while True:
        if wire_type == _VARINT:
            _, at = _varint(data, at)
        elif wire_type == _FIXED64:
            at += 8
        elif wire_type == _BYTES:
            length, at = _varint(data, at)
            at += length
        elif wire_type == _GROUP:
            open_groups += 1
        elif wire_type == _GROUP_END:
            if not open_groups:
                raise ProtobufError("proto: unexpected end of group")
            open_groups -= 1
        elif wire_type == _FIXED32:
            at += 4
        else:
            raise ProtobufError(f"proto: illegal wireType {wire_type}")
        if at > end:
            raise ProtobufError("unexpected EOF")
        if not open_groups:
            return at
        tag, at = _varint(data, at)
        wire_type = tag & 7


def _instant(tree: dict[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(tree.get("seconds", 0), UTC)
    except (OverflowError, OSError, ValueError):
        raise ProtobufError("Time.MarshalJSON: year outside of range [0,9999]") from None


def _time(tree: dict[str, Any], _: int) -> Any:
    # Go sends the zero time as an empty message.
    return f"{_instant(tree).isoformat()[:19]}Z" if tree else _ABSENT


def _micro_time(tree: dict[str, Any], _: int) -> Any:
    if not tree:
        return _ABSENT
    microseconds = tree.get("nanos", 0) // 1000
    if not 0 <= microseconds < 1_000_000:
        raise ProtobufError("Time.MarshalJSON: nanoseconds out of range")
    return f"{_instant(tree).isoformat()[:19]}.{microseconds:06d}Z"


def _quantity(tree: dict[str, Any], _: int) -> str:
    text: str = tree.get("string", "0")
    return text


def _int_or_string(tree: dict[str, Any], _: int) -> int | str:
    value: int | str = tree.get("strVal", "") if tree.get("type") else tree.get("intVal", 0)
    return value


def _raw(tree: dict[str, Any], depth: int) -> Any:
    raw: bytes = tree.get("raw") or tree.get("Raw") or b""
    if not raw:
        return _ABSENT
    if raw[:4] == PREFIX:
        return _object(*_envelope(raw, depth + 1), depth + 1)
    try:
        _RAW_JSON.decode(str(raw, "utf-8"))
    except msgspec.DecodeError as error:
        raise ProtobufError(f"json: error calling MarshalJSON: {error}") from None
    return msgspec.Raw(raw)


def _items(tree: dict[str, Any], _: int) -> list[str]:
    items: list[str] = tree.get("items", [])
    return items


def _schema_or_bool(tree: dict[str, Any], _: int) -> Any:
    return tree["schema"] if "schema" in tree else tree.get("allows", False)


def _schema_or_array(tree: dict[str, Any], _: int) -> Any:
    return tree.get("jSONSchemas") or tree.get("schema")


def _schema_or_strings(tree: dict[str, Any], _: int) -> Any:
    return tree.get("property") or tree.get("schema")


_RAW_JSON = msgspec.json.Decoder(msgspec.Raw)

# Messages whose JSON is not an object of their fields.
_FINISHERS: Final[dict[str, Callable[[dict[str, Any], int], Any]]] = {
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

SAME_SHAPE: Final = {
    "admission.v1beta1": ("admission.v1",),
    "admissionregistration.v1alpha1": ("admissionregistration.v1",),
    "admissionregistration.v1beta1": ("admissionregistration.v1",),
    "apidiscovery.v2beta1": ("apidiscovery.v2",),
    "apiextensions.v1beta1": ("apiextensions.v1",),
    "apiregistration.v1beta1": ("apiregistration.v1",),
    "apps.v1beta1": ("apps.v1",),
    "apps.v1beta2": ("apps.v1",),
    "authentication.v1alpha1": ("authentication.v1",),
    "authentication.v1beta1": ("authentication.v1",),
    "authorization.v1beta1": ("authorization.v1",),
    "batch.v1beta1": ("batch.v1",),
    "certificates.v1alpha1": ("certificates.v1beta1",),
    "certificates.v1beta1": ("certificates.v1",),
    "coordination.v1alpha2": ("coordination.v1beta1",),
    "coordination.v1beta1": ("coordination.v1",),
    "discovery.v1beta1": ("discovery.v1",),
    "events.v1beta1": ("events.v1",),
    "extensions.v1beta1": ("apps.v1", "networking.v1"),
    "flowcontrol.v1beta1": ("flowcontrol.v1",),
    "flowcontrol.v1beta2": ("flowcontrol.v1",),
    "flowcontrol.v1beta3": ("flowcontrol.v1",),
    "meta.v1beta1": ("meta.v1",),
    "networking.v1beta1": ("networking.v1",),
    "node.v1alpha1": ("node.v1",),
    "node.v1beta1": ("node.v1",),
    "policy.v1beta1": ("policy.v1",),
    "rbac.v1alpha1": ("rbac.v1",),
    "rbac.v1beta1": ("rbac.v1",),
    "resource.v1alpha3": ("resource.v1",),
    "resource.v1beta1": ("resource.v1",),
    "resource.v1beta2": ("resource.v1", "resource.v1alpha3"),
    "scheduling.v1alpha1": ("scheduling.v1",),
    "scheduling.v1beta1": ("scheduling.v1",),
    "storage.v1alpha1": ("storage.v1",),
    "storage.v1beta1": ("storage.v1",),
}
"""Versions whose messages, but for those that stand in the table themselves, are those of another version."""

_messages: dict[str, _Message] = {}
_TYPE_META = _Message("runtime.TypeMeta", ["1 apiVersion string", "2 kind string"])
_UNKNOWN = _Message("runtime.Unknown", ["2 raw bytes", "3 contentEncoding string", "4 contentType string"])
_UNKNOWN.compile()[1 << 3 | _BYTES] = (_ONE, "typeMeta", _TYPE_META)


def _message(name: str) -> _Message:
    if not _messages:
        rows = msgspec.json.decode(files("keelback.apimachinery").joinpath("protobuf_fields.json").read_bytes())
        _messages.update((one, _Message(one, fields)) for one, fields in rows.items())
    return _messages[name]


def _message_of(api_version: str, kind: str) -> _Message:
    """The message that encodes a kind. The kinds of meta/v1, such as DeleteOptions, belong to every group."""
    group, _, version = api_version.rpartition("/")
    package = f"{group.partition('.')[0] or 'core'}.{version}"
    same = (f"{other}.{kind}" for other in SAME_SHAPE.get(package, ()))
    for candidate in (f"{package}.{kind}", *same, f"meta.v1.{kind}"):
        try:
            return _message(candidate)
        except KeyError:
            continue
    raise ProtobufError(
        f'no kind "{kind}" is registered for version "{api_version}" in scheme "pkg/api/legacyscheme/scheme.go:30"'
    )
