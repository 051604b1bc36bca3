"""HTTP/1.1 on one server connection: requests in, responses out, in order, each in one write unless it is large.

httptools parses; one task per connection asks the handler for one request after the other. What may be sent ahead
(pipelining), how large a head or a body may be and how long a connection may idle is bounded by `Limits`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from urllib.parse import unquote

import httptools

from keelback.component import logs
from keelback.component.connection import RawConnection
from keelback.component.http import (
    AnyResponse,
    Handler,
    Request,
    Response,
    StreamingResponse,
    UpgradeResponse,
    text_response,
)
from keelback.component.http1_bodies import ends_of, gzipped, writes
from keelback.component.http1_heads import header_name, response_head

# A client that sends more requests ahead than this waits.
_PIPELINE: Final = 32
# As Go waits before it closes on a client that may still be sending; longer while it is.
_LINGER_SECONDS: Final = 0.5
_LINGER_ROUNDS: Final = 10
# What one client does not take is kept for it encrypted; a thousand slow watchers are a thousand times this.
_UNSENT_BYTES: Final = 16 << 10
_BAD_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")
_WITHOUT_BODY = frozenset((101, 204, 304))

_log = logs.logger("serving")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the server; sizes in bytes, times in seconds, as upstream has them."""

    body_bytes: int = 3 << 20
    header_bytes: int = 1 << 20
    connections: int = 20_000
    idle_seconds: float = 90.0
    header_seconds: float = 32.0
    stall_seconds: float = 300.0
    """How long a client may leave what was sent to it unread."""
    gzip_bytes: int = 128 << 10
    gzip_on_loopback: bool = False
    """Compressing costs more than it saves where both ends are one machine."""


class Shared(Protocol):
    """What connections share: their server."""

    handler: Handler
    limits: Limits
    closing: bool
    too_large: Callable[[int], Response]

    def date(self) -> str:
        """The Date header's value."""
        ...

    def opened(self, connection: HTTPConnection) -> bool:
        """Count a connection; False where there are too many."""
        ...

    def closed(self, connection: HTTPConnection) -> None:
        """A connection is gone."""
        ...


class _Parsed:
    """A request with what matters for the connection alone."""

    __slots__ = ("keep_alive", "request", "response", "upgrade")

    def __init__(self, request: Request, keep_alive: bool, upgrade: bool, response: Response | None = None) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.response = response


class HTTPConnection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._requests: deque[_Parsed] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._raw: RawConnection | None = None
        self._tail = b""
        self._peer_certificate: bytes | None = None
        self._remote = ""
        self._loopback = False
        self.busy = False
        self.streaming = False
        self.since = self._loop.time()
        """When the connection became idle or a request began to arrive."""
        self.stalled_since = 0.0
        """When the client began not to take what is sent, or 0; a connection that has left HTTP is not judged."""
        self._ended = False
        self._lost = False
        self._upgrading = False
        self._discarding = False
        self._discarded = False
        self._reading_paused = False
        self._write_paused = False
        self._drained: asyncio.Event | None = None
        self._gone: asyncio.Event | None = None
        # The request that is arriving.
        self.receiving = False
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._refused: Response | None = None

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit
        self._transport = transport
        transport.set_write_buffer_limits(_UNSENT_BYTES)
        if not self._shared.opened(self):
            self._lost = True
            transport.abort()
            return
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._remote = str(peer[0])
            self._loopback = self._remote.startswith("127.") or self._remote == "::1"
        else:
            self._loopback = True
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._peer_certificate = tls.getpeercert(binary_form=True)
        self.task = self._loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw.feed(data)
        elif self._upgrading:
            self._tail += data
            self._pause_reading()
        elif self._discarding:
            self._discarded = True
        elif not self._ended:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._upgrading = True
                self._tail = data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse(_bad_request(error))

    def eof_received(self) -> bool:
        if self._raw is not None:
            self._raw.feed_eof()
            # Over TLS there is no half of a connection to keep.
            return self._transport.can_write_eof()
        self._end()
        # A client may close its sending half and still read the answer; one that watches no more is gone.
        return not self.streaming and not self._discarding and self._occupied()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._shared.closed(self)
        if self._raw is not None:
            self._raw.lost()
        if self._drained is not None:
            self._drained.set()
        if self._gone is not None:
            self._gone.set()
        self._end()
        if self.streaming:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._raw is not None:
            self._raw.pause_writing()
        else:
            self.stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        self._write_paused = False
        self.stalled_since = 0.0
        if self._raw is not None:
            self._raw.resume_writing()
        if self._drained is not None:
            self._drained.set()

    # The parser's side.

    def on_message_begin(self) -> None:
        self.receiving = True
        if not self.busy:
            self.since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        key = header_name(name)
        text = value.decode("latin-1")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        headers = self._headers
        length = headers.get("content-length")
        if length is not None and int(length) > self._shared.limits.body_bytes:
            self._refused = self._shared.too_large(self._shared.limits.body_bytes)
        elif (problem := self._head_problem()) is not None:
            self._refused = text_response(f"400 Bad Request{problem}", 400)
        elif "expect" in headers and headers["expect"].lower() == "100-continue" and not self._occupied():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._refused is not None:
            raise _RefusedError

    def _head_problem(self) -> str | None:
        """What Go's server refuses although it parses."""
        host = self._headers.get("host")
        if host is None and self._parser.get_http_version() != "1.0":
            return ": missing required Host header"
        if host is not None and "," in host:
            return ": too many Host headers"
        if b"%" in self._url and _BAD_ESCAPE.search(self._url.partition(b"?")[0]):
            return ""
        return None

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._shared.limits.body_bytes:
            self._refused = self._shared.too_large(self._shared.limits.body_bytes)
            raise _RefusedError
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        pieces = self._body
        body = b"" if not pieces else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        keep_alive = parser.should_keep_alive()
        self._requests.append(_Parsed(self._request(body), keep_alive, parser.should_upgrade()))
        self._url = b""
        self._headers = {}
        self._head_size = 0
        if pieces:
            self._body = []
            self._body_size = 0
        self.receiving = False
        if len(self._requests) >= _PIPELINE:
            self._pause_reading()
        self._wake()

    # The handler's side.

    async def _run(self) -> None:
        shared = self._shared
        requests = self._requests
        try:
            while True:
                if not requests:
                    if self._ended or shared.closing:
                        break
                    self.busy = False
                    self.since = self._loop.time()
                    self._waiter = self._loop.create_future()
                    await self._waiter
                    continue
                parsed = requests.popleft()
                self.busy = True
                if self._reading_paused and not self._upgrading:
                    self._resume_reading()
                response = parsed.response or await self._ask(parsed.request)
                if type(response) is Response:
                    # A refused upgrade cannot go on as HTTP: what follows may already be the other protocol.
                    keep_alive = parsed.keep_alive and not parsed.upgrade and not shared.closing
                    await self._send(parsed.request, response, keep_alive)
                elif isinstance(response, StreamingResponse):
                    keep_alive = await self._stream(parsed, response)
                else:
                    assert isinstance(response, UpgradeResponse)
                    await self._hand_over(response)
                    break
                if parsed.response is not None:
                    await self._linger()
                if self._lost or not keep_alive:
                    break
                if self._write_paused:
                    await self.drain()
        except asyncio.CancelledError:
            if not self._lost and not shared.closing:
                raise
        finally:
            if not self._lost:
                self._transport.close()

    async def _ask(self, request: Request) -> AnyResponse:
        try:
            return await self._shared.handler(request)
        except Exception as error:
            _log.exception("A handler failed", error, method=request.method, path=request.path)
            return text_response("Internal Server Error\n", 500)

    async def _send(self, request: Request, response: Response, keep_alive: bool) -> None:
        if self._lost:
            return
        body = response.body
        ends = ends_of(body)
        head_extra = ""
        limits = self._shared.limits
        if ends[-1] >= limits.gzip_bytes and self._compresses(request, response):
            body = await gzipped(self._loop, body)
            ends = ends_of(body)
            head_extra = "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        if response.status not in _WITHOUT_BODY:
            head_extra += f"Content-Length: {ends[-1]}\r\n"
        if not keep_alive:
            head_extra += "Connection: close\r\n"
        head = response_head(response.status, response.headers, self._shared.date(), head_extra)
        if request.method == "HEAD" or response.status in _WITHOUT_BODY:
            self._transport.write(head)
            return
        for data in writes(head, body, ends):
            if self._write_paused:
                # A large body leaves room for the requests of others between its writes.
                await self.drain()
            if self._lost:
                return
            self._transport.write(data)

    def _compresses(self, request: Request, response: Response) -> bool:
        return (
            "gzip" in request.headers.get("accept-encoding", "")
            and (not self._loopback or self._shared.limits.gzip_on_loopback)
            and "content-encoding" not in response.headers
            and response.status == 200
        )

    async def _stream(self, parsed: _Parsed, response: StreamingResponse) -> bool:
        """Serve a streaming response; whether the connection can be used on."""
        request = parsed.request
        chunked = self._version_has_chunks(parsed)
        keep_alive = parsed.keep_alive and chunked and not parsed.upgrade
        extra = "Transfer-Encoding: chunked\r\n" if chunked else ""
        if not keep_alive:
            extra += "Connection: close\r\n"
        self._transport.write(response_head(response.status, response.headers, self._shared.date(), extra))
        if request.method == "HEAD":
            return keep_alive
        self.streaming = True
        try:
            if self._lost or self._ended or self._shared.closing:
                keep_alive = False
            else:
                await response.serve(_ChunkWriter(self) if chunked else _PlainWriter(self))
        except asyncio.CancelledError:
            # The server is stopping: the stream ends in good order, so that the client asks elsewhere.
            if not self._shared.closing:
                raise
            keep_alive = False
        except Exception as error:
            _log.exception("A stream failed", error, method=request.method, path=request.path)
            # Without the last chunk the client knows that the response is incomplete.
            return False
        finally:
            self.streaming = False
        if chunked and not self._lost:
            self._transport.write(b"0\r\n\r\n")
        return keep_alive and not self._shared.closing

    async def _linger(self) -> None:
        """Take and drop what a refused client still sends: closing on it would reset the answer away."""
        self._discarding = True
        self._resume_reading()
        for _ in range(_LINGER_ROUNDS):
            self._discarded = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    await self.wait_gone()
            if not self._discarded or self._lost:
                break

    def _version_has_chunks(self, parsed: _Parsed) -> bool:
        # A client of HTTP/1.0 does not pipeline, so the parser still stands at this request.
        return bool(self._requests) or str(self._parser.get_http_version()) != "1.0"

    async def _hand_over(self, response: UpgradeResponse) -> None:
        raw = RawConnection(self._transport, self._tail)
        self._tail = b""
        if self._lost:
            raw.lost()
        if self._ended:
            raw.feed_eof()
        self._raw = raw
        self._resume_reading()
        try:
            await response.serve(raw)
        except ConnectionError:
            pass  # the client has gone, which is its right
        except Exception as error:
            _log.exception("An upgraded connection failed", error, remote=self._remote)
        finally:
            raw.close()

    async def drain(self) -> None:
        """Return when the transport has room, or is gone."""
        while self._write_paused and not self._lost:
            if self._drained is None:
                self._drained = asyncio.Event()
            self._drained.clear()
            await self._drained.wait()

    async def wait_gone(self) -> None:
        """Return when the connection is lost or the server stops."""
        if self._gone is None:
            self._gone = asyncio.Event()
            if self._lost or self._shared.closing:
                self._gone.set()
        await self._gone.wait()

    @property
    def gone(self) -> bool:
        """Whether the connection is lost or the server stops."""
        return self._lost or self._shared.closing

    def write(self, data: bytes) -> None:
        """Send bytes unless the connection is lost."""
        if not self._lost:
            self._transport.write(data)

    def stop(self) -> None:
        """End as soon as what is being answered is answered; streams end now."""
        if self._gone is not None:
            self._gone.set()
        if self.streaming:
            self.task.cancel()
        self._wake()

    def close_idle(self) -> None:
        """End a connection that waits for a request."""
        self._end()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    # Small parts.

    def _request(self, body: bytes) -> Request:
        target = self._url.decode("latin-1")
        if not target.startswith("/") and "://" in target:
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        if "%" in path:
            path = unquote(path)
        method = self._parser.get_method().decode("ascii")
        return Request(method, path, query, self._headers, body, self._peer_certificate, self._remote)

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._shared.limits.header_bytes:
            self._refused = text_response("431 Request Header Fields Too Large", 431)
            raise _RefusedError

    def _refuse(self, response: Response) -> None:
        """Answer what cannot be understood, after what came before it, and listen no more."""
        if self._refused is not None:
            response, self._refused = self._refused, None
        self._requests.append(_Parsed(Request("", ""), False, False, response))
        self._pause_reading()
        self._end()

    def _occupied(self) -> bool:
        return self.busy or bool(self._requests)

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._lost:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._lost and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()


class _PlainWriter:
    """The writer of a stream whose end is the end of the connection."""

    __slots__ = ("_connection",)

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        return self._connection.gone

    def write(self, data: bytes) -> None:
        self._connection.write(data)

    async def drain(self) -> None:
        await self._connection.drain()

    async def wait_closed(self) -> None:
        await self._connection.wait_gone()


class _ChunkWriter(_PlainWriter):
    """The writer of a chunked stream."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        # An empty chunk would end the stream.
        if data:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))


class _RefusedError(Exception):
    """Stops the parser: the request will not be taken."""


def _bad_request(error: Exception) -> Response:
    return text_response(f"400 Bad Request: {error}", 400)
