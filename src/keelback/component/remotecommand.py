"""exec and attach: one set of streams, whichever generation of the protocol the client speaks.

`respond` serves v1 to v4 over SPDY/3.1 and v1 to v5 over WebSocket; `connect` is the client over SPDY, which the
kubelet uses towards the container runtime (of the two it offers, only SPDY can end stdin); `bridge` joins the two.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from keelback.apimachinery.codecs import encode
from keelback.apimachinery.meta import Status, StatusCause, StatusDetails
from keelback.component import websocket
from keelback.component.http import (
    Connection,
    Request,
    Response,
    UpgradeResponse,
    query_flag,
    query_values,
    text_response,
)
from keelback.component.spdy import SPDYSession, SPDYStream
from keelback.component.websocket import Opcode, WebSocket

_STREAM_TYPES: Final = ("stdin", "stdout", "stderr", "error", "resize")
_CLOSE_CHANNEL: Final = 255
_OPEN_SECONDS: Final = 30.0
_HIGH_WATER_PIECES: Final = 64
_VERSIONS: Final = {
    "v5.channel.k8s.io": 5,
    "v4.channel.k8s.io": 4,
    "v3.channel.k8s.io": 3,
    "v2.channel.k8s.io": 2,
    "channel.k8s.io": 1,
    "v4.base64.channel.k8s.io": 4,
    "base64.channel.k8s.io": 1,
    "": 1,
}
_SPDY_PROTOCOLS: Final = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_WEBSOCKET_PROTOCOLS: Final = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
)


class Stream(Protocol):
    """Bytes in one or both directions."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end. Raises ConnectionError where it broke."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionError where nobody takes them any more."""
        ...

    async def close_write(self) -> None:
        """Say that nothing more will be sent."""
        ...


class TerminalSize(msgspec.Struct, frozen=True, rename="pascal"):
    """A terminal's size in characters."""

    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams a client asks for."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    @classmethod
    def of(cls, request: Request) -> Wanted:
        """From the query of an exec or attach request, or of the kubelet's own (`input`, `output`, `error`)."""
        values = query_values(request.query)

        def flag(name: str, kubelet_name: str) -> bool:
            return query_flag(values.get(name, values.get(kubelet_name)))

        tty = query_flag(values.get("tty"))
        # A terminal has one output: upstream, too, ignores stderr then.
        return cls(flag("stdin", "input"), flag("stdout", "output"), flag("stderr", "error") and not tty, tty)

    @property
    def any(self) -> bool:
        """Whether a stream is asked for at all: a request without one is refused."""
        return self.stdin or self.stdout or self.stderr

    def types(self, version: int) -> tuple[str, ...]:
        """The stream types a client of this protocol version opens."""
        asked = {
            "error": True,
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "resize": self.tty and version >= 3,
        }
        return tuple(name for name, is_asked in asked.items() if is_asked)


@dataclass(slots=True)
class CommandStreams:
    """The streams of one exec or attach; those not asked for are None."""

    version: int
    error: Stream
    stdin: Stream | None = None
    stdout: Stream | None = None
    stderr: Stream | None = None
    resize: Stream | None = None
    close: Callable[[], Awaitable[None]] = field(default=lambda: asyncio.sleep(0))

    async def finish(self, status: Status) -> None:
        """Tell the client how the command ended, as its protocol version says it."""
        if self.version >= 4:
            await self.error.write(encode(status))
        elif status.status != "Success":
            await self.error.write(status.message.encode())

    async def sizes(self) -> AsyncIterator[TerminalSize]:
        """The terminal's sizes, as the client sends them."""
        pending = b""
        while self.resize is not None and (data := await self.resize.read()):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield msgspec.json.decode(line, type=TerminalSize)


SUCCESS: Final = Status(status="Success")


def exit_status(exit_code: int) -> Status:
    """How a command's exit code is told."""
    if exit_code == 0:
        return SUCCESS
    message = f"command terminated with non-zero exit code: exit status {exit_code}"
    causes = (StatusCause(reason="ExitCode", message=str(exit_code)),)
    return Status(status="Failure", reason="NonZeroExitCode", message=message, details=StatusDetails(causes=causes))


def failure(message: str) -> Status:
    """How it is told that a command could not be run."""
    return Status(status="Failure", reason="InternalError", message=message, code=500)


def respond(
    request: Request, wanted: Wanted, serve: Callable[[CommandStreams], Awaitable[Status | None]]
) -> Response | UpgradeResponse:
    """Take the connection over for exec or attach; `serve` gets the streams and returns how it ended.

    None from `serve` means that the client has been told already.
    """
    if not wanted.any:
        return text_response("you must specify at least 1 of stdin, stdout, stderr\n", 400)
    if websocket.is_upgrade(request, "websocket"):

        async def serve_websocket(socket: WebSocket, protocol: str) -> None:
            await _serve_websocket(socket, protocol, wanted, serve)

        return websocket.respond(request, _WEBSOCKET_PROTOCOLS, serve_websocket)
    return _respond_spdy(request, wanted, serve)


async def bridge(client: CommandStreams, runtime: CommandStreams) -> None:
    """Carry everything between a client and a runtime until the command has ended and its output is delivered."""
    inward = [
        asyncio.ensure_future(pump(source, target))
        for source, target in ((client.stdin, runtime.stdin), (client.resize, runtime.resize))
        if source is not None and target is not None
    ]
    try:
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(_read_end(runtime))
            for source, target in ((runtime.stdout, client.stdout), (runtime.stderr, client.stderr)):
                if source is not None and target is not None:
                    group.create_task(pump(source, target))
        # Some clients stop reading at the status: it comes last.
        await client.finish(ending.result())
    finally:
        # Input has no end of its own: it ends with the command.
        for task in inward:
            task.cancel()
        await asyncio.gather(*inward, return_exceptions=True)
        await runtime.close()


async def connect(connection: Connection, wanted: Wanted, version: int = 4) -> CommandStreams:
    """The client's side on a connection that has been upgraded to SPDY/3.1. Raises ConnectionError, TimeoutError."""
    session = SPDYSession(connection, is_server=False)
    running = asyncio.ensure_future(session.run())
    opened: dict[str, SPDYStream] = {}

    async def close() -> None:
        session.close()
        await asyncio.gather(running, return_exceptions=True)

    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            for name in wanted.types(version):
                opened[name] = await session.open({"streamType": name})
            for stream in opened.values():
                await stream.wait_replied()
    except BaseException:
        await close()
        raise
    return CommandStreams(version, close=close, **opened)


def client_headers(version: int = 4) -> dict[str, str]:
    """The headers that ask a server for exec or attach over SPDY."""
    protocol = f"v{version}.channel.k8s.io" if version > 1 else "channel.k8s.io"
    return {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": protocol}


# SPDY.


def _respond_spdy(
    request: Request, wanted: Wanted, serve: Callable[[CommandStreams], Awaitable[Status | None]]
) -> Response | UpgradeResponse:
    if not websocket.is_upgrade(request, "SPDY/3.1"):
        return text_response("unable to upgrade: missing upgrade headers in request\n", 400)
    offered = [part.strip() for part in request.headers.get("x-stream-protocol-version", "").split(",") if part.strip()]
    chosen = next((name for name in offered if name in _SPDY_PROTOCOLS), None)
    if offered and chosen is None:
        headers = {"content-type": "text/plain", "x-accepted-stream-protocol-versions": ", ".join(_SPDY_PROTOCOLS)}
        text = f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts "
        return Response(403, headers, f"{text}{list(_SPDY_PROTOCOLS)}\n".encode())
    version = _VERSIONS[chosen or ""]

    async def upgraded(connection: Connection) -> None:
        line = f"X-Stream-Protocol-Version: {chosen}\r\n" if chosen else ""
        head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{line}\r\n"
        connection.write(head.encode())
        await _serve_spdy(connection, version, wanted, serve)

    return UpgradeResponse(upgraded)


async def _serve_spdy(
    connection: Connection,
    version: int,
    wanted: Wanted,
    serve: Callable[[CommandStreams], Awaitable[Status | None]],
) -> None:
    expected = set(wanted.types(version))
    opened: dict[str, SPDYStream] = {}
    complete = asyncio.Event()

    async def on_stream(stream: SPDYStream) -> bool:
        name = stream.headers.get("streamtype", "")
        if name not in _STREAM_TYPES or name in opened:
            return False
        opened[name] = stream
        if expected <= opened.keys():
            complete.set()
        return True

    session = SPDYSession(connection, is_server=True, on_stream=on_stream)
    running = asyncio.ensure_future(session.run())
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            await _first(complete.wait(), running)
        if not complete.is_set():
            return
        streams = CommandStreams(version, **{name: opened[name] for name in expected})  # type: ignore[arg-type]
        await _serve_while(session.wait_closed(), streams, serve)
        for name in ("stdout", "stderr", "error"):
            if name in expected:
                await opened[name].close_write()
    except ConnectionError:
        pass  # the client has gone
    finally:
        session.close()
        await asyncio.gather(running, return_exceptions=True)


# WebSocket.


class Channel:
    """One channel of a WebSocket as a stream."""

    def __init__(self, socket: WebSocket, number: int, is_text: bool) -> None:
        self._socket = socket
        self._number = number
        self._is_text = is_text
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_HIGH_WATER_PIECES)
        self._ended = False

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        if self._ended:
            return b""
        data = await self._pieces.get()
        self._ended = not data
        return data

    async def write(self, data: bytes) -> None:
        """Send one message."""
        if self._is_text:
            await self._socket.send(b"%d" % self._number + base64.b64encode(data), Opcode.TEXT)
        else:
            await self._socket.send(bytes((self._number,)) + data)

    async def close_write(self) -> None:
        """Nothing: channels end with the socket."""

    @staticmethod
    def split(data: bytes, is_text: bool) -> tuple[int, bytes]:
        """The channel's number and the bytes of one message; number -1 for a message that has neither."""
        if not data:
            return -1, b""
        if is_text:
            return data[0] - ord("0"), base64.b64decode(data[1:])
        return data[0], data[1:]

    async def feed(self, data: bytes) -> None:
        """Data has arrived; empty is the end. Waits while nobody reads, unless the client goes meanwhile."""
        if self._pieces.full():
            gone = asyncio.ensure_future(self._socket.wait_closed())
            try:
                await _first(self._pieces.put(data), gone)
            finally:
                gone.cancel()
        else:
            self._pieces.put_nowait(data)


async def _serve_websocket(
    socket: WebSocket,
    protocol: str,
    wanted: Wanted,
    serve: Callable[[CommandStreams], Awaitable[Status | None]],
) -> None:
    version = _VERSIONS[protocol]
    is_text = "base64" in protocol
    channels = {
        name: Channel(socket, _STREAM_TYPES.index(name), is_text)
        for name in ("stdin", "stdout", "stderr", "error", "resize")
    }
    # An empty message on the lowest channel tells the client that the connection stands.
    first = "stdout" if wanted.stdout else "stderr" if wanted.stderr else "error"
    await channels[first].write(b"")
    streams = CommandStreams(version, **{name: channels[name] for name in (*wanted.types(5),)})  # type: ignore[arg-type]
    reading = asyncio.ensure_future(_read_channels(socket, channels, wanted, is_text))
    try:
        await _serve_while(asyncio.shield(reading), streams, serve)
    except ConnectionError:
        pass  # the client has gone
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read_channels(socket: WebSocket, channels: dict[str, Channel], wanted: Wanted, is_text: bool) -> None:
    inputs = {0: channels["stdin"]} if wanted.stdin else {}
    if wanted.tty:
        inputs[4] = channels["resize"]
    try:
        while (message := await socket.read()) is not None:
            number, payload = Channel.split(message[1], is_text)
            if number == _CLOSE_CHANNEL and payload:
                number, payload = payload[0], b""
            elif not payload:
                continue
            if (channel := inputs.get(number)) is not None:
                await channel.feed(payload)
    except (ConnectionError, binascii.Error):
        pass  # broken off, or not what was agreed on: the same as gone


# Parts of both.


async def _serve_while(
    gone: Awaitable[None],
    streams: CommandStreams,
    serve: Callable[[CommandStreams], Awaitable[Status | None]],
) -> None:
    """Serve until it ends, or until the client is gone."""
    serving = asyncio.ensure_future(serve(streams))
    leaving = asyncio.ensure_future(gone)
    try:
        await asyncio.wait((serving, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            return
        status = serving.result()
        if status is not None:
            await streams.finish(status)
    finally:
        for task in (serving, leaving):
            task.cancel()
        await asyncio.gather(serving, leaving, return_exceptions=True)


async def _first(one: Awaitable[object], other: asyncio.Future[None]) -> None:
    """Wait for `one`, but no longer than for `other`, which is left running."""
    waiting = asyncio.ensure_future(one)
    try:
        await asyncio.wait((waiting, other), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def pump(source: Stream, target: Stream) -> None:
    """Carry what `source` gives to `target`, its end too; a target that is gone swallows the rest."""
    try:
        while data := await source.read():
            try:
                await target.write(data)
            except ConnectionError:
                # Nobody takes it any more, but the sender must not be held up for that.
                while await source.read():
                    pass
        await target.close_write()
    except ConnectionError:
        pass  # one end is gone; the other streams say how it went


async def _read_end(runtime: CommandStreams) -> Status:
    parts = []
    while data := await runtime.error.read():
        parts.append(data)
    text = b"".join(parts)
    if not text:
        # Only the protocols before v4 tell success by silence.
        return SUCCESS if runtime.version < 4 else failure("the runtime ended the session without the command's status")
    try:
        return msgspec.json.decode(text, type=Status)
    except msgspec.DecodeError:
        return failure(text.decode(errors="replace"))
