"""The end of a server: unready first, then nothing new, and no answer that was begun is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from keelback.apiserver.termination import Termination
from keelback.component.http import AnyResponse, Request, Response, text_response
from keelback.component.serving import Server
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock


class Slow:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked = asyncio.Event()

    async def handle(self, request: Request) -> AnyResponse:
        if request.path == "/slow":
            self.asked.set()
            await self.answers.wait()
        return text_response(request.path)


async def raw(port: int, path: str) -> str:
    """The whole answer on a connection of its own, which the server closes or not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        return head + (await reader.readexactly(size)).decode()
    finally:
        writer.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(body: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await body

    asyncio.run(bounded())


def test_who_comes_during_the_delay_is_served_while_readyz_fails() -> None:
    async def body() -> None:
        clock = HandClock()
        async with api_server(clock) as api:
            ended = asyncio.create_task(
                api.termination.end((), clock, delay_seconds=20, grace_seconds=60, sends_retry_after=False)
            )
            await settle()

            async def ask(path: str) -> Response:
                answer = await api.termination.handle(Request("GET", path, identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                return answer

            unready = await ask("/readyz")
            assert unready.status == 500
            assert b"[-]shutdown failed: reason withheld\n" in unready.content()
            assert (await ask("/livez")).status == 200
            assert (await ask("/api/v1/namespaces")).status == 200
            assert not ended.done()
            await clock.pass_time(20)
            await ended

    run(body())


def test_what_was_begun_is_answered_before_the_server_is_gone() -> None:
    async def body() -> None:
        slow, clock, termination = Slow(), HandClock(), Termination()
        termination.handler = slow.handle
        server = Server(termination.handle)
        await server.start()
        begun = asyncio.create_task(raw(server.bound_port, "/slow"))
        await slow.asked.wait()
        ended = asyncio.create_task(
            termination.end((server,), clock, delay_seconds=0, grace_seconds=20, sends_retry_after=False)
        )
        await settle()
        assert not ended.done()
        slow.answers.set()
        answer = await begun
        assert answer.endswith("/slow")
        assert "Connection: close" in answer
        await ended

    run(body())


def test_who_comes_late_is_told_to_come_back_if_that_is_wanted() -> None:
    async def body() -> None:
        slow, clock, termination = Slow(), HandClock(), Termination()
        termination.handler = slow.handle
        server = Server(termination.handle)
        await server.start()
        port = server.bound_port
        begun = asyncio.create_task(raw(port, "/slow"))
        await slow.asked.wait()
        ended = asyncio.create_task(
            termination.end((server,), clock, delay_seconds=0, grace_seconds=20, sends_retry_after=True)
        )
        await settle()
        late = await raw(port, "/other")
        assert late.startswith("HTTP/1.1 429")
        assert "Retry-After: 5" in late
        assert "Connection: close" in late
        assert (await raw(port, "/livez")).startswith("HTTP/1.1 200")
        slow.answers.set()
        assert (await begun).endswith("/slow")
        await ended

    run(body())


def test_who_takes_too_long_is_cut_off() -> None:
    async def body() -> None:
        slow, clock, termination = Slow(), HandClock(), Termination()
        termination.handler = slow.handle
        server = Server(termination.handle)
        await server.start()
        begun = asyncio.create_task(raw(server.bound_port, "/slow"))
        await slow.asked.wait()
        await termination.end((server,), clock, delay_seconds=0, grace_seconds=0.05, sends_retry_after=True)
        (problem,) = await asyncio.gather(begun, return_exceptions=True)
        assert isinstance(problem, asyncio.IncompleteReadError | ConnectionError)

    run(body())
