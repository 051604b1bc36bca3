"""WebSocket, against itself and against bytes from the RFC."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from keelback.component import websocket
from keelback.component.connection import dial
from keelback.component.http import AnyResponse, Request
from keelback.component.serving import Server
from keelback.component.websocket import Opcode, WebSocket

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def handler(request: Request) -> AnyResponse:
    async def serve(socket: WebSocket, protocol: str) -> None:
        await socket.send(protocol.encode(), Opcode.TEXT)
        while (message := await socket.read()) is not None:
            opcode, data = message
            await socket.send(data, opcode)

    return websocket.respond(request, ("chat", ""), serve)


async def connect(port: int, protocols: tuple[str, ...] = ()) -> tuple[str, Any]:
    connection = await dial("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in websocket.client_headers(protocols).items())
    connection.write(f"GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await connection.read_exactly(1)
    return head.decode(), connection


def test_the_accept_key_is_the_rfcs() -> None:
    assert websocket.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_messages_of_every_length_come_back(run: Run) -> None:
    sizes = (0, 1, 125, 126, 65535, 65536, 1_000_000)

    async def scenario() -> list[int]:
        async with Server(handler) as server:
            _, connection = await connect(server.bound_port)
            socket = WebSocket(connection, is_client=True)
            assert await socket.read() == (Opcode.TEXT, b"")
            seen = []
            for size in sizes:
                await socket.send(b"\x07" * size)
                message = await socket.read()
                assert message == (Opcode.BINARY, b"\x07" * size)
                seen.append(len(message[1]))
            socket.close()
            return seen

    assert tuple(run(scenario())) == sizes


def test_the_clients_first_known_protocol_is_chosen(run: Run) -> None:
    async def scenario() -> list[str]:
        async with Server(handler) as server:
            heads = []
            for offered in (("other", "chat"), ("other",)):
                head, connection = await connect(server.bound_port, offered)
                heads.append(head)
                connection.close()
            return heads

    chosen, refused = run(scenario())
    assert "Sec-WebSocket-Protocol: chat" in chosen
    assert refused.startswith("HTTP/1.1 400")


def test_pings_are_answered_between_fragments(run: Run) -> None:
    async def scenario() -> list[bytes]:
        async with Server(handler) as server:
            _, connection = await connect(server.bound_port)
            await connection.read_exactly(2)
            mask = b"\0\0\0\0"
            connection.write(b"\x01\x83" + mask + b"abc")
            connection.write(b"\x89\x82" + mask + b"hi")
            connection.write(b"\x80\x82" + mask + b"de")
            pong = await connection.read_exactly(4)
            message = await connection.read_exactly(7)
            connection.write(b"\x88\x82" + mask + b"\x03\xe8")
            last = [await connection.read_exactly(4), await connection.read()]
            connection.close()
            return [pong, message, *last]

    assert run(scenario()) == [b"\x8a\x02hi", b"\x81\x05abcde", b"\x88\x02\x03\xe8", b""]


def test_an_unmasked_frame_from_a_client_is_an_error(run: Run) -> None:
    async def scenario() -> bytes:
        async with Server(handler) as server:
            _, connection = await connect(server.bound_port)
            await connection.read_exactly(2)
            connection.write(b"\x81\x01a")
            frame = await connection.read_exactly(4)
            connection.close()
            return bytes(frame[2:])

    assert int.from_bytes(run(scenario()), "big") == 1002
