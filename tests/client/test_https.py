"""The network transport against the real front door, over loopback TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from keelback.client.https import HTTPSTransport, TokenFile, client_context
from keelback.component.http import (
    AnyResponse,
    Connection,
    Request,
    Response,
    StreamingResponse,
    UpgradeResponse,
    Writer,
)
from keelback.component.serving import Server, server_context
from keelback.concurrency.clock import SystemClock

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def echo(request: Request) -> Response:
    return Response(200, {"x-user": request.headers.get("authorization", "")}, request.path.encode() + request.body)


def tls(authority: Any) -> Any:
    return server_context(authority.server.certificate, authority.server.key, authority.ca)


def test_requests_share_a_kept_connection(run: Run, authority: Any) -> None:
    async def scenario() -> tuple[list[bytes], int]:
        async with Server(echo, tls(authority)) as server:
            transport = HTTPSTransport(f"https://localhost:{server.bound_port}", client_context(authority.ca_text))
            bodies = [(await transport.send(Request("GET", f"/{number}"))).content() for number in range(5)]
            connections = server.connections
            await transport.close()
            return bodies, connections

    assert run(scenario()) == ([b"/0", b"/1", b"/2", b"/3", b"/4"], 1)


def test_an_unknown_authority_is_refused(run: Run, authority: Any) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with Server(echo, tls(authority)) as server:
            transport = HTTPSTransport(f"https://localhost:{server.bound_port}", client_context())
            await transport.send(Request("GET", "/"))

    with pytest.raises(OSError, match="certificate verify failed"):
        run(scenario())


def test_paths_are_quoted_and_bodies_sent(run: Run) -> None:
    async def scenario() -> bytes:
        async with Server(echo) as server:
            transport = HTTPSTransport(f"http://127.0.0.1:{server.bound_port}")
            answer = await transport.send(Request("POST", "/clusterroles/system:node é%", body=b"+body"))
            await transport.close()
            return answer.content()

    assert run(scenario()) == "/clusterroles/system:node é%+body".encode()


def test_a_token_file_is_read_again_after_a_refusal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old\n")

    async def handler(request: Request) -> Response:
        return Response(200 if request.headers["authorization"] == "Bearer new" else 401)

    async def scenario() -> list[int]:
        async with Server(handler) as server:
            token_file = TokenFile(path, SystemClock())
            transport = HTTPSTransport(f"http://127.0.0.1:{server.bound_port}", token_file=token_file)
            first = await transport.send(Request("GET", "/"))
            path.write_text("new\n")
            second = await transport.send(Request("GET", "/"))
            await transport.close()
            return [first.status, second.status]

    assert run(scenario()) == [401, 200]


def test_a_connection_the_server_closed_is_replaced(run: Run) -> None:
    async def scenario() -> list[int]:
        server = Server(echo)
        await server.start()
        port = server.bound_port
        transport = HTTPSTransport(f"http://127.0.0.1:{port}")
        statuses = [(await transport.send(Request("GET", "/"))).status]
        await server.shutdown(1)
        async with Server(echo, port=port):
            statuses.append((await transport.send(Request("POST", "/"))).status)
            await transport.close()
        return statuses

    assert run(scenario()) == [200, 200]


def test_a_deadline_ends_a_request(run: Run) -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def handler(request: Request) -> Response:
            await release.wait()
            return Response()

        async with Server(handler) as server:
            transport = HTTPSTransport(f"http://127.0.0.1:{server.bound_port}")
            try:
                await transport.send(Request("GET", "/"), timeout_seconds=0.05)
            finally:
                release.set()

    with pytest.raises(TimeoutError):
        run(scenario())


def test_a_stream_is_taken_as_it_comes_and_broken_ones_raise(run: Run, authority: Any) -> None:
    async def scenario() -> list[bytes]:
        seen: list[bytes] = []
        more = asyncio.Event()

        async def serve(writer: Writer) -> None:
            writer.write(b"one\n")
            await more.wait()
            writer.write(b"two\n")
            raise RuntimeError("breaks off")

        async def handler(request: Request) -> AnyResponse:
            return StreamingResponse(200, {}, serve)

        async with Server(handler, tls(authority)) as server:
            transport = HTTPSTransport(f"https://localhost:{server.bound_port}", client_context(authority.ca_text))
            async with transport.stream(Request("GET", "/"), idle_seconds=5) as response:
                try:
                    async for chunk in response.chunks():
                        seen.append(chunk)
                        more.set()
                except ConnectionError:
                    seen.append(b"broken")
        return seen

    assert run(scenario()) == [b"one\n", b"two\n", b"broken"]


def test_an_ended_stream_gives_its_connection_back(run: Run) -> None:
    async def serve(writer: Writer) -> None:
        writer.write(b"all")

    async def handler(request: Request) -> AnyResponse:
        return StreamingResponse(200, {}, serve)

    async def scenario() -> int:
        async with Server(handler) as server:
            transport = HTTPSTransport(f"http://127.0.0.1:{server.bound_port}")
            for _ in range(3):
                async with transport.stream(Request("GET", "/")) as response:
                    assert await response.content() == b"all"
            count = server.connections
            await transport.close()
            return count

    assert run(scenario()) == 1


def test_an_upgrade_gives_a_raw_connection(run: Run, authority: Any) -> None:
    async def serve(connection: Connection) -> None:
        connection.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello ")
        connection.write(await connection.read_exactly(5))
        await connection.drain()

    async def handler(request: Request) -> AnyResponse:
        return UpgradeResponse(serve) if request.path == "/raw" else Response(403, {}, b"no")

    async def scenario() -> tuple[int, bytes, int, object]:
        async with Server(handler, tls(authority)) as server:
            transport = HTTPSTransport(f"https://localhost:{server.bound_port}", client_context(authority.ca_text))
            headers = {"connection": "Upgrade", "upgrade": "x"}
            answer, connection = await transport.upgrade(Request("GET", "/raw", headers=headers))
            assert connection is not None
            connection.write(b"world")
            data = await connection.read_exactly(11)
            refused, nothing = await transport.upgrade(Request("GET", "/no", headers=headers))
            await transport.close()
            return answer.status, data, refused.status, nothing

    assert run(scenario()) == (101, b"hello world", 403, None)


def test_a_server_that_is_not_there_is_an_os_error(run: Run) -> None:
    with pytest.raises(OSError):  # noqa: PT011 the system's words differ
        run(HTTPSTransport("http://127.0.0.1:1").send(Request("GET", "/")))


def test_head_has_no_body_to_wait_for(run: Run) -> None:
    async def scenario() -> tuple[str, bytes]:
        async with Server(echo) as server:
            transport = HTTPSTransport(f"http://127.0.0.1:{server.bound_port}")
            answer = await transport.send(Request("HEAD", "/four"))
            await transport.close()
            return answer.headers["content-length"], answer.content()

    assert run(scenario()) == ("5", b"")


def test_the_refusal_of_a_large_body_arrives_though_the_body_is_still_sent(run: Run, authority: Any) -> None:
    async def scenario() -> int:
        async with Server(echo, tls(authority)) as server:
            transport = HTTPSTransport(f"https://localhost:{server.bound_port}", client_context(authority.ca_text))
            answer = await transport.send(Request("POST", "/", body=b"x" * 30_000_000))
            await transport.close()
            return answer.status

    assert run(scenario()) == 413
