"""An API server that answers, with everything that runs beside it as long as it does."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from keelback.apiserver import filters
from keelback.apiserver.access import Authentication
from keelback.apiserver.audit_ids import AuditIDs
from keelback.apiserver.filters import FilterSettings
from keelback.apiserver.kept_work import keep
from keelback.apiserver.server import APIServer
from keelback.apiserver.termination import Termination
from keelback.apiserver.watch_feed import CacheFeed
from keelback.auth.users import UserInfo
from keelback.client import IN_PROCESS_WATCH_SECONDS, Client, InProcessTransport
from keelback.component.http import AnyResponse, Handler, Request
from keelback.concurrency.clock import Clock

_FAREWELL_SECONDS = 3.0


class RunningAPIServer:
    """A server that answers. `run` keeps its caches in step with the store."""

    def __init__(
        self,
        server: APIServer,
        feed: CacheFeed,
        clock: Clock,
        in_process: set[str],
        audit_ids: AuditIDs,
        termination: Termination,
        authentication: Authentication,
    ) -> None:
        """`in_process` is where the names of those are put who have a client in this process."""
        self.termination = termination
        """Stands before the handler where the server shall end without a failed request."""
        termination.handler = self.handle
        self.front: Handler = self.handle
        """The handler for the front door."""
        self._authentication = authentication
        self._in_process = in_process
        self._audit_ids = audit_ids
        self._server = server
        self._feed = feed
        self._clock = clock
        self._followers: list[Callable[[], Any]] = []
        self._farewells: list[Callable[[], Awaitable[None]]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._running: set[asyncio.Task[Any]] = set()

    async def handle(self, request: Request) -> AnyResponse:
        """Answer a request."""
        return await self._server.handle(request, self._audit_ids.of(request))

    def filter(self, settings: FilterSettings, chance: random.Random) -> None:
        """Put filters around what the front door hands over."""
        self.front = self.termination.handler = filters.around(self.handle, settings, self._audit_ids.of, chance)

    def trust_clients(self, authorities_pem: bytes) -> None:
        """Believe client certificates of these authorities, and no other. Raises ValueError."""
        self._authentication.certificates.trust(authorities_pem)

    def client(self, identity: UserInfo, user_agent: str = "keelback") -> Client:
        """A client in this process, acting as the identity."""
        self._in_process.add(identity.name)
        transport = InProcessTransport(self._server.handle, identity, {"user-agent": user_agent})
        return Client(transport, watch_seconds=IN_PROCESS_WATCH_SECONDS)

    def begin(self) -> None:
        """Follow the store from now on. The tasks are this object's until `close`."""
        for work in (self._feed.run, *self._followers):
            self._start(work)

    def follow(self, work: Callable[[], Any]) -> None:
        """Have it done from the beginning on, or from now on if that was before."""
        if self._running:
            self._start(work)
        else:
            self._followers.append(work)

    def _start(self, work: Callable[[], Any]) -> None:
        self._running.add(asyncio.create_task(keep(work, self._clock)))

    def before_close(self, work: Callable[[], Awaitable[None]]) -> None:
        """What is done while the server still works, in seconds or not at all."""
        self._farewells.append(work)

    def at_close(self, work: Callable[[], Awaitable[None]]) -> None:
        self._closers.append(work)

    async def run(self) -> NoReturn:
        """Return never; raise what a background task raised, and end them all when cancelled."""
        try:
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
            raise RuntimeError("a background task of the API server ended")
        finally:
            await self.close()

    async def close(self) -> None:
        """End the background tasks."""
        farewells, self._farewells = self._farewells, []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                for say in farewells:
                    await say()
        for one in self._running:
            one.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
        closers, self._closers = self._closers, []
        for close in closers:
            await close()
