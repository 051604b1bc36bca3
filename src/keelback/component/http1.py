"""HTTP/1.1 on one server connection: requests in, responses out, in order, each in one write unless it is large.

`http1_requests` parses; one task per connection asks the handler for one request after the other. How much may be sent
ahead (pipelining), how large a head or a body may be and how long a connection may idle is bounded by `Limits`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from keelback.component import logs
from keelback.component.arrivals import ArrivalOrder
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
from keelback.component.http1_bodies import gzipped, size_of, writes
from keelback.component.http1_heads import response_head
from keelback.component.http1_requests import Arrival, Limits, RequestReader, RequestRefused
from keelback.concurrency.pause import Pause

FIRST_REQUEST_SECONDS: Final = 0.5
"""A server that ends waits for the first request of a connection that is as new as this. Go waits for five seconds."""
# A client that sends more requests ahead than this waits: so few bytes are parsed at once that it holds.
_PIPELINE: Final = 32
_PARSED_BYTES: Final = 16 << 10
# As Go waits before it closes on a client that may still be sending; longer while it is.
_LINGER_SECONDS: Final = 0.5
_LINGER_ROUNDS: Final = 10
# What one client does not take is kept for it encrypted; a thousand slow watchers are a thousand times this.
_UNSENT_BYTES: Final = 16 << 10
_WITHOUT_BODY = frozenset((101, 204, 304))

_log = logs.logger("serving")


class Shared(Protocol):
    """What connections share: their server."""

    handler: Handler
    limits: Limits
    arrivals: ArrivalOrder
    closing: bool
    keeps_alive: bool
    """Whether connections stay open after an answer: not once the server ends."""
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


class HTTPConnection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(self, shared.limits, shared.too_large)
        self._requests: deque[Arrival] = deque()
        self._waits_for_turn = False
        self._has_turn = False
        self._waiter: Pause | asyncio.Future[None] | None = None
        self._raw: RawConnection | None = None
        self._tail = b""
        self._unparsed = b""
        self._remote = ""
        self._loopback = False
        self.busy = False
        self.streaming = False
        self.since = self._loop.time()
        """When the connection became idle or a request began to arrive."""
        self.stalled_since = 0.0
        """When the client began not to take what is sent, or 0; a connection that has left HTTP is not judged."""
        self._opened = self.since
        self._has_asked = False
        self._ended = False
        self._lost = False
        self._upgrading = False
        self._is_refused = False
        self._discarding = False
        self._discarded = False
        self._reading_paused = False
        self._write_paused = False
        self._drained: asyncio.Event | None = None
        self._gone: asyncio.Event | None = None

    @property
    def receiving(self) -> bool:
        """Whether a request has begun to arrive."""
        return self._reader.receiving

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
            self._remote = self._reader.remote = str(peer[0])
            self._loopback = self._remote.startswith("127.") or self._remote == "::1"
        else:
            self._loopback = True
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._reader.peer_certificate = tls.getpeercert(binary_form=True)
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
            if self._unparsed or len(data) > _PARSED_BYTES:
                self._unparsed += data
                self._parse_some()
            else:
                self._parse(data)
            # Not before all has been parsed: what begins now may be answered before this returns.
            if self._requests and not self.busy and not self._waits_for_turn:
                self._ask_for_turn()

    def _parse_some(self) -> None:
        """Parse what has been read, until that is all or as many requests wait as may."""
        view, at = memoryview(self._unparsed), 0
        self._unparsed = b""
        while at < len(view) and len(self._requests) < _PIPELINE and not (self._upgrading or self._is_refused):
            self._parse(bytes(view[at : at + _PARSED_BYTES]))
            at += _PARSED_BYTES
        if self._upgrading:
            self._tail += view[at:]
        elif not self._is_refused:
            self._unparsed = bytes(view[at:])

    def _parse(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrading = True
            self._tail = data[upgrade.args[0] :]
        except RequestRefused as refused:
            self._refuse(refused.response)

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

    # The reader's side.

    def request_began(self) -> None:
        if not self.busy:
            self.since = self._loop.time()

    def request_came(self, came: Arrival) -> None:
        self._requests.append(came)
        if len(self._requests) >= _PIPELINE:
            self._pause_reading()

    def body_awaited(self) -> None:
        if not self._occupied():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # The handler's side.

    def begin(self) -> None:
        """It is the next request's turn."""
        self._waits_for_turn = False
        self._has_turn = True
        self._wake()

    def _ask_for_turn(self) -> None:
        request = self._requests[0].request
        self._waits_for_turn = True
        self._shared.arrivals.came(request.headers.get("authorization") or request.peer_certificate, self)

    async def _run(self) -> None:
        shared = self._shared
        requests = self._requests
        try:
            while True:
                if not requests:
                    if self._ended or (shared.closing and not self.is_new):
                        break
                    self.busy = False
                    self.since = self._loop.time()
                    await self._woken()
                    continue
                if not self._has_turn and requests[0].response is None:
                    if not self._waits_for_turn:
                        self._ask_for_turn()
                    if not self._has_turn:
                        await self._woken()
                    continue
                self._has_turn = False
                parsed = requests.popleft()
                self.busy = True
                self._has_asked = True
                if self._reading_paused and not self._upgrading and len(requests) < _PIPELINE // 2:
                    self._parse_some()
                    if len(requests) < _PIPELINE:
                        self._resume_reading()
                response = parsed.response or await self._ask(parsed.request)
                if type(response) is Response:
                    # A refused upgrade cannot go on as HTTP: what follows may already be the other protocol.
                    keep_alive = parsed.keep_alive and not parsed.upgrade and shared.keeps_alive
                    await self._send(parsed.request, response, keep_alive)
                elif isinstance(response, StreamingResponse):
                    keep_alive = await self._stream(parsed, response)
                elif isinstance(response, Response):
                    keep_alive = False
                    await self._send(parsed.request, response, keep_alive)
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
        body, pace = response.body, response.pace
        if pace is None:
            size = size_of(body)
        else:
            if pace.is_due:
                await pace.turn()
            pace.begin()
            size = size_of(body)
            pace.sent(0)
        head_extra = ""
        limits = self._shared.limits
        if size >= limits.gzip_bytes and self._compresses(request, response):
            body = await gzipped(self._loop, body)
            size = size_of(body)
            head_extra = "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        if response.status not in _WITHOUT_BODY:
            head_extra += f"Content-Length: {size}\r\n"
        if not keep_alive:
            head_extra += "Connection: close\r\n"
        head = response_head(response.status, response.headers, self._shared.date(), head_extra)
        if request.method == "HEAD" or response.status in _WITHOUT_BODY:
            self._transport.write(head)
            return
        for data in writes(head, body, size):
            if self._write_paused:
                # A large body leaves room for the requests of others between its writes.
                await self.drain()
            if pace is None:
                if not self._lost:
                    self._transport.write(data)
                continue
            if pace.is_due:
                # When many clients have room again at once, one is written to after the other.
                await pace.turn()
            if self._lost:
                return
            pace.begin()
            self._transport.write(data)
            pace.sent(len(data))

    def _compresses(self, request: Request, response: Response) -> bool:
        return (
            "gzip" in request.headers.get("accept-encoding", "")
            and (not self._loopback or self._shared.limits.gzip_on_loopback)
            and "content-encoding" not in response.headers
            and response.status == 200
        )

    async def _stream(self, parsed: Arrival, response: StreamingResponse) -> bool:
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

    def _version_has_chunks(self, parsed: Arrival) -> bool:
        # A client of HTTP/1.0 does not pipeline, so the parser still stands at this request.
        return bool(self._requests) or self._reader.version != "1.0"

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
        if self.is_new:
            self._loop.call_later(FIRST_REQUEST_SECONDS, self._wake)

    @property
    def is_new(self) -> bool:
        """Whether a first request may be on its way: nobody would send it again, as a client does that finds an old
        connection closed."""
        return not self._has_asked and self._loop.time() < self._opened + FIRST_REQUEST_SECONDS

    def close_idle(self) -> None:
        """End a connection that waits for a request."""
        self._end()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    # Small parts.

    def _refuse(self, response: Response) -> None:
        """Answer what cannot be understood, after what came before it, and listen no more."""
        self._is_refused = True
        self._requests.append(Arrival(Request("", ""), False, False, response))
        self._pause_reading()
        self._end()

    def _occupied(self) -> bool:
        return self.busy or bool(self._requests)

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _woken(self) -> Pause | asyncio.Future[None]:
        """Await it to be woken. Among several clients whoever has its turn goes on at once. One that is alone goes on
        once all its connections have been read: that, and a plain future, is a tenth of a get cheaper."""
        self._waiter = Pause(self._loop) if self._shared.arrivals.is_shared else self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if isinstance(waiter, Pause):
            waiter.end()
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)

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
