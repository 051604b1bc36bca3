"""The end of a server, in steps: it is unready first, then takes nothing new, answers what it has begun, and is gone.

As upstream's: `--shutdown-delay-duration` is the time that load balancers have to notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from keelback.component.http import TEXT_HEADERS, AnyResponse, Handler, Request, Response
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

_RETRY_SECONDS: Final = 5
_ANSWERED_ALWAYS: Final = ("/livez", "/readyz", "/healthz", "/metrics")
_log = logger("termination")


class FrontDoor(Protocol):
    """A server that listens."""

    keeps_alive: bool
    """Whether connections stay open after an answer."""

    async def shutdown(self, grace_seconds: float = 10.0) -> None:
        """Accept nobody, end streams, let requests finish for the grace time, then close what is left."""
        ...


class Termination:
    """Knows whether the server ends, and stands between its front doors and its handler."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        """Who answers."""
        self._refuses = False
        self._in_flight = 0
        self._done = asyncio.Event()
        self.has_begun = False

    async def check(self) -> None:
        """The check of /readyz that fails from the beginning of the end on."""
        if self.has_begun:
            raise RuntimeError("process is shutting down")

    async def handle(self, request: Request) -> AnyResponse:
        """Answer a request, or say that it should be asked elsewhere."""
        if self._refuses and not request.path.startswith(_ANSWERED_ALWAYS):
            headers = {**TEXT_HEADERS, "retry-after": str(_RETRY_SECONDS)}
            return Response(429, headers, b"The apiserver is shutting down, please try again later.\n")
        self._in_flight += 1
        try:
            assert self.handler is not None
            return await self.handler(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._done.set()

    async def end(
        self,
        doors: Sequence[FrontDoor],
        clock: Clock,
        *,
        delay_seconds: float,
        grace_seconds: float,
        sends_retry_after: bool,
    ) -> None:
        """Return when all is answered, or the grace time is over. With `sends_retry_after` those who come while others
        are still being answered are told so, rather than find nobody."""
        self.has_begun = True
        _log.info("The server ends", delay_seconds=delay_seconds, in_flight=self._in_flight)
        # Each answer from now on is its connection's last: who uses one all the time is elsewhere when the delay is
        # over, and no request meets a connection that is being closed.
        for door in doors:
            door.keeps_alive = False
        if delay_seconds:
            await clock.sleep(delay_seconds)
        if sends_retry_after:
            self._refuses = True
            await self._wait(grace_seconds)
        async with asyncio.TaskGroup() as closing:
            for door in doors:
                closing.create_task(door.shutdown(grace_seconds))

    async def _wait(self, seconds: float) -> None:
        while self._in_flight:
            self._done.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._done.wait()
            except TimeoutError:
                _log.warning("Requests are cut off", in_flight=self._in_flight)
                return
