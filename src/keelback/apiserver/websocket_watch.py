"""Watches over WebSocket: one text message per event, as fabric8 clients read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keelback.component import websocket
from keelback.component.http import AnyResponse, Request, Writer


class _Frames:
    """A response writer whose lines leave as messages."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._queue: list[bytes] = []

    @property
    def closed(self) -> bool:
        return self._socket.closed

    def write(self, data: bytes) -> None:
        self._queue.extend(data.splitlines())

    async def drain(self) -> None:
        queued, self._queue = self._queue, []
        for line in queued:
            await self._socket.send(line, websocket.Opcode.TEXT)

    async def wait_closed(self) -> None:
        # Reading is what notices a close frame, and answers pings.
        while await self._socket.read() is not None:
            pass


def respond(request: Request, serve: Callable[[Writer], Awaitable[None]]) -> AnyResponse:
    """Take the connection over and write the watch's events as messages."""

    async def frames(socket: websocket.WebSocket, protocol: str) -> None:
        await serve(_Frames(socket))

    return websocket.respond(request, ("", *websocket.offered_protocols(request)), frames)
