"""Watches over WebSocket: one message per event, text as fabric8 clients read it, binary for protobuf."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from keelback.component import websocket
from keelback.component.http import AnyResponse, Request, Writer


class _Frames:
    """A response writer whose lines, or frames of protobuf, leave as messages."""

    def __init__(self, socket: websocket.WebSocket, *, is_protobuf: bool) -> None:
        self._socket = socket
        self._is_protobuf = is_protobuf
        self._queue: list[bytes] = []

    @property
    def closed(self) -> bool:
        return self._socket.closed

    def write(self, data: bytes) -> None:
        self._queue.extend(_split_frames(data) if self._is_protobuf else data.splitlines())

    async def drain(self) -> None:
        queued, self._queue = self._queue, []
        opcode = websocket.Opcode.BINARY if self._is_protobuf else websocket.Opcode.TEXT
        for event in queued:
            await self._socket.send(event, opcode)

    async def wait_closed(self) -> None:
        # Reading is what notices a close frame, and answers pings.
        while await self._socket.read() is not None:
            pass


def _split_frames(data: bytes) -> Iterator[bytes]:
    """The events of a stream without their lengths: a message has its own."""
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : end]
        at = end


def respond(request: Request, serve: Callable[[Writer], Awaitable[None]], *, is_protobuf: bool = False) -> AnyResponse:
    """Take the connection over and write the watch's events as messages."""

    async def frames(socket: websocket.WebSocket, protocol: str) -> None:
        await serve(_Frames(socket, is_protobuf=is_protobuf))

    return websocket.respond(request, ("", *websocket.offered_protocols(request)), frames)
