"""Port-forward: pairs of a data and an error stream for each connection to a port, whichever way the client speaks.

`respond` serves plain SPDY/3.1, the same SPDY inside WebSocket messages, and WebSocket channels for fixed ports;
`Forwarder` is the client's side over SPDY.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Self, TypeAlias

from keelback.component import websocket
from keelback.component.http import Connection, Request, Response, UpgradeResponse, parse_query, text_response
from keelback.component.remotecommand import Channel, Stream, pump
from keelback.component.spdy import SPDYSession, SPDYStream
from keelback.component.websocket import Opcode, WebSocket

_PROTOCOL: Final = "portforward.k8s.io"
_TUNNEL: Final = f"SPDY/3.1+{_PROTOCOL}"
_CHANNELS: Final = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", "")
_PAIR_SECONDS: Final = 30.0
_OPEN_SECONDS: Final = 30.0

# Gets the port, the data and the error stream of one connection; text written to the latter is shown to the user.
Serve: TypeAlias = Callable[[int, Stream, Stream], Awaitable[None]]


def requested_ports(request: Request) -> tuple[int, ...]:
    """The ports in the query, which only clients on WebSocket channels name. Raises ValueError for what is no port."""
    texts = [value for name, value in parse_query(request.query) if name in ("ports", "port")]
    ports = tuple(int(part) for text in texts for part in text.split(","))
    if any(not 0 < port < 65536 for port in ports):
        raise ValueError("a port is not between 1 and 65535")
    return ports


def respond(request: Request, serve: Serve) -> Response | UpgradeResponse:
    """Take the connection over for port-forward; `serve` is called for each connection to a port."""
    if websocket.is_upgrade(request, "websocket"):
        if _TUNNEL in websocket.offered_protocols(request):

            async def tunnelled(socket: WebSocket, protocol: str) -> None:
                await _serve_spdy(Tunnel(socket), serve)

            return websocket.respond(request, (_TUNNEL,), tunnelled)
        try:
            ports = requested_ports(request)
        except ValueError as error:
            return text_response(f"{error}\n", 400)
        if not ports:
            return text_response('query parameter "port" is required\n', 400)

        async def channelled(socket: WebSocket, protocol: str) -> None:
            await _serve_channels(socket, "base64" in protocol, ports, serve)

        return websocket.respond(request, _CHANNELS, channelled)
    if not websocket.is_upgrade(request, "SPDY/3.1"):
        return text_response("unable to upgrade: missing upgrade headers in request\n", 400)
    offered = [part.strip() for part in request.headers.get("x-stream-protocol-version", "").split(",") if part.strip()]
    if offered and _PROTOCOL not in offered:
        headers = {"content-type": "text/plain", "x-accepted-stream-protocol-versions": _PROTOCOL}
        return Response(403, headers, b"unable to upgrade: unable to negotiate protocol\n")

    async def upgraded(connection: Connection) -> None:
        head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        connection.write(f"{head}X-Stream-Protocol-Version: {_PROTOCOL}\r\n\r\n".encode())
        await _serve_spdy(connection, serve)

    return UpgradeResponse(upgraded)


def client_headers() -> dict[str, str]:
    """The headers that ask a server for port-forward over SPDY."""
    return {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": _PROTOCOL}


class Forwarder:
    """The client's side on a connection that has been upgraded to SPDY/3.1."""

    def __init__(self, connection: Connection) -> None:
        self._session = SPDYSession(connection, is_server=False)
        self._requests = 0

    async def __aenter__(self) -> Self:
        self._running = asyncio.ensure_future(self._session.run())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._session.close()
        await asyncio.gather(self._running, return_exceptions=True)

    async def open(self, port: int) -> tuple[Stream, Stream]:
        """A connection to a port: its data stream and the stream that says what went wrong."""
        headers = {"port": str(port), "requestID": str(self._requests)}
        self._requests += 1
        async with asyncio.timeout(_OPEN_SECONDS):
            error = await self._session.open({"streamType": "error", **headers})
            await error.wait_replied()
            await error.close_write()
            data = await self._session.open({"streamType": "data", **headers})
            await data.wait_replied()
        return data, error


async def bridge(data: Stream, error: Stream, runtime_data: Stream, runtime_error: Stream) -> None:
    """Carry one connection between a client and a runtime until both directions have ended."""
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(pump(runtime_error, error))
        inward = group.create_task(pump(data, runtime_data))
        await pump(runtime_data, data)
        # The port's side has ended: what the client still sends nobody takes.
        inward.cancel()
        await telling


class _Pairs:
    """Brings data and error streams of one request together and serves each pair."""

    def __init__(self, serve: Serve, group: asyncio.TaskGroup) -> None:
        self._serve = serve
        self._group = group
        self._waiting: dict[str, dict[str, SPDYStream]] = {}

    async def take(self, stream: SPDYStream) -> bool:
        """A stream was opened; False where it fits nowhere."""
        kind = stream.headers.get("streamtype", "")
        port = stream.headers.get("port", "")
        if kind not in ("data", "error") or not port.isdigit() or not 0 < int(port) < 65536:
            return False
        # Old clients send no request id: theirs are the pairs of stream numbers next to each other.
        number = stream.identifier
        request = stream.headers.get("requestid") or str(number if kind == "error" else number - 2)
        pair = self._waiting.setdefault(request, {})
        if kind in pair:
            return False
        pair[kind] = stream
        if len(pair) == 2:
            del self._waiting[request]
            self._group.create_task(self._run(int(port), pair["data"], pair["error"]))
        else:
            self._group.create_task(self._give_up(request, stream))
        return True

    async def _run(self, port: int, data: SPDYStream, error: SPDYStream) -> None:
        try:
            await self._serve(port, data, error)
        except ConnectionError:
            pass  # the client has gone
        finally:
            for stream in (data, error):
                try:
                    await stream.close_write()
                except ConnectionError:
                    await stream.reset()

    async def _give_up(self, request: str, stream: SPDYStream) -> None:
        await asyncio.sleep(_PAIR_SECONDS)
        if self._waiting.get(request, {}).get(stream.headers["streamtype"]) is stream:
            del self._waiting[request]
            await stream.reset()


async def _serve_spdy(connection: Connection, serve: Serve) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            pairs = _Pairs(serve, group)
            session = SPDYSession(connection, is_server=True, on_stream=pairs.take)
            try:
                await session.run()
            finally:
                session.close()
            # The client is gone, and with it whatever was served.
            raise _ClientGoneError
    except* _ClientGoneError:
        pass


class _ClientGoneError(Exception):
    """Ends the tasks of one client."""


async def _serve_channels(socket: WebSocket, is_text: bool, ports: Sequence[int], serve: Serve) -> None:
    channels = [Channel(socket, number, is_text) for number in range(2 * len(ports))]
    for index, port in enumerate(ports):
        # The client learns from these which channel is which.
        for channel in channels[2 * index : 2 * index + 2]:
            await channel.write(struct.pack("<H", port))

    async def serve_port(port: int, data: Channel, error: Channel) -> None:
        with contextlib.suppress(ConnectionError):  # the client has gone
            await serve(port, data, error)

    async def read() -> None:
        while (message := await socket.read()) is not None:
            number, payload = Channel.split(message[1], is_text)
            if payload and number % 2 == 0 and number < len(channels):
                await channels[number].feed(payload)
        raise _ClientGoneError

    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            served = [
                group.create_task(serve_port(port, channels[2 * index], channels[2 * index + 1]))
                for index, port in enumerate(ports)
            ]
            await asyncio.wait(served)
            reading.cancel()
    except* (_ClientGoneError, ConnectionError):
        pass


class Tunnel:
    """A byte stream inside the binary messages of a WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._buffer = bytearray()
        self._ended = False

    @property
    def closed(self) -> bool:
        return self._ended or self._socket.closed

    @property
    def can_half_close(self) -> bool:
        return False

    async def read(self, max_bytes: int = 65536) -> bytes:
        await self._fill(1)
        return self._take(min(max_bytes, len(self._buffer)))

    async def read_exactly(self, size: int) -> bytes:
        await self._fill(size)
        if len(self._buffer) < size:
            raise asyncio.IncompleteReadError(bytes(self._buffer), size)
        return self._take(size)

    def write(self, data: bytes) -> None:
        if not self._socket.closed:
            self._socket.write(data)

    def write_eof(self) -> None:
        pass

    async def drain(self) -> None:
        await self._socket.drain()

    def close(self) -> None:
        self._socket.close()

    async def wait_closed(self) -> None:
        await self._socket.wait_closed()

    async def _fill(self, size: int) -> None:
        while len(self._buffer) < size and not self._ended:
            message = await self._socket.read()
            if message is None:
                self._ended = True
            elif message[0] is Opcode.BINARY:
                self._buffer += message[1]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
