"""exec and attach: every generation of client sees the same command."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from keelback.apimachinery.meta import Status
from keelback.component import remotecommand, websocket
from keelback.component.connection import RawConnection, dial
from keelback.component.http import AnyResponse, Request
from keelback.component.remotecommand import CommandStreams, TerminalSize, Wanted
from keelback.component.serving import Server
from keelback.component.websocket import Opcode, WebSocket

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def shout(streams: CommandStreams) -> Status:
    """A command: says on stdout, louder, what it reads, complains on stderr, and exits with 3."""
    if streams.stdin is not None:
        while data := await streams.stdin.read():
            if streams.stdout is not None:
                await streams.stdout.write(data.upper())
    if streams.stderr is not None:
        await streams.stderr.write(b"done")
    return remotecommand.exit_status(3)


async def handler(request: Request) -> AnyResponse:
    return remotecommand.respond(request, Wanted.of(request), shout)


async def upgrade(port: int, query: str, headers: dict[str, str], method: str = "POST") -> tuple[str, RawConnection]:
    connection = await dial("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.write(f"{method} /exec?{query} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await connection.read_exactly(1)
    return head.decode(), connection


async def everything(stream: Any) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


@pytest.mark.parametrize("version", [4, 3, 2, 1])
def test_spdy_clients(run: Run, version: int) -> None:
    async def scenario() -> tuple[str, bytes, bytes, bytes]:
        async with Server(handler) as server:
            query = "stdin=true&stdout=1&stderr=True&command=x"
            head, connection = await upgrade(server.bound_port, query, remotecommand.client_headers(version))
            streams = await remotecommand.connect(connection, Wanted(True, True, True), version)
            assert streams.stdin is not None
            await streams.stdin.write(b"hello ")
            await streams.stdin.write(b"world")
            await streams.stdin.close_write()
            out = await everything(streams.stdout)
            err = await everything(streams.stderr)
            end = await everything(streams.error)
            await streams.close()
            return head, out, err, end

    head, out, err, end = run(scenario())
    assert head.startswith("HTTP/1.1 101")
    assert (out, err) == (b"HELLO WORLD", b"done")
    if version == 4:
        status = msgspec.json.decode(end, type=Status)
        assert status.details is not None
        assert (status.reason, status.details.causes[0].message) == ("NonZeroExitCode", "3")
    else:
        assert end == b"command terminated with non-zero exit code: exit status 3"


def test_a_websocket_v5_client_ends_stdin(run: Run) -> None:
    async def scenario() -> tuple[dict[int, bytes], bool]:
        async with Server(handler) as server:
            headers = websocket.client_headers(("v5.channel.k8s.io", "v4.channel.k8s.io"))
            _, connection = await upgrade(server.bound_port, "stdin=1&stdout=1&stderr=1", headers, "GET")
            socket = WebSocket(connection, is_client=True)
            await socket.send(b"\0hello")
            await socket.send(b"\xff\0")
            seen: dict[int, bytes] = {}
            while (message := await socket.read()) is not None:
                _, data = message
                seen[data[0]] = seen.get(data[0], b"") + data[1:]
            return seen, connection.closed

    seen, _ = run(scenario())
    assert (seen[1], seen[2]) == (b"HELLO", b"done")
    assert msgspec.json.decode(seen[3])["reason"] == "NonZeroExitCode"


def test_a_base64_client_gets_text(run: Run) -> None:
    async def scenario() -> list[tuple[Opcode, bytes]]:
        async with Server(handler) as server:
            headers = websocket.client_headers(("v4.base64.channel.k8s.io",))
            _, connection = await upgrade(server.bound_port, "stdout=1&stderr=1", headers, "GET")
            socket = WebSocket(connection, is_client=True)
            messages = []
            while (message := await socket.read()) is not None:
                messages.append(message)
            return messages

    messages = run(scenario())
    assert messages[0] == (Opcode.TEXT, b"1")
    assert messages[1] == (Opcode.TEXT, b"2" + base64.b64encode(b"done"))
    assert messages[2][1][:1] == b"3"


@pytest.mark.parametrize("way", ["spdy", "websocket"])
def test_a_client_that_goes_ends_the_command(run: Run, way: str) -> None:
    async def scenario() -> bool:
        started, ended = asyncio.Event(), asyncio.Event()

        async def wait(streams: CommandStreams) -> Status:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return remotecommand.SUCCESS

        async def waiting(request: Request) -> AnyResponse:
            return remotecommand.respond(request, Wanted.of(request), wait)

        async with Server(waiting) as server:
            if way == "spdy":
                _, connection = await upgrade(server.bound_port, "stdout=1", remotecommand.client_headers())
                await remotecommand.connect(connection, Wanted(stdout=True))
            else:
                headers = websocket.client_headers(("v4.channel.k8s.io",))
                _, connection = await upgrade(server.bound_port, "stdout=1", headers, "GET")
            await started.wait()
            connection.close()
            await ended.wait()
        return True

    assert run(scenario())


def test_terminal_sizes_arrive(run: Run) -> None:
    sizes: list[TerminalSize] = []

    async def resized(streams: CommandStreams) -> Status:
        assert streams.stderr is None
        async for size in streams.sizes():
            sizes.append(size)
            if len(sizes) == 2:
                break
        return remotecommand.SUCCESS

    async def resizing(request: Request) -> AnyResponse:
        return remotecommand.respond(request, Wanted.of(request), resized)

    async def scenario() -> bytes:
        async with Server(resizing) as server:
            query = "stdin=1&stdout=1&stderr=1&tty=1"
            _, connection = await upgrade(server.bound_port, query, remotecommand.client_headers())
            streams = await remotecommand.connect(connection, Wanted(True, True, False, True))
            assert streams.resize is not None
            await streams.resize.write(b'{"Width":80,"Height":24}\n{"Wid')
            await streams.resize.write(b'th":100,"Height":30}\n')
            end = await everything(streams.error)
            await streams.close()
            return end

    assert msgspec.json.decode(run(scenario()))["status"] == "Success"
    assert sizes == [TerminalSize(80, 24), TerminalSize(100, 30)]


def test_a_bridge_joins_a_websocket_client_to_a_spdy_runtime(run: Run) -> None:
    async def scenario() -> dict[int, bytes]:
        async with Server(handler) as runtime:

            async def serve(client: CommandStreams) -> None:
                query = "stdin=1&stdout=1&stderr=1"
                _, connection = await upgrade(runtime.bound_port, query, remotecommand.client_headers())
                await remotecommand.bridge(client, await remotecommand.connect(connection, Wanted(True, True, True)))

            async def kubelet(request: Request) -> AnyResponse:
                return remotecommand.respond(request, Wanted.of(request), serve)

            async with Server(kubelet) as server:
                headers = websocket.client_headers(("v5.channel.k8s.io",))
                _, connection = await upgrade(server.bound_port, "input=1&output=1&error=1", headers, "GET")
                socket = WebSocket(connection, is_client=True)
                for _ in range(50):
                    await socket.send(b"\0" + b"a" * 10_000)
                await socket.send(b"\xff\0")
                seen: dict[int, bytes] = {}
                while (message := await socket.read()) is not None:
                    _, data = message
                    seen[data[0]] = seen.get(data[0], b"") + data[1:]
                return seen

    seen = run(scenario())
    assert seen[1] == b"A" * 500_000
    assert seen[2] == b"done"
    assert msgspec.json.decode(seen[3])["details"]["causes"][0]["message"] == "3"


def test_requests_without_streams_or_upgrade_are_refused(run: Run) -> None:
    async def scenario() -> list[str]:
        async with Server(handler) as server:
            heads = []
            for query, headers in (
                ("command=x", remotecommand.client_headers()),
                ("stdout=1", {}),
                ("stdout=1", {**remotecommand.client_headers(), "x-stream-protocol-version": "v9"}),
            ):
                head, connection = await upgrade(server.bound_port, query, headers)
                heads.append(head.split(" ")[1])
                connection.close()
            return heads

    assert run(scenario()) == ["400", "400", "403"]
