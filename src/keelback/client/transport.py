"""How a client's requests travel: a protocol, and the transport that enters the API server's pipeline in process.

`HTTPSTransport` in `keelback.client.https` is the one over the network. Whoever holds a transport knows neither.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from keelback.component.http import (
    IN_PROCESS,
    Connection,
    Handler,
    Request,
    Response,
    StreamingResponse,
    UpgradeResponse,
)
from keelback.concurrency.deadlines import Deadlines
from keelback.concurrency.silence import Silence

# A writer in process is told to wait once this much has not been taken yet.
_HIGH_WATER_BYTES = 1 << 18
IN_PROCESS_WATCH_SECONDS = 30 * 86_400.0
"""How long watches in process are asked for: no connection is there to die unnoticed."""


class StreamedResponse(Protocol):
    """A response whose body is taken as it comes."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's pieces, as they arrive. Raises TimeoutError where none arrives for the stream's idle time."""
        ...

    async def content(self) -> bytes:
        """The rest of the body, in one piece."""
        ...


class Transport(Protocol):
    """Carries requests to one API server."""

    async def send(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        """The complete response. Raises TimeoutError past the deadline, OSError where the server is not reached."""
        ...

    def stream(
        self, request: Request, *, timeout_seconds: float = 30.0, idle_seconds: float = 0.0
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """A response taken as it comes; the deadline is for its head, `idle_seconds` (0: none) for each piece."""
        ...

    async def upgrade(self, request: Request, *, timeout_seconds: float = 30.0) -> tuple[Response, Connection | None]:
        """Ask for another protocol: the answer's head and, where that is 101, the raw connection, now the caller's."""
        ...

    async def close(self) -> None:
        """Give up all connections."""
        ...


class InProcessTransport:
    """Calls a handler directly, as a given identity: no socket, no TLS, the same pipeline."""

    def __init__(self, handler: Handler, identity: object = None, headers: Mapping[str, str] | None = None) -> None:
        self._handler = handler
        self._identity = identity
        self._headers = dict(headers or {})
        self._deadlines = Deadlines()

    async def send(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        """The complete response; a streaming one is collected."""
        with self._deadlines.within(timeout_seconds):
            response = await self._handler(self._identified(request))
            if isinstance(response, Response):
                return response
            if isinstance(response, UpgradeResponse):
                raise ConnectionError(f"{request.path} asks for a raw connection: use upgrade")
            async with _serving(response, 0.0) as streamed:
                return Response(response.status, response.headers, await streamed.content())

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeout_seconds: float = 30.0, idle_seconds: float = 0.0
    ) -> AsyncIterator[StreamedResponse]:
        """A response taken as it comes."""
        with self._deadlines.within(timeout_seconds):
            response = await self._handler(self._identified(request))
        if isinstance(response, UpgradeResponse):
            raise ConnectionError(f"{request.path} asks for a raw connection: use upgrade")
        if isinstance(response, Response):
            yield _Complete(response)
            return
        async with _serving(response, idle_seconds) as streamed:
            yield streamed

    async def upgrade(self, request: Request, *, timeout_seconds: float = 30.0) -> tuple[Response, Connection | None]:
        """Not possible without a socket. Raises ConnectionError."""
        raise ConnectionError("exec, attach and port-forward need the HTTPS transport")

    async def close(self) -> None:
        """Nothing to give up."""

    def _identified(self, request: Request) -> Request:
        headers = {**self._headers, **request.headers} if self._headers else request.headers
        return Request(
            request.method, request.path, request.query, headers, request.body, None, IN_PROCESS, self._identity
        )


class _Complete:
    """A complete response where a streamed one was asked for: an error, mostly."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._response.content()

    async def content(self) -> bytes:
        return self._response.content()


class _Pipe:
    """The two ends of a streaming response in process: the handler writes, the client takes. Bounded by `drain`."""

    def __init__(self, response: StreamingResponse, idle_seconds: float) -> None:
        self.status = response.status
        self.headers = response.headers
        self._silence = Silence(idle_seconds, self._wake_reader)
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._closed = asyncio.Event()
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()

    # The writer's end.

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def write(self, data: bytes) -> None:
        if not self._closed.is_set() and data:
            self._pieces.append(data)
            self._size += len(data)
            self._wake_reader()

    async def drain(self) -> None:
        while self._size > _HIGH_WATER_BYTES and not self._closed.is_set():
            self._writable.clear()
            await self._writable.wait()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def end(self) -> None:
        self._ended = True
        self._wake_reader()

    # The reader's end.

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._size -= len(piece)
                if self._size <= _HIGH_WATER_BYTES:
                    self._writable.set()
                yield piece
            if self._ended:
                return
            self._reader = asyncio.get_running_loop().create_future()
            self._silence.begin()
            try:
                await self._reader
            finally:
                self._silence.end()
                self._reader = None
            if self._silence.is_over:
                raise TimeoutError

    async def content(self) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    def close(self) -> None:
        self._closed.set()
        self._writable.set()
        self._silence.close()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


@asynccontextmanager
async def _serving(response: StreamingResponse, idle_seconds: float) -> AsyncIterator[_Pipe]:
    pipe = _Pipe(response, idle_seconds)

    async def serve() -> None:
        try:
            await response.serve(pipe)
        finally:
            pipe.end()

    task = asyncio.get_running_loop().create_task(serve())
    try:
        yield pipe
    finally:
        # A handler that heeds `closed` ends by itself; one that waits for something else is cancelled.
        pipe.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
