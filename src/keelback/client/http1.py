"""HTTP/1.1 on one client connection: one request at a time, its response whole or piece by piece."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

import httptools

from keelback.component.connection import RawConnection
from keelback.component.http import Response
from keelback.concurrency.silence import Silence

# The transport is told to stop reading while a stream's reader lags behind by this much.
_HIGH_WATER_BYTES: Final = 1 << 20
# As Go's HTTP/2 health check in client-go: noticed within 45 seconds.
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class NotSentError(ConnectionResetError):
    """The connection was gone before anything was sent."""


class ClientConnection(asyncio.Protocol):
    """A connection that knows whether it can be used again."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpResponseParser(self)
        self._head: asyncio.Future[int] | None = None
        """Done when the head (of a streamed response) or all of the response is here."""
        self._streamed: _Streamed | None = None
        self._raw: RawConnection | None = None
        self._tail = b""
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_only = False
        self._complete = True
        self._keep_alive = True
        self._lost = False

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent."""
        return self._complete and self._keep_alive and not self._lost and not self._transport.is_closing()

    async def send(self, data: bytes, *, head_only: bool = False) -> Response:
        """Send a request and take its whole response. Raises ConnectionError where the connection breaks."""
        await self._start(data, head_only)
        pieces = self._body
        body = b"" if not pieces else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._body = []
        if body and self._headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
        return Response(self._status, self._headers, body)

    async def open(self, data: bytes, idle_seconds: float) -> _Streamed:
        """Send a request and take its response as it comes."""
        streamed = self._streamed = _Streamed(self, idle_seconds)
        await self._start(data, False)
        streamed.status = self._status
        streamed.headers = self._headers
        return streamed

    def hand_over(self) -> RawConnection:
        """The raw connection, after a 101."""
        self._raw = RawConnection(self._transport, self._tail)
        if self._lost:
            self._raw.lost()
        return self._raw

    def close(self) -> None:
        """Close in good order."""
        self._transport.close()

    def abort(self) -> None:
        """Close now: what is under way is of no use."""
        self._keep_alive = False
        self._transport.abort()

    async def _start(self, data: bytes, head_only: bool) -> None:
        if self._lost:
            raise NotSentError("the connection was closed")
        self._complete = False
        self._head_only = head_only
        self._status = 0
        self._headers = {}
        self._head = self._loop.create_future()
        self._transport.write(data)
        await self._head

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family != socket.AF_UNIX:
            # A watch sends nothing: without probes a server that has vanished looks like a quiet one.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEP_ALIVE.items():
                if hasattr(socket, name):
                    connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw.feed(data)
            return
        if self._complete:
            # Nothing was asked: the server says why it closes, or has lost count.
            if self._status == 101:
                self._tail += data
            else:
                self._keep_alive = False
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._tail = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"the server's answer is not HTTP: {error}"))
            self.abort()

    def eof_received(self) -> bool:
        if self._raw is not None:
            self._raw.feed_eof()
            # Over TLS there is no half of a connection to keep.
            return self._transport.can_write_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._raw is not None:
            self._raw.lost()
        if not self._complete and not self._keep_alive and self._ends_with_connection():
            self._finish()
        self._fail(ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        if self._raw is not None:
            self._raw.pause_writing()

    def resume_writing(self) -> None:
        if self._raw is not None:
            self._raw.resume_writing()

    # The parser's side.

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if 100 <= self._status < 200 and self._status != 101:
            return
        self._keep_alive = self._parser.should_keep_alive()
        if self._head_only:
            # The parser would wait for the body that the length announces.
            self._keep_alive = False
            self._finish()
        elif self._streamed is not None:
            self._answer()

    def on_body(self, body: bytes) -> None:
        if self._streamed is not None:
            self._streamed.feed(body)
        elif not self._complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if 100 <= self._status < 200 and self._status != 101:
            self._headers = {}
            return
        if not self._complete:
            self._finish()

    def _finish(self) -> None:
        self._complete = True
        if self._streamed is not None:
            self._streamed.end()
            self._streamed = None
        self._answer()

    def _answer(self) -> None:
        if self._head is not None and not self._head.done():
            self._head.set_result(self._status)

    def _fail(self, error: ConnectionError) -> None:
        if self._streamed is not None:
            self._streamed.end(error)
            self._streamed = None
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)

    def _ends_with_connection(self) -> bool:
        headers = self._headers
        return self._status > 0 and "content-length" not in headers and "transfer-encoding" not in headers

    def pause_reading(self) -> None:
        """A stream's reader lags behind."""
        if not self._lost:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """A stream's reader has caught up."""
        if not self._lost and not self._transport.is_closing():
            self._transport.resume_reading()


class _Streamed:
    """A response whose body is taken as it comes."""

    def __init__(self, connection: ClientConnection, idle_seconds: float) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._connection = connection
        self._silence = Silence(idle_seconds, self._wake)
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._ended = False
        self._error: ConnectionError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's pieces; what arrived together comes together."""
        while True:
            if self._pieces:
                piece = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces.clear()
                self._size = 0
                if self._paused:
                    self._paused = False
                    self._connection.resume_reading()
                yield piece
                continue
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            self._waiter = asyncio.get_running_loop().create_future()
            self._silence.begin()
            try:
                await self._waiter
            finally:
                self._silence.end()
            if self._silence.is_over:
                raise TimeoutError

    async def content(self) -> bytes:
        """The rest of the body, in one piece."""
        return b"".join([piece async for piece in self.chunks()])

    def feed(self, data: bytes) -> None:
        """A piece has arrived."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._connection.pause_reading()
        self._wake()

    def end(self, error: ConnectionError | None = None) -> None:
        """Nothing more arrives."""
        self._ended = True
        self._error = error
        self._silence.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
