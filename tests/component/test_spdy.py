"""SPDY streams over a real connection."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keelback.component.connection import RawConnection, RawProtocol, dial
from keelback.component.spdy import DICTIONARY, SPDYError, SPDYSession, SPDYStream

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[RawConnection, RawConnection]]:
    """Two ends of one TCP connection."""
    accepted: asyncio.Queue[RawConnection] = asyncio.Queue()

    class Accepting(RawProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.put_nowait(self.connection)

    server = await asyncio.get_running_loop().create_server(Accepting, "127.0.0.1", 0)
    client = await dial("127.0.0.1", server.sockets[0].getsockname()[1])
    other = await accepted.get()
    try:
        yield client, other
    finally:
        client.close()
        other.close()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def sessions(
    on_stream: Callable[[SPDYStream], Coroutine[Any, Any, bool]],
) -> AsyncIterator[tuple[SPDYSession, SPDYSession]]:
    async with pair() as (one, other):
        client = SPDYSession(one, is_server=False)
        server = SPDYSession(other, is_server=True, on_stream=on_stream)
        running = [asyncio.ensure_future(session.run()) for session in (client, server)]
        try:
            yield client, server
        finally:
            client.close()
            server.close()
            await asyncio.gather(*running, return_exceptions=True)


def test_the_dictionary_is_the_one_all_others_use() -> None:
    # zlib names a dictionary by its checksum: this is what SPDY/3 peers ask for.
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_streams_carry_bytes_both_ways_and_end_by_themselves(run: Run) -> None:
    opened: list[SPDYStream] = []

    async def on_stream(stream: SPDYStream) -> bool:
        opened.append(stream)
        return True

    async def scenario() -> tuple[dict[str, str], bytes, bytes, bytes]:
        async with sessions(on_stream) as (client, _):
            stream = await client.open({"streamType": "stdin", "n": "1"})
            await stream.wait_replied()
            await stream.write(b"x" * 100_000)
            await stream.close_write()
            received = b""
            while data := await opened[0].read():
                received += data
            await opened[0].write(b"answer")
            await opened[0].close_write()
            return dict(opened[0].headers), received, await stream.read(), await stream.read()

    headers, received, answer, end = run(scenario())
    assert headers == {"streamtype": "stdin", "n": "1"}
    assert (received, answer, end) == (b"x" * 100_000, b"answer", b"")


def test_many_streams_share_one_compressor(run: Run) -> None:
    async def on_stream(stream: SPDYStream) -> bool:
        await stream.write(stream.headers["port"].encode())
        await stream.close_write()
        return True

    async def scenario() -> list[bytes]:
        async with sessions(on_stream) as (client, _):
            streams = [await client.open({"port": str(number)}) for number in range(200)]
            return [await stream.read() for stream in streams]

    assert run(scenario()) == [str(number).encode() for number in range(200)]


def test_a_refused_stream_says_so(run: Run) -> None:
    async def on_stream(stream: SPDYStream) -> bool:
        return False

    async def scenario() -> None:
        async with sessions(on_stream) as (client, _):
            await (await client.open({})).wait_replied()

    with pytest.raises(SPDYError):
        run(scenario())


def test_an_unread_stream_slows_its_sender_and_loses_nothing(run: Run) -> None:
    opened: list[SPDYStream] = []

    async def on_stream(stream: SPDYStream) -> bool:
        opened.append(stream)
        return True

    async def scenario() -> tuple[int, int]:
        async with sessions(on_stream) as (client, _):
            stream = await client.open({})
            await stream.wait_replied()

            async def send() -> None:
                for _ in range(400):
                    await stream.write(b"y" * 65536)
                await stream.close_write()

            sending = asyncio.ensure_future(send())
            for _ in range(500):
                await asyncio.sleep(0)
            unread = opened[0].unread
            total = 0
            while data := await opened[0].read():
                total += len(data)
            await sending
            return unread, total

    unread, total = run(scenario())
    assert unread < 1_000_000
    assert total == 400 * 65536


def test_what_is_not_spdy_ends_the_session(run: Run) -> None:
    async def scenario() -> None:
        async with pair() as (one, other):
            session = SPDYSession(other, is_server=True)
            one.write(b"\x80\x02\x00\x01\x00\x00\x00\x04abcd")
            await session.run()

    with pytest.raises(SPDYError, match="not SPDY version 3"):
        run(scenario())
