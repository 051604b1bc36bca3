"""Requests to a real API server, as a test writes them: a verb, a path, a body, and what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

Ask: TypeAlias = Callable[..., Awaitable[tuple[int, Any]]]
"""`await ask("GET", path, body, token=…, kind=…, accept=…)`: the status, and the body decoded where it is JSON.

Without a token it is the administrator who asks. `kind` is the body's media type; other keywords are headers.
"""


def with_server(test: Callable[[Ask], Awaitable[None]]) -> Callable[[], None]:
    """Run a test against a server of its own."""

    def run() -> None:
        async def main() -> None:
            async with api_server() as api, asyncio.timeout(30):
                await test(asking(api.handle))

        asyncio.run(main())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def with_clock(test: Callable[[Ask, HandClock], Awaitable[None]]) -> Callable[[], None]:
    """The same, where time passes when the test says so."""

    def run() -> None:
        async def main() -> None:
            clock = HandClock()
            async with api_server(clock) as api, asyncio.timeout(30):
                await test(asking(api.handle), clock)

        asyncio.run(main())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def asking(handle: Callable[[Request], Awaitable[object]]) -> Ask:
    """Ask this server."""

    async def ask(
        method: str, path: str, body: Any = None, *, token: str = "", kind: str = "application/json", **headers: str
    ) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        identity: object = ADMINISTRATOR
        if token:
            given["authorization"] = f"Bearer {token}"
            identity = None
        answer = await handle(Request(method, path, query, given, data, identity=identity))
        assert isinstance(answer, Response)
        content = answer.content()
        return answer.status, json.loads(content) if content[:1] in (b"{", b"[") else content.decode()

    return ask
