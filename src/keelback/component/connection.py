"""A raw byte stream over an asyncio transport: what is left when a connection leaves HTTP, or was dialled for itself.

Reading is bounded: past a high-water mark the transport is told to stop until somebody reads.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

from keelback.component.http import Connection

_HIGH_WATER_BYTES = 1 << 18


class RawConnection:
    """A `keelback.component.http.Connection`. The protocol that owns the transport feeds it."""

    def __init__(self, transport: asyncio.Transport, initial: bytes = b"") -> None:
        self._transport = transport
        self._buffer = bytearray(initial)
        self._eof = False
        self._lost = asyncio.Event()
        self._readable: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False

    @property
    def closed(self) -> bool:
        """Whether the connection is gone or going."""
        return self._lost.is_set() or self._transport.is_closing()

    @property
    def can_half_close(self) -> bool:
        """Whether `write_eof` reaches the other side while reading goes on: not over TLS."""
        return self._transport.can_write_eof()

    async def read(self, max_bytes: int = 65536) -> bytes:
        """The next bytes, at least one; empty at the end of the stream."""
        while not self._buffer:
            if self._eof:
                return b""
            await self._wait_readable()
        return self._take(min(max_bytes, len(self._buffer)))

    async def read_exactly(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises asyncio.IncompleteReadError where the stream ends before."""
        while len(self._buffer) < size:
            if self._eof:
                raise asyncio.IncompleteReadError(bytes(self._buffer), size)
            self._resume_reading()
            await self._wait_readable()
        return self._take(size)

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent; dropped where the connection is gone."""
        if data and not self._lost.is_set():
            self._transport.write(data)

    def write_eof(self) -> None:
        """Say that nothing more will be sent, where the transport can (TLS cannot); reading goes on."""
        if not self.closed and self._transport.can_write_eof():
            self._transport.write_eof()

    async def drain(self) -> None:
        """Return once there is room for more. Raises ConnectionError when the connection is gone."""
        if self._lost.is_set():
            raise ConnectionResetError("the connection is closed")
        await self._writable.wait()

    def close(self) -> None:
        """Send what is queued, then close."""
        self._transport.close()

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await self._lost.wait()

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._buffer += data
        self._wake_reader()
        if len(self._buffer) > _HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        """Nothing more will arrive."""
        self._eof = True
        self._wake_reader()

    def lost(self) -> None:
        """The transport is gone."""
        self._eof = True
        self._lost.set()
        self._writable.set()
        self._wake_reader()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self._writable.set()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        if len(self._buffer) <= _HIGH_WATER_BYTES // 2:
            self._resume_reading()
        return taken

    def _resume_reading(self) -> None:
        if self._paused and not self.closed:
            self._paused = False
            self._transport.resume_reading()

    async def _wait_readable(self) -> None:
        self._readable = asyncio.get_running_loop().create_future()
        try:
            await self._readable
        finally:
            self._readable = None

    def _wake_reader(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)


class RawProtocol(asyncio.Protocol):
    """Feeds one raw connection for the life of its transport."""

    connection: RawConnection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit
        self.connection = RawConnection(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self.connection.feed(data)

    def eof_received(self) -> bool:
        """Keep the sending half open: the other side has only said that it will send no more."""
        self.connection.feed_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.connection.lost()

    def pause_writing(self) -> None:
        """Pass on."""
        self.connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self.connection.resume_writing()


async def dial(
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None = None,
    *,
    server_name: str | None = None,
    make_socket: Callable[[], socket.socket] | None = None,
    timeout_seconds: float = 10.0,
) -> RawConnection:
    """Connect, with a socket from `make_socket` where it must belong to another network namespace.

    Raises OSError where nobody answers, TimeoutError past the deadline, ssl.SSLError where trust fails.
    """
    loop = asyncio.get_running_loop()
    name = server_name if ssl_context else None
    async with asyncio.timeout(timeout_seconds):
        if make_socket is not None:
            made = await connected(make_socket(), host, port)
            _, protocol = await loop.create_connection(
                RawProtocol, sock=made, ssl=ssl_context, server_hostname=name or (host if ssl_context else None)
            )
            return protocol.connection
        _, protocol = await loop.create_connection(RawProtocol, host, port, ssl=ssl_context, server_hostname=name)
    return protocol.connection


async def connected(made: socket.socket, host: str, port: int) -> socket.socket:
    """The socket, connected to an address; closed where that fails."""
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, (host, port))
    except BaseException:
        made.close()
        raise
    return made


async def dial_unix(path: str, *, timeout_seconds: float = 10.0) -> RawConnection:
    """Connect to a unix socket."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_seconds):
        _, protocol = await loop.create_unix_connection(RawProtocol, path)
    return protocol.connection


async def splice(one: Connection, other: Connection) -> None:
    """Carry bytes both ways, byte for byte, until both directions have ended; both are closed then."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(one, other))
            group.create_task(_carry(other, one))
    finally:
        one.close()
        other.close()


async def _carry(source: Connection, target: Connection) -> None:
    while data := await source.read():
        target.write(data)
        try:
            await target.drain()
        except ConnectionError:
            break
    if source.closed or not target.can_half_close:
        target.close()
    else:
        target.write_eof()
