"""Every implementation of the store, and a clock that stands still until it is told to go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from keelback.storage import memory, sqlite
from keelback.storage.embedded import EmbeddedStore
from keelback.testing.clock import HandClock

Open = Callable[[], Awaitable[EmbeddedStore]]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Open:
    """Opens an empty store; the contract must hold for each."""

    async def opened() -> EmbeddedStore:
        if request.param == "memory":
            return memory.open_store(clock)
        return await sqlite.open_store(tmp_path / "store.db", clock)

    return opened
