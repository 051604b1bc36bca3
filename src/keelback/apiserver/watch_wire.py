"""The bytes that the watch cache holds and serves: stored values with the resourceVersion spliced in at a fixed place.

Stored: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":...`; on the wire `"resourceVersion":"7",` follows the
brace. An *item* is what stands in a list: without kind and apiVersion for built-in kinds, whole for custom resources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from keelback.apimachinery import protobuf_encoding
from keelback.apiserver.shared_parts import SharedParts
from keelback.apiserver.watch_index import Entry
from keelback.component.http import Pieces

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_METADATA = b'"metadata":{'
_VERSION = b'"resourceVersion":"%d",'


def with_version(value: bytes, head: bytes, revision: int) -> bytes:
    """A stored value, which begins with `head`, as it is served: with the revision in its fixed place."""
    # Two sums copy the value once less than a format would.
    return head + _VERSION % revision + value[len(head) :]


class NoFields(msgspec.Struct):
    """What is read of an object that has no field selectors of its own: nothing."""


@dataclass(frozen=True, slots=True)
class CachedResource:
    """What a watch cache has to know about a resource.

    `prefix` is its folder in the store with a slash at the end; a key goes on with `<namespace>/<name>`, or `<name>`
    when the resource is not namespaced. `fields` gives the values of the field selectors other than metadata.name and
    metadata.namespace, from an object decoded as `field_type`; those in `indexed_fields` are found and watched without
    looking at every object. `keeps_type` is for custom resources, whose list items carry kind and apiVersion.
    `convert` makes a stored value of another apiVersion one of this; with `converts_all` it sees every value.
    `bookmark_tail` is what upstream writes in a bookmark after the metadata, such as `,"spec":{},"status":{}`.
    """

    prefix: str
    kind: str
    api_version: str
    is_namespaced: bool = True
    list_kind: str = ""
    keeps_type: bool = False
    field_type: type[Any] = NoFields
    fields: Callable[[Any], Mapping[str, str]] = field(default=lambda _: {})
    indexed_fields: tuple[str, ...] = ()
    convert: Callable[[bytes], bytes] | None = None
    converts_all: bool = False
    bookmark_tail: bytes = b""


class WireForm:
    """Turns stored values into items, items into objects, objects into watch events: slices and joins, no decoding."""

    def __init__(self, resource: CachedResource) -> None:
        self._resource = resource
        self._has_converted = False
        self._type = b'{"kind":"%b","apiVersion":"%b",' % (resource.kind.encode(), resource.api_version.encode())
        self._stored_head = self._type + _METADATA
        self._item_head = self._stored_head if resource.keeps_type else b"{" + _METADATA
        self._joined_records: list[WatchRecord] = []
        self._joined = b""
        self._encoder: protobuf_encoding.KindEncoder | None = None
        list_kind = resource.list_kind or resource.kind + "List"
        self._list_kind = list_kind
        self._list_head = b'{"kind":"%b","apiVersion":"%b","metadata":{"resourceVersion":"' % (
            list_kind.encode(),
            resource.api_version.encode(),
        )

    def pieces(self, value: bytes, revision: int, parts: SharedParts) -> tuple[bytes, bytes, bytes]:
        """A stored value as an item, cut: it is long, and to make it whole first would take as long as the rest.

        Raises ValueError when it is not in the stored form and cannot be converted.
        """
        before, shared, after = parts.split(self._stored(value), len(self._stored_head))
        return self._item_head + _VERSION % revision + before, shared, after

    def _stored(self, value: bytes) -> bytes:
        if self._resource.converts_all or not value.startswith(self._stored_head):
            self._has_converted = True
            value = self._resource.convert(value) if self._resource.convert else value
            if not value.startswith(self._stored_head):
                raise ValueError(f"not a stored {self._resource.kind}: {value[:80]!r}")
        return value

    def stored(self, entry: Entry) -> bytes | None:
        """The value that the store has of an entry; None where it may be of another version."""
        if self._has_converted:
            return None
        after_version = 1 + len(self._item_head) + len(_VERSION % entry.revision)
        return self._stored_head + entry.before[after_version:] + entry.shared + entry.after

    def object(self, item: bytes) -> bytes:
        """An item as the object that GET answers and watch events carry."""
        return item if self._resource.keeps_type else self._type + item[1:]

    def at_revision(self, item: bytes, old: int, new: int) -> bytes:
        """The same state under another resourceVersion: deletions carry the revision of the deletion."""
        rest = item[len(self._item_head) + len(_VERSION % old) :]
        return self._item_head + _VERSION % new + rest

    def line(self, type_: EventType, item: bytes) -> bytes:
        """An item as a watch event for the wire."""
        if self._resource.keeps_type:
            return b'{"type":"%b","object":%b}\n' % (type_.encode(), item)
        return b'{"type":"%b","object":%b%b}\n' % (type_.encode(), self._type, item[1:])

    def message(self, entry: Entry) -> bytes:
        """An entry's item as a protobuf message, written once. Raises ProtobufError for kinds that have none."""
        message = entry.message
        if message is None:
            message = entry.message = self._kind_encoder().raw(entry.item)
        return message

    def protobuf(self, entry: Entry) -> bytes:
        """An entry as the object that GET answers in protobuf. Raises ProtobufError."""
        return self._kind_encoder().enveloped(self.message(entry))

    def frame(self, type_: EventType, item: bytes) -> bytes:
        """An item as a watch event in protobuf. Raises ProtobufError."""
        encoder = self._kind_encoder()
        return protobuf_encoding.watch_frame(type_, encoder.enveloped(encoder.raw(item)))

    def frame_of_entry(self, type_: EventType, entry: Entry) -> bytes:
        """An entry as a watch event in protobuf. Raises ProtobufError."""
        return protobuf_encoding.watch_frame(type_, self.protobuf(entry))

    def _kind_encoder(self) -> protobuf_encoding.KindEncoder:
        if self._encoder is None:
            self._encoder = protobuf_encoding.KindEncoder(self._resource.api_version, self._resource.kind)
        return self._encoder

    def protobuf_list(self, list_meta: dict[str, Any], messages: list[bytes]) -> list[bytes]:
        """A whole list answer in protobuf, in pieces. Raises ProtobufError."""
        encoder = protobuf_encoding.KindEncoder(self._resource.api_version, self._list_kind)
        return encoder.enveloped_list(list_meta, messages)

    def lines(self, records: list[WatchRecord]) -> bytes:
        """Events as one write. Watchers that hear the same share it."""
        if len(records) == 1:
            return records[0].line
        if records != self._joined_records:
            self._joined_records, self._joined = records, b"".join([record.line for record in records])
        return self._joined

    def bookmark(self, revision: int, *, ends_initial_events: bool = False) -> bytes:
        """The item of a bookmark."""
        annotation = b',"annotations":{"k8s.io/initial-events-end":"true"}' if ends_initial_events else b""
        metadata = b'"resourceVersion":"%d"%b}' % (revision, annotation)
        return self._item_head + metadata + self._resource.bookmark_tail + b"}"

    def list_body(self, entries: Sequence[Entry], revision: int, continue_: str, remaining: int | None) -> list[bytes]:
        """A whole list answer, in pieces: nothing large is copied."""
        head = self._list_head + b'%d"' % revision
        if continue_ or self._resource.keeps_type:
            head += b',"continue":"%b"' % continue_.encode()
        if remaining is not None:
            head += b',"remainingItemCount":%d' % remaining
        if not entries:
            return [head + b'},"items":[]}']
        pieces = Pieces([b"]}"] * (3 * len(entries) + 1))
        pieces[0:-1:3] = [entry.before for entry in entries]
        pieces[1::3] = [entry.shared for entry in entries]
        pieces[2::3] = [entry.after for entry in entries]
        pieces[0] = head + b'},"items":[' + pieces[0][1:]
        return pieces


class WatchRecord:
    """One event as watchers receive it, shared by all of them."""

    __slots__ = ("_entry", "_frame", "_item", "_line", "_wire", "revision", "type")

    def __init__(
        self, type_: EventType, wire: WireForm, item: bytes, revision: int, entry: Entry | None = None
    ) -> None:
        """`entry` is whose item it is, where it is one's."""
        self.type = type_
        self.revision = revision
        self._wire = wire
        self._item = item
        self._entry = entry
        self._line: bytes | None = None
        self._frame: bytes | None = None

    @property
    def object(self) -> bytes:
        """The JSON object, with kind and apiVersion."""
        return self._wire.object(self._item)

    @property
    def size(self) -> int:
        """About how many bytes the event has on the wire."""
        return len(self._item)

    @property
    def line(self) -> bytes:
        """The event for the wire with its newline, encoded once."""
        line = self._line
        if line is None:
            line = self._line = self._wire.line(self.type, self._item)
        return line

    @property
    def frame(self) -> bytes:
        """The event for the wire in protobuf, encoded once. Raises ProtobufError for kinds that have no message."""
        frame = self._frame
        if frame is None:
            if self._entry is None:
                frame = self._wire.frame(self.type, self._item)
            else:
                frame = self._wire.frame_of_entry(self.type, self._entry)
            self._frame = frame
        return frame

    def __repr__(self) -> str:
        return f"<WatchRecord {self.type} {self.revision}>"
