"""Streams of bytes over WebSocket, as browsers read logs."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

import pytest

from keelback.apiserver import websocket_stream
from keelback.component import websocket
from keelback.component.connection import dial
from keelback.component.http import AnyResponse, Request, Writer
from keelback.component.serving import Server
from keelback.component.websocket import Opcode, WebSocket

LOG = (b"one\ntwo\n", b"\x00\xff", b"three\n")


async def opened(port: int, *protocols: str) -> tuple[str, WebSocket]:
    connection = await dial("127.0.0.1", port)
    headers = websocket.client_headers(protocols)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.write(f"GET /log HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await connection.read_exactly(1)
    return head.decode(), WebSocket(connection, is_client=True)


def read(*protocols: str) -> tuple[str, list[tuple[Opcode, bytes]]]:
    """The head of the answer, and every message until the end."""

    async def serve(writer: Writer) -> None:
        for piece in LOG:
            writer.write(piece)
            await writer.drain()

    async def play() -> tuple[str, list[tuple[Opcode, bytes]]]:
        async with asyncio.timeout(20), Server(_handler(serve)) as server:
            head, socket = await opened(server.bound_port, *protocols)
            messages = []
            while (message := await socket.read()) is not None:
                messages.append(message)
            await socket.wait_closed()
            return head, messages

    return asyncio.run(play())


def _handler(serve: Callable[[Writer], Awaitable[None]]) -> Callable[[Request], Awaitable[AnyResponse]]:
    async def handler(request: Request) -> AnyResponse:
        return websocket_stream.respond(request, serve)

    return handler


@pytest.mark.parametrize("protocols", [(), ("binary.k8s.io",)])
def test_pieces_are_messages_of_bytes(protocols: tuple[str, ...]) -> None:
    head, messages = read(*protocols)
    assert head.startswith("HTTP/1.1 101")
    assert [one for one in head.splitlines() if one.startswith("Sec-WebSocket-Protocol")] == [
        f"Sec-WebSocket-Protocol: {one}" for one in protocols
    ]
    assert messages == [(Opcode.BINARY, piece) for piece in LOG]


def test_text_clients_get_base64() -> None:
    _, messages = read("base64.binary.k8s.io")
    assert messages == [(Opcode.TEXT, base64.b64encode(piece)) for piece in LOG]


def test_a_client_that_goes_ends_the_stream() -> None:
    async def play() -> None:
        ended = asyncio.Event()

        async def serve(writer: Writer) -> None:
            try:
                writer.write(b"first")
                await writer.drain()
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with asyncio.timeout(20), Server(_handler(serve)) as server:
            _, socket = await opened(server.bound_port)
            assert await socket.read() == (Opcode.BINARY, b"first")
            socket.close()
            await ended.wait()
            await socket.wait_closed()

    asyncio.run(play())
