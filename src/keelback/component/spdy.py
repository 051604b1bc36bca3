"""SPDY/3.1 as Kubernetes uses it for exec, attach and port-forward: many byte streams on one connection.

Only what those need: no requests, no priorities, no server push. Peers (spdystream in kubectl, the kubelet and
containerd) neither send WINDOW_UPDATE nor wait for it, so windows are not enforced here either: a stream that nobody
reads stops the connection, and TCP slows the sender down.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from keelback.component.http import Connection

_VERSION: Final = 0x8003
_SYN_STREAM: Final = 1
_SYN_REPLY: Final = 2
_RST_STREAM: Final = 3
_PING: Final = 6
_GOAWAY: Final = 7
_HEADERS: Final = 8
_FLAG_FIN: Final = 0x01

_MAX_DATA: Final = 1 << 14
_MAX_FRAME: Final = 1 << 20
_MAX_HEADERS: Final = 1 << 20
_MAX_STREAMS: Final = 4096
# Bytes of one stream that nobody has read before the connection waits.
_HIGH_WATER_BYTES: Final = 1 << 18
_REFUSED_STREAM: Final = 3
_CANCEL: Final = 5

# The words of SPDY/3's dictionary (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1), which prime the compressor.
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY: Final = (
    b"".join(struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split(" "))
    + _TAIL.encode()
)


class SPDYError(ConnectionError):
    """The other side broke the protocol, or reset the stream."""


class SPDYStream:
    """One byte stream in both directions, each of which ends by itself."""

    def __init__(self, session: SPDYSession, identifier: int, headers: Mapping[str, str]) -> None:
        self.identifier = identifier
        self.headers = headers
        """The headers it was opened with, names in lower case."""
        self._session = session
        self._pieces = bytearray()
        self._changed = asyncio.Event()
        self._read_ended = False
        self._write_ended = False
        self._error: SPDYError | None = None
        self._replied = asyncio.Event()

    async def read(self, max_bytes: int = 65536) -> bytes:
        """The next bytes, at least one; empty when the other side sends no more, be it for a reset.

        Upstream's servers end a session by resetting its streams, so that a reset is no sign of failure.
        """
        while not self._pieces:
            if self._read_ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        taken = bytes(self._pieces[:max_bytes])
        del self._pieces[:max_bytes]
        self._session.relieve()
        return taken

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionError when the stream or the connection is gone."""
        if self._error is not None:
            raise self._error
        if self._write_ended:
            raise SPDYError("the stream is closed for writing")
        for start in range(0, len(data), _MAX_DATA):
            await self._session.send_data(self.identifier, data[start : start + _MAX_DATA], False)

    async def close_write(self) -> None:
        """Say that nothing more will be sent; reading goes on."""
        if not self._write_ended and self._error is None:
            self._write_ended = True
            await self._session.send_data(self.identifier, b"", True)
            self._forget_if_done()

    async def reset(self) -> None:
        """Give the stream up in both directions."""
        if self._error is None and not (self._read_ended and self._write_ended):
            self._session.send_reset(self.identifier, _CANCEL)
        self.fail(SPDYError("the stream was reset"))
        self._session.forget(self.identifier)

    async def wait_replied(self) -> None:
        """Return when the other side has accepted the stream. Raises SPDYError where it refused."""
        await self._replied.wait()
        if self._error is not None:
            raise self._error

    @property
    def unread(self) -> int:
        """Bytes that have arrived and were not read."""
        return len(self._pieces)

    def feed(self, data: bytes, is_last: bool) -> None:
        """Data has arrived."""
        self._pieces += data
        if is_last:
            self._read_ended = True
            self._forget_if_done()
        self._changed.set()

    def replied(self) -> None:
        """The other side has accepted the stream."""
        self._replied.set()

    def fail(self, error: SPDYError) -> None:
        """Nothing more comes or goes; what has arrived can still be read."""
        if self._error is None:
            self._error = error
        self._read_ended = self._write_ended = True
        self._changed.set()
        self._replied.set()

    def end(self) -> None:
        """The connection has ended: so has reading."""
        self._read_ended = True
        self._changed.set()
        if not self._replied.is_set():
            self.fail(SPDYError("the connection ended before the stream was accepted"))

    def _forget_if_done(self) -> None:
        if self._read_ended and self._write_ended:
            self._session.forget(self.identifier)


class SPDYSession:
    """The streams of one connection; `run` reads frames until it ends. A server's streams have even numbers."""

    def __init__(
        self,
        connection: Connection,
        *,
        is_server: bool,
        on_stream: Callable[[SPDYStream], Awaitable[bool]] | None = None,
    ) -> None:
        self._connection = connection
        self._on_stream = on_stream
        self._next = 2 if is_server else 1
        self._streams: dict[int, SPDYStream] = {}
        self._relieved = asyncio.Event()
        self._closed = asyncio.Event()
        self._compressor = zlib.compressobj(zdict=DICTIONARY)
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Return when the connection has ended."""
        await self._closed.wait()

    async def open(self, headers: Mapping[str, str], *, is_write_only_end: bool = False) -> SPDYStream:
        """Open a stream; with `is_write_only_end` nothing will be sent on it by this side."""
        stream = SPDYStream(self, self._next, {name.lower(): value for name, value in headers.items()})
        self._next += 2
        self._streams[stream.identifier] = stream
        flags = _FLAG_FIN if is_write_only_end else 0
        block = self._compress(stream.headers)
        self._send_control(_SYN_STREAM, flags, struct.pack(">IIH", stream.identifier, 0, 0) + block)
        if is_write_only_end:
            stream._write_ended = True
        await self._connection.drain()
        return stream

    async def run(self) -> None:
        """Read frames until the connection ends. Raises SPDYError for what is not SPDY."""
        try:
            while True:
                head = await self._connection.read_exactly(8)
                word, tail = struct.unpack(">II", head)
                flags, length = tail >> 24, tail & 0xFFFFFF
                if length > _MAX_FRAME:
                    raise SPDYError(f"a frame of {length} bytes is too large")
                payload = await self._connection.read_exactly(length) if length else b""
                if word & 0x80000000:
                    await self._take_control(word, flags, payload)
                else:
                    await self._take_data(word, flags, payload)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass  # the connection has ended, as connections do
        except (struct.error, zlib.error) as error:
            raise SPDYError(f"not a SPDY frame: {error}") from error
        finally:
            self._end()

    def close(self) -> None:
        """Say good-bye and close the connection."""
        if not self._connection.closed:
            self._send_control(_GOAWAY, 0, struct.pack(">II", 0, 0))
        self._connection.close()
        self._end()

    async def ping(self, identifier: int) -> None:
        """Send a ping: keeps the connection from idling. The answer is not waited for."""
        self._send_control(_PING, 0, struct.pack(">I", identifier))
        await self._connection.drain()

    # What streams ask.

    async def send_data(self, identifier: int, data: bytes, is_last: bool) -> None:
        """Send one data frame."""
        if self._closed.is_set():
            raise SPDYError("the connection is closed")
        flags = _FLAG_FIN if is_last else 0
        self._connection.write(struct.pack(">II", identifier, flags << 24 | len(data)) + data)
        await self._connection.drain()

    def send_reset(self, identifier: int, status: int) -> None:
        """Send a reset of one stream."""
        if not self._closed.is_set():
            self._send_control(_RST_STREAM, 0, struct.pack(">II", identifier, status))

    def forget(self, identifier: int) -> None:
        """A stream is done."""
        self._streams.pop(identifier, None)
        self._relieved.set()

    def relieve(self) -> None:
        """A stream was read from."""
        self._relieved.set()

    # Frames.

    async def _take_control(self, word: int, flags: int, payload: bytes) -> None:
        if word >> 16 != _VERSION:
            raise SPDYError("not SPDY version 3")
        match word & 0xFFFF:
            case 1:  # SYN_STREAM
                await self._accept(flags, payload)
            case 2:  # SYN_REPLY
                self._decompress(payload[4:])
                if (stream := self._stream(payload)) is not None:
                    stream.replied()
                    if flags & _FLAG_FIN:
                        stream.feed(b"", True)
            case 3:  # RST_STREAM
                if (stream := self._stream(payload)) is not None:
                    stream.fail(SPDYError("the other side reset the stream"))
                    self.forget(stream.identifier)
            case 6:  # PING: those this side did not send are answered as they came
                (identifier,) = struct.unpack(">I", payload[:4])
                if identifier % 2 != self._next % 2:
                    self._send_control(_PING, 0, payload)
            case 8:  # HEADERS: read for the compressor's sake
                self._decompress(payload[4:])
                if flags & _FLAG_FIN and (stream := self._stream(payload)) is not None:
                    stream.feed(b"", True)
            case _:  # SETTINGS, GOAWAY, WINDOW_UPDATE: nothing depends on them here
                pass

    async def _accept(self, flags: int, payload: bytes) -> None:
        (identifier,) = struct.unpack(">I", payload[:4])
        identifier &= 0x7FFFFFFF
        headers = self._decompress(payload[10:])
        if identifier % 2 == self._next % 2 or identifier in self._streams:
            raise SPDYError(f"stream {identifier} cannot be opened by the other side")
        stream = SPDYStream(self, identifier, headers)
        self._streams[identifier] = stream
        if flags & _FLAG_FIN:
            stream.feed(b"", True)
        if len(self._streams) > _MAX_STREAMS or self._on_stream is None or not await self._on_stream(stream):
            self.send_reset(identifier, _REFUSED_STREAM)
            stream.fail(SPDYError("the stream was refused"))
            self.forget(identifier)
            return
        self._send_control(_SYN_REPLY, 0, struct.pack(">I", identifier) + self._compress({}))

    async def _take_data(self, identifier: int, flags: int, payload: bytes) -> None:
        stream = self._streams.get(identifier)
        if stream is None:
            return  # reset here while it was on its way
        stream.feed(payload, bool(flags & _FLAG_FIN))
        while stream.unread > _HIGH_WATER_BYTES and identifier in self._streams and not self._closed.is_set():
            self._relieved.clear()
            await self._relieved.wait()

    def _stream(self, payload: bytes) -> SPDYStream | None:
        (identifier,) = struct.unpack(">I", payload[:4])
        return self._streams.get(identifier & 0x7FFFFFFF)

    def _send_control(self, kind: int, flags: int, payload: bytes) -> None:
        self._connection.write(struct.pack(">HHI", _VERSION, kind, flags << 24 | len(payload)) + payload)

    def _compress(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            texts = (name.lower().encode(), value.encode())
            parts.extend(struct.pack(">I", len(text)) + text for text in texts)
        return self._compressor.compress(b"".join(parts)) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def _decompress(self, block: bytes) -> dict[str, str]:
        data = self._decompressor.decompress(block, _MAX_HEADERS)
        if self._decompressor.unconsumed_tail:
            raise SPDYError("the headers are too large")
        (count,) = struct.unpack_from(">I", data)
        position = 4
        headers: dict[str, str] = {}
        for _ in range(count):
            texts = []
            for _ in range(2):
                (size,) = struct.unpack_from(">I", data, position)
                texts.append(data[position + 4 : position + 4 + size].decode(errors="replace"))
                position += 4 + size
                if position > len(data):
                    raise SPDYError("the headers are cut short")
            headers[texts[0].lower()] = texts[1]
        return headers

    def _end(self) -> None:
        self._closed.set()
        self._relieved.set()
        for stream in tuple(self._streams.values()):
            stream.end()
        self._streams.clear()
