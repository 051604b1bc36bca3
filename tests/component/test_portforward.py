"""Port-forward: every way in reaches the port, both ways, and errors are told."""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from keelback.component import portforward, websocket
from keelback.component.connection import RawConnection, dial
from keelback.component.http import AnyResponse, Request
from keelback.component.portforward import Forwarder
from keelback.component.remotecommand import Stream
from keelback.component.serving import Server
from keelback.component.websocket import WebSocket

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def serve(port: int, data: Stream, error: Stream) -> None:
    """A pod: echoes on every port but 81, where nobody listens."""
    if port == 81:
        await error.write(b"connection refused")
        return
    while piece := await data.read():
        await data.write(b"%d:%b" % (port, piece))


async def handler(request: Request) -> AnyResponse:
    return portforward.respond(request, serve)


async def upgrade(port: int, query: str, headers: dict[str, str]) -> tuple[str, RawConnection]:
    connection = await dial("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.write(f"GET /portforward?{query} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await connection.read_exactly(1)
    return head.decode(), connection


@pytest.mark.parametrize("tunnelled", [False, True])
def test_spdy_clients_plain_and_tunnelled(run: Run, tunnelled: bool) -> None:
    async def scenario() -> tuple[list[bytes], bytes, bytes]:
        async with Server(handler) as server:
            if tunnelled:
                headers = websocket.client_headers(("SPDY/3.1+portforward.k8s.io",))
            else:
                headers = portforward.client_headers()
            head, connection = await upgrade(server.bound_port, "", headers)
            assert head.startswith("HTTP/1.1 101")
            carrier: Any = connection
            if tunnelled:
                carrier = portforward.Tunnel(WebSocket(connection, is_client=True))
            async with Forwarder(carrier) as forwarder:
                answers = []
                for number in (80, 8080, 80):
                    data, _ = await forwarder.open(number)
                    await data.write(b"hello")
                    answers.append(await data.read())
                    await data.close_write()
                    answers.append(await data.read())
                refused, error = await forwarder.open(81)
                return answers, await error.read(), await refused.read()

    answers, error, end = run(scenario())
    assert answers == [b"80:hello", b"", b"8080:hello", b"", b"80:hello", b""]
    assert (error, end) == (b"connection refused", b"")


def test_websocket_channels_begin_with_their_port(run: Run) -> None:
    async def scenario() -> list[bytes]:
        async with Server(handler) as server:
            headers = websocket.client_headers(("v5.channel.k8s.io", "v4.channel.k8s.io"))
            head, connection = await upgrade(server.bound_port, "ports=80&ports=81", headers)
            assert "Sec-WebSocket-Protocol: v4.channel.k8s.io" in head
            socket = WebSocket(connection, is_client=True)
            messages = []
            for _ in range(5):
                message = await socket.read()
                assert message is not None
                messages.append(message[1])
            await socket.send(b"\0hello")
            message = await socket.read()
            assert message is not None
            socket.close()
            return [*messages, message[1]]

    eighty, next_one = struct.pack("<H", 80), struct.pack("<H", 81)
    messages = run(scenario())
    assert messages[:4] == [b"\0" + eighty, b"\1" + eighty, b"\2" + next_one, b"\3" + next_one]
    assert messages[4:] == [b"\3connection refused", b"\x000:hello".replace(b"0:", b"80:")]


def test_a_port_out_of_range_is_refused(run: Run) -> None:
    async def scenario() -> str:
        async with Server(handler) as server:
            headers = websocket.client_headers(("v4.channel.k8s.io",))
            head, connection = await upgrade(server.bound_port, "ports=70000", headers)
            connection.close()
            return head

    assert run(scenario()).startswith("HTTP/1.1 400")
