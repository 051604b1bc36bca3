"""A stream of bytes, such as a log, over WebSocket: each piece a message, in base64 where the client asks for text."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine

from keelback.component import websocket
from keelback.component.http import AnyResponse, Request, Writer
from keelback.component.websocket import Opcode, WebSocket

_BASE64 = "base64.binary.k8s.io"
_PROTOCOLS = ("", "binary.k8s.io", _BASE64)


class _Pieces:
    """A response writer whose pieces leave as messages."""

    def __init__(self, socket: WebSocket, *, is_base64: bool) -> None:
        self._socket = socket
        self._is_base64 = is_base64
        self._queue: list[bytes] = []

    @property
    def closed(self) -> bool:
        return self._socket.closed

    def write(self, data: bytes) -> None:
        self._queue.append(data)

    async def drain(self) -> None:
        queued, self._queue = self._queue, []
        for data in queued:
            if self._is_base64:
                await self._socket.send(base64.b64encode(data), Opcode.TEXT)
            else:
                await self._socket.send(data)

    async def wait_closed(self) -> None:
        # Reading is what notices a close frame, and answers pings.
        while await self._socket.read() is not None:
            pass


def respond(request: Request, serve: Callable[[Writer], Awaitable[None]]) -> AnyResponse:
    """Take the connection over and write what `serve` writes as messages, until it ends or the client goes."""

    async def messages(socket: WebSocket, protocol: str) -> None:
        pieces = _Pieces(socket, is_base64=protocol == _BASE64)

        async def written() -> None:
            await serve(pieces)
            await pieces.drain()

        await _first_of(written(), pieces.wait_closed())

    return websocket.respond(request, _PROTOCOLS, messages)


async def _first_of(*works: Coroutine[None, None, None]) -> None:
    """Return when one of them has ended, as it ended; the others are given up."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
