"""Every implementation of the store, and a clock that stands still until it is told to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keelback.storage import memory, sqlite
from keelback.storage.embedded import EmbeddedStore


class StillClock:
    """Time passes only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        for due, future in self._sleepers:
            if due <= self.seconds and not future.done():
                future.set_result(None)


Open = Callable[[], Awaitable[EmbeddedStore]]


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> Open:
    """Opens an empty store; the contract must hold for each."""

    async def opened() -> EmbeddedStore:
        if request.param == "memory":
            return memory.open_store(clock)
        return await sqlite.open_store(tmp_path / "store.db", clock)

    return opened
