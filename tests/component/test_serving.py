"""The front door, over real sockets: what goes in comes out in order, whatever the client does."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from keelback.component.http import (
    AnyResponse,
    Connection,
    Handler,
    Request,
    Response,
    StreamingResponse,
    UpgradeResponse,
    Writer,
    header_values,
)
from keelback.component.http1 import HTTPConnection
from keelback.component.serving import Limits, Server, server_context

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def echo(request: Request) -> Response:
    body = f"{request.method} {request.path} {request.query} {request.body.decode()}".encode()
    return Response(200, {"content-type": "text/plain"}, body)


@asynccontextmanager
async def connected(handler: Handler, **options: Any) -> AsyncIterator[tuple[Server, Any, Any]]:
    async with Server(handler, **options) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        try:
            yield server, reader, writer
        finally:
            writer.close()


def asks(client: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client}\r\n\r\n".encode()


async def read_response(reader: asyncio.StreamReader, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status_line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    status = int(status_line.split()[1])
    body = b""
    if head_only or status in (101, 204, 304):
        return status, headers, body
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    return status, headers, body


def test_requests_on_one_connection_are_answered_in_order(run: Run) -> None:
    async def handler(request: Request) -> Response:
        # The first takes longest: order must come from the connection, not from luck.
        for _ in range(10 if request.path == "/0" else 0):
            await asyncio.sleep(0)
        return Response(200, {}, request.path.encode())

    async def scenario() -> list[bytes]:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(100)))
            return [(await read_response(reader))[2] for _ in range(100)]

    assert run(scenario()) == [b"/%d" % number for number in range(100)]


def test_the_path_is_decoded_and_the_query_is_not(run: Run) -> None:
    async def scenario() -> bytes:
        async with connected(echo) as (_, reader, writer):
            writer.write(b"GET /a%20b/c?x=%20y&z HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await read_response(reader))[2]

    assert run(scenario()) == b"GET /a b/c x=%20y&z "


def test_repeated_headers_are_joined_and_names_are_lower_case(run: Run) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {}, request.headers["x-stream-protocol-version"].encode())

    async def scenario() -> bytes:
        async with connected(handler) as (_, reader, writer):
            writer.write(
                b"GET / HTTP/1.1\r\nX-Stream-Protocol-Version: v4\r\nX-STREAM-PROTOCOL-VERSION: v3\r\nHost: x\r\n\r\n"
            )
            return (await read_response(reader))[2]

    assert run(scenario()) == b"v4, v3"


def test_the_values_of_repeated_headers_are_kept_apart(run: Run) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {}, repr([header_values(request, name) for name in ("x-g", "x-u", "x-n")]).encode())

    async def scenario() -> list[bytes]:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nX-G: a, b\r\nHost: x\r\nx-g: c\r\nX-U: d, e\r\nX-g: f\r\n\r\n")
            writer.write(b"GET / HTTP/1.1\r\nX-G: a, b\r\nHost: x\r\n\r\n")
            return [(await read_response(reader))[2] for _ in range(2)]

    assert run(scenario()) == [b"[('a, b', 'c', 'f'), ('d, e',), ()]", b"[('a, b',), (), ()]"]


def test_a_chunked_body_is_put_together(run: Run) -> None:
    async def scenario() -> bytes:
        async with connected(echo) as (_, reader, writer):
            writer.write(b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await writer.drain()
            writer.write(b"2\r\nde\r\n0\r\n\r\n")
            return (await read_response(reader))[2]

    assert run(scenario()) == b"POST /p  abcde"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    ],
)
def test_a_body_over_the_limit_is_refused_with_the_callers_answer(run: Run, request_bytes: bytes) -> None:
    async def scenario() -> tuple[tuple[int, dict[str, str], bytes], bytes]:
        options = {"limits": Limits(body_bytes=10), "too_large": lambda limit: Response(413, {}, b"at most %d" % limit)}
        async with connected(echo, **options) as (_, reader, writer):
            writer.write(request_bytes)
            return await read_response(reader), await reader.read()

    (status, headers, body), rest = run(scenario())
    assert (status, body, rest) == (413, b"at most 10", b"")
    assert headers["connection"] == "close"


def test_a_head_over_the_limit_is_refused(run: Run) -> None:
    async def scenario() -> int:
        async with connected(echo, limits=Limits(header_bytes=100)) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nX: " + b"y" * 200 + b"\r\n\r\n")
            return (await read_response(reader))[0]

    assert run(scenario()) == 431


def test_what_is_not_http_is_a_bad_request(run: Run) -> None:
    async def scenario() -> tuple[int, bytes]:
        async with connected(echo) as (_, reader, writer):
            writer.write(b"\x16\x03\x01 hello\r\n\r\n")
            return (await read_response(reader))[0], await reader.read()

    assert run(scenario()) == (400, b"")


@pytest.mark.parametrize("method", ["BREW", "get", "X-1", "LOCK", "PROPFINDX"])
def test_any_word_may_be_a_method(run: Run, method: str) -> None:
    """Which methods there are is for the handler to say, as in Go."""

    async def scenario() -> list[tuple[int, bytes]]:
        async with connected(echo) as (_, reader, writer):
            answers = []
            for body in (b"", b"12345"):
                length = b"Content-Length: %d\r\n" % len(body) if body else b""
                writer.write(b"%b /a?b HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (method.encode(), length, body))
                status, _, content = await read_response(reader)
                answers.append((status, content))
            writer.write(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
            status, _, content = await read_response(reader)
            return [*answers, (status, content)]

    assert run(scenario()) == [
        (200, f"{method} /a b ".encode()),
        (200, f"{method} /a b 12345".encode()),
        (200, b"GET /b  "),
    ]


def test_a_body_is_never_taken_for_a_request_of_an_unknown_method(run: Run) -> None:
    async def scenario() -> bytes:
        async with connected(echo) as (_, reader, writer):
            writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(b"BREW /b HTTP/1.1\r\nHost: x\r\n\r\n")
            return await reader.read()

    said = run(scenario())
    assert said.count(b"HTTP/1.1 200 OK") == 1
    assert b"POST /a  BREW /b HTTP" in said
    assert b"400 Bad Request" in said


def test_a_client_that_expects_100_is_told_to_go_on(run: Run) -> None:
    async def scenario() -> tuple[bytes, bytes]:
        async with connected(echo) as (_, reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            interim = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"ok")
            return interim, (await read_response(reader))[2]

    assert run(scenario()) == (b"HTTP/1.1 100 Continue\r\n\r\n", b"POST /  ok")


def test_head_gives_the_length_and_no_body(run: Run) -> None:
    async def scenario() -> tuple[str, bytes]:
        async with connected(echo) as (_, reader, writer):
            writer.write(b"HEAD /h HTTP/1.1\r\nHost: x\r\n\r\nGET /g HTTP/1.1\r\nHost: x\r\n\r\n")
            _, headers, _ = await read_response(reader, head_only=True)
            return headers["content-length"], (await read_response(reader))[2]

    assert run(scenario()) == ("9", b"GET /g  ")


def test_connection_close_is_heeded(run: Run) -> None:
    async def scenario() -> tuple[str, bytes]:
        async with connected(echo) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return (await read_response(reader))[1]["connection"], await reader.read()

    assert run(scenario()) == ("close", b"")


def test_a_failing_handler_is_an_internal_error_and_the_connection_lives(run: Run) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/fail":
            raise RuntimeError("a defect")
        return Response(200, {}, b"fine")

    async def scenario() -> tuple[int, bytes]:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await read_response(reader))[0], (await read_response(reader))[2]

    assert run(scenario()) == (500, b"fine")


def test_a_header_value_cannot_smuggle_in_another_header(run: Run) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {"x-name": "a\r\nSet-Cookie: b"}, b"")

    async def scenario() -> dict[str, str]:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await read_response(reader))[1]

    assert "set-cookie" not in run(scenario())


def test_a_body_in_pieces_arrives_whole(run: Run) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {}, [b"a" * 1000] * 1000)

    async def scenario() -> bytes:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await read_response(reader))[2]

    assert run(scenario()) == b"a" * 1_000_000


def test_large_bodies_are_compressed_for_those_who_ask(run: Run) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {}, [b"abc" * 100] * 1000)

    async def scenario() -> list[tuple[str | None, bytes]]:
        answers = []
        async with connected(handler, limits=Limits(gzip_on_loopback=True)) as (_, reader, writer):
            for extra in (b"", b"Accept-Encoding: gzip\r\n"):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + extra + b"\r\n")
                _, headers, body = await read_response(reader)
                answers.append((headers.get("content-encoding"), body))
        return answers

    (plain, body), (encoding, compressed) = run(scenario())
    assert (plain, encoding) == (None, "gzip")
    assert gzip.decompress(compressed) == body
    assert len(compressed) < len(body) / 10


def test_a_stream_arrives_as_it_is_written_and_the_connection_is_kept(run: Run) -> None:
    async def serve(writer: Writer) -> None:
        for number in range(3):
            writer.write(b"%d\n" % number)
            await writer.drain()

    async def handler(request: Request) -> AnyResponse:
        return StreamingResponse(200, {"content-type": "text/plain"}, serve)

    async def scenario() -> list[bytes]:
        async with connected(handler) as (_, reader, writer):
            bodies = []
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                bodies.append((await read_response(reader))[2])
            return bodies

    assert run(scenario()) == [b"0\n1\n2\n"] * 2


def test_a_stream_for_http_1_0_ends_with_the_connection(run: Run) -> None:
    async def serve(writer: Writer) -> None:
        writer.write(b"all")

    async def handler(request: Request) -> AnyResponse:
        return StreamingResponse(200, {}, serve)

    async def scenario() -> bytes:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            return bytes(await reader.read())

    assert run(scenario()) == b"all"


def test_a_writer_waits_for_a_slow_reader(run: Run) -> None:
    written = 0

    async def serve(writer: Writer) -> None:
        nonlocal written
        for _ in range(100):
            writer.write(b"x" * 1_000_000)
            written += 1_000_000
            await writer.drain()

    async def handler(request: Request) -> AnyResponse:
        return StreamingResponse(200, {}, serve)

    async def scenario() -> tuple[int, int]:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(1000):
                await asyncio.sleep(0)
            stalled_at = written
            total = 0
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
                total += size
            return stalled_at, total

    stalled_at, total = run(scenario())
    assert stalled_at < 50_000_000
    assert total == 100_000_000


def test_a_stream_whose_client_goes_is_cancelled(run: Run) -> None:
    async def scenario() -> bool:
        ended = asyncio.Event()

        async def serve(writer: Writer) -> None:
            writer.write(b"hello")
            try:
                await asyncio.Event().wait()
            finally:
                assert writer.closed
                ended.set()

        async def handler(request: Request) -> AnyResponse:
            return StreamingResponse(200, {}, serve)

        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"hello")
            writer.close()
            await ended.wait()
        return True

    assert run(scenario())


def test_shutdown_ends_streams_in_order_and_lets_requests_finish(run: Run) -> None:
    async def scenario() -> tuple[bytes, tuple[int, dict[str, str], bytes]]:
        release = asyncio.Event()
        arrived = asyncio.Event()

        async def serve(writer: Writer) -> None:
            writer.write(b"event\n")
            await asyncio.Event().wait()

        async def handler(request: Request) -> AnyResponse:
            if request.path == "/watch":
                return StreamingResponse(200, {}, serve)
            arrived.set()
            await release.wait()
            return Response(200, {}, b"done")

        server = Server(handler)
        await server.start()
        watcher, watcher_writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        asker, asker_writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        watcher_writer.write(b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
        asker_writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await watcher.readuntil(b"event\n")
        await arrived.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.shutdown(10))
            rest = await watcher.read()
            release.set()
            answer = await read_response(asker)
        watcher_writer.close()
        asker_writer.close()
        return rest, answer

    rest, (status, headers, body) = run(scenario())
    assert rest == b"\r\n0\r\n\r\n"
    assert (status, body, headers["connection"]) == (200, b"done", "close")


def test_an_upgraded_connection_keeps_the_bytes_already_sent(run: Run) -> None:
    async def serve(connection: Connection) -> None:
        connection.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        while data := await connection.read():
            connection.write(data.upper())
            await connection.drain()

    async def handler(request: Request) -> AnyResponse:
        await asyncio.sleep(0)
        return UpgradeResponse(serve)

    async def scenario() -> tuple[int, bytes]:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nearly")
            status, _, _ = await read_response(reader)
            writer.write(b" late")
            data = await reader.readexactly(10)
            writer.write_eof()
            return status, data + await reader.read()

    assert run(scenario()) == (101, b"EARLY LATE")


def test_a_refused_upgrade_is_answered_and_closed(run: Run) -> None:
    async def handler(request: Request) -> AnyResponse:
        return Response(403, {}, b"no")

    async def scenario() -> tuple[int, str, bytes]:
        async with connected(handler) as (_, reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
            status, headers, _ = await read_response(reader)
            return status, headers["connection"], await reader.read()

    assert run(scenario()) == (403, "close", b"")


def test_a_client_certificate_reaches_the_request(run: Run, authority: Any) -> None:
    async def handler(request: Request) -> Response:
        if request.peer_certificate is None:
            return Response(200, {}, b"anonymous")
        name = x509.load_der_x509_certificate(request.peer_certificate).subject.rfc4514_string()
        return Response(200, {}, name.encode())

    async def ask(port: int, certified: bool) -> bytes:
        context = ssl.create_default_context(cafile=authority.ca)
        if certified:
            context.load_cert_chain(authority.client.certificate, authority.client.key)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _, _, body = await read_response(reader)
        writer.close()
        await writer.wait_closed()
        return body

    async def scenario() -> list[bytes]:
        context = server_context(authority.server.certificate, authority.server.key, authority.ca)
        async with Server(handler, context) as server:
            return [await ask(server.bound_port, certified) for certified in (False, True)]

    assert run(scenario()) == [b"anonymous", b"CN=client"]


def test_a_unix_socket_is_private_and_goes_with_the_server(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def scenario() -> tuple[int, bytes]:
        async with Server(echo, unix_path=str(path)):
            mode = path.stat().st_mode & 0o777
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            body = (await read_response(reader))[2]
            writer.close()
            return mode, body

    assert run(scenario()) == (0o600, b"GET /  ")
    assert not path.exists()


def test_connections_over_the_limit_are_dropped(run: Run) -> None:
    async def scenario() -> bytes:
        async with connected(echo, limits=Limits(connections=1)) as (server, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await read_response(reader)
            other, other_writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
            try:
                return await other.read()
            except ConnectionResetError:
                return b""
            finally:
                other_writer.close()

    assert run(scenario()) == b""


def test_only_connections_that_wait_too_long_are_closed(run: Run) -> None:
    async def scenario() -> tuple[bytes, bytes, bytes]:
        release, arrived = asyncio.Event(), asyncio.Event()

        async def handler(request: Request) -> Response:
            arrived.set()
            await release.wait()
            return Response(200, {}, b"done")

        async with Server(handler, limits=Limits(idle_seconds=-1, header_seconds=-1)) as server:
            opened = [await asyncio.open_connection("127.0.0.1", server.bound_port) for _ in range(3)]
            (idle, _), (slow, slow_writer), (busy, busy_writer) = opened
            slow_writer.write(b"GET / HTTP/1.1\r\nHo")
            busy_writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await arrived.wait()
            server.sweep()
            first = await idle.read()
            try:
                second = await slow.read()
            except ConnectionResetError:
                second = b""
            release.set()
            third = (await read_response(busy))[2]
            for _, writer in opened:
                writer.close()
            return first, second, third

    assert run(scenario()) == (b"", b"", b"done")


def test_however_the_bytes_are_cut_the_answers_are_the_same(run: Run) -> None:
    stream = (
        b"GET /a?b=1 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
        b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n"
        b"DELETE /d%2Fe HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    wanted = [b"GET /a b=1 ", b"POST /p  hello", b"PUT /c  wikipedia", b"DELETE /d/e  "]

    async def scenario() -> None:
        for seed in range(25):
            chance = random.Random(seed)
            cuts = sorted(chance.sample(range(1, len(stream)), chance.randrange(1, 60)))
            async with connected(echo) as (_, reader, writer):
                for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                    writer.write(stream[start:end])
                    await asyncio.sleep(0)
                assert [(await read_response(reader))[2] for _ in wanted] == wanted, f"seed {seed}"

    run(scenario())


def test_no_garbage_disturbs_other_clients(run: Run) -> None:
    async def scenario() -> bytes:
        async with connected(echo) as (server, reader, writer):
            for seed in range(60):
                chance = random.Random(seed)
                garbage = bytearray(
                    b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                )
                for _ in range(chance.randrange(1, 8)):
                    garbage[chance.randrange(len(garbage))] = chance.randrange(256)
                _, other = await asyncio.open_connection("127.0.0.1", server.bound_port)
                other.write(bytes(garbage))
                await asyncio.sleep(0)
                other.close()
            writer.write(b"GET /still HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await read_response(reader))[2]

    assert run(scenario()) == b"GET /still  "


def test_a_server_that_ends_still_answers_who_has_just_connected(run: Run) -> None:
    async def scenario() -> tuple[int, dict[str, str], bytes, bytes]:
        server = Server(echo)
        await server.start()
        asker, asker_writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        old, old_writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        old_writer.write(b"GET /before HTTP/1.1\r\nHost: x\r\n\r\n")
        # They are taken in as they came: all are known now.
        await read_response(old)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.shutdown(10))
            assert await old.read() == b"", "who has asked before finds another server"
            asker_writer.write(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await read_response(asker)
        for writer in (asker_writer, silent_writer, old_writer):
            writer.close()
        return *answer, await silent.read()

    status, headers, body, silence = run(scenario())
    assert (status, body, silence) == (200, b"GET /now  ", b"")
    assert headers["connection"] == "close"


def test_who_comes_while_another_client_floods_is_answered_next(run: Run) -> None:
    """The others' requests have all been read by then, from as many connections."""
    begun: list[str] = []
    tenant = socket.socket()

    async def handler(request: Request) -> Response:
        begun.append(request.headers["authorization"].removeprefix("Bearer "))
        if len(begun) == 10:
            tenant.send(asks("tenant"))
        return Response(200)

    async def scenario() -> None:
        async with Server(handler) as server:
            tenant.connect(("127.0.0.1", server.bound_port))
            streams = [await asyncio.open_connection("127.0.0.1", server.bound_port) for _ in range(33)]
            for (reader, writer), client in ((streams[0], "flood"), (streams[32], "stranger")):
                writer.write(asks(client))
                await read_response(reader)
            begun.clear()
            for _, writer in streams[:32]:
                writer.write(asks("flood"))
            for reader, writer in streams[:32]:
                await read_response(reader)
                writer.close()
            streams[32][1].close()

    try:
        run(scenario())
    finally:
        tenant.close()
    assert len(begun) == 33
    assert begun.index("tenant") <= 12


def test_requests_sent_ahead_on_one_connection_wait_for_their_turns_too(run: Run) -> None:
    begun: list[str] = []

    async def handler(request: Request) -> Response:
        begun.append(request.headers["authorization"].removeprefix("Bearer "))
        return Response(200)

    async def scenario() -> None:
        async with Server(handler) as server:
            flood, tenant = [await asyncio.open_connection("127.0.0.1", server.bound_port) for _ in range(2)]
            flood[1].write(asks("flood") * 30)
            tenant[1].write(asks("tenant") * 5)
            for (reader, writer), count in ((flood, 30), (tenant, 5)):
                for _ in range(count):
                    await read_response(reader)
                writer.close()

    run(scenario())
    assert begun.count("flood") == 30
    assert "flood" in begun[begun.index("tenant") :][:3]
    assert len(begun) - 1 - begun[::-1].index("tenant") <= 20


class Socket(asyncio.Transport):
    """The server's end of a connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.is_read = True
        self.written = b""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("clients", "answered_at_once"), [(("flood", "tenant"), True), (("flood", "flood"), False)])
def test_among_several_clients_who_has_its_turn_is_answered_before_others_are_read(
    run: Run, clients: tuple[str, ...], *, answered_at_once: bool
) -> None:
    async def handler(request: Request) -> Response:
        return Response(200)

    async def scenario() -> None:
        async with Server(handler) as server:
            sockets = [Socket() for _ in clients]
            connections = [HTTPConnection(server) for _ in clients]
            for connection, transport in zip(connections, sockets, strict=True):
                connection.connection_made(transport)
            await asyncio.sleep(0)
            # A client that is alone is one that has been so for a thousand rounds.
            for _ in range(1_100):
                for connection, client in zip(connections, clients, strict=True):
                    connection.data_received(asks(client))
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
            answered: list[bytes] = []

            def receive() -> None:
                sockets[1].written = b""
                connections[1].data_received(asks(clients[1]))
                answered.append(sockets[1].written)

            asyncio.get_running_loop().call_soon(receive)
            for _ in range(3):
                await asyncio.sleep(0)
            assert sockets[1].written
            assert bool(answered[0]) is answered_at_once
            for connection in connections:
                connection.connection_lost(None)

    run(scenario())


def test_a_client_that_sends_many_requests_ahead_is_read_no_further_than_it_is_answered(run: Run) -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(200, {}, request.path.encode())

    async def scenario() -> tuple[int, bytes]:
        async with Server(handler) as server:
            transport, connection = Socket(), HTTPConnection(server)
            connection.connection_made(transport)
            sent = 0
            while sent < 3_000:
                if transport.is_read:
                    connection.data_received(
                        b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % at for at in range(sent, sent + 1_000))
                    )
                    sent += 1_000
                    assert not transport.is_read
                await asyncio.sleep(0)
            begun = transport.written.count(b"HTTP/1.1 200")
            for _ in range(20_000):
                await asyncio.sleep(0)
                if transport.written.endswith(b"/2999"):
                    break
            connection.connection_lost(None)
            return begun, transport.written

    begun, written = run(scenario())
    assert begun >= 1_500, "the third thousand is read when most of the second has been answered"
    assert [int(one) for one in re.findall(rb"/(\d+)", written.replace(b"HTTP/1.1", b""))] == list(range(3_000))


@pytest.mark.parametrize(
    "request_line", ["GET / HTTP/1.1", "HEAD /a HTTP/1.1", "OPTIONS * HTTP/1.1", "POST /b HTTP/1.0"]
)
def test_who_speaks_http_to_a_server_of_https_is_told(run: Run, authority: Any, request_line: str) -> None:
    context = server_context(authority.server.certificate, authority.server.key)

    async def scenario() -> bytes:
        async with connected(echo, ssl_context=context) as (_, reader, writer):
            writer.write(f"{request_line}\r\nHost: x\r\n\r\n".encode())
            return await reader.read()

    expected = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    assert run(scenario()) == expected


def test_what_is_neither_http_nor_tls_ends_its_connection_alone(run: Run, authority: Any) -> None:
    context = server_context(authority.server.certificate, authority.server.key)

    async def scenario() -> tuple[list[bytes], int]:
        async with Server(echo, context) as server:
            said = []
            for garbage in (b"\x00\x01\x02\x03\x04\x05", b"G", b"\x16\x03\x01\x00\x05hello", b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
                writer.write(garbage)
                writer.write_eof()
                said.append(await reader.read())
                writer.close()
            silent, silent_writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
            trusting = ssl.create_default_context(cafile=authority.ca)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.bound_port, ssl=trusting)
            writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            status, _, _ = await read_response(reader)
            writer.close()
        assert await silent.read() == b""
        silent_writer.close()
        return said, status

    said, status = run(scenario())
    # OpenSSL answers what begins like TLS with an alert.
    assert [b"HTTP" in one for one in said] == [False] * 4
    assert status == 200


def test_two_servers_may_share_a_port(run: Run, authority: Any) -> None:
    context = server_context(authority.server.certificate, authority.server.key)

    async def scenario() -> list[int]:
        async with Server(echo, context, shares_port=True) as first:
            port = first.bound_port
            async with Server(echo, context, port=port, shares_port=True) as second:
                with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
                    await Server(echo, context, port=port).start()
                return [port, second.bound_port]

    one, other = run(scenario())
    assert one == other
