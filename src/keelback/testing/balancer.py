"""A plain TCP balancer, as stands before several API servers: connections in turn, to those that are ready."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

CHECK_SECONDS = 0.5
CONNECT_SECONDS = 1.0
_SILENCES = 2
_CHUNK = 1 << 16


class Health(Enum):
    """What a check found."""

    READY = auto()
    UNREADY = auto()
    """It answers, and says that it should get no more connections."""
    SILENT = auto()


@dataclass(eq=False, slots=True)
class Backend:
    """Where connections go. One that was silent at its last checks loses those that it has."""

    port: int
    health: Health = Health.READY
    silences: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def is_up(self) -> bool:
        """Whether it gets connections."""
        return self.health is Health.READY or 0 < self.silences < _SILENCES


class Balancer:
    """Listens on loopback from `start` to `close`. `check` asks what listens on a port how it is."""

    def __init__(self, ports: Sequence[int], check: Callable[[int], Awaitable[Health]]) -> None:
        self._backends = [Backend(port) for port in ports]
        self._turns = itertools.cycle(self._backends)
        self._check = check
        self._server: asyncio.Server | None = None
        self._checking: list[asyncio.Task[None]] = []
        self.port = 0

    async def start(self) -> None:
        """Listen on a port of the system's choice."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._checking = [asyncio.create_task(self._watch_over(one)) for one in self._backends]

    async def close(self) -> None:
        """End every connection."""
        for task in self._checking:
            task.cancel()
        await asyncio.gather(*self._checking, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for backend in self._backends:
            _abort(backend)

    async def _watch_over(self, backend: Backend) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            backend.health = await self._check(backend.port)
            backend.silences = backend.silences + 1 if backend.health is Health.SILENT else 0
            if backend.silences == _SILENCES:
                _abort(backend)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = await self._connected()
        if found is None:
            writer.transport.abort()
            return
        backend, from_backend, to_backend = found
        backend.writers |= {writer, to_backend}
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, to_backend))
                pumps.create_task(_pump(from_backend, writer))
        finally:
            backend.writers -= {writer, to_backend}

    async def _connected(self) -> tuple[Backend, asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next that can be reached; one that is down is tried only after all others."""
        turn = [next(self._turns) for _ in self._backends]
        for backend in sorted(turn, key=lambda one: not one.is_up):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return backend, *await asyncio.open_connection("127.0.0.1", backend.port)
        return None


def _abort(backend: Backend) -> None:
    for writer in list(backend.writers):
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until there are no more; then the other side hears no more either."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
