"""Every implementation of the store, and a clock that stands still until it is told to go on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from keelback.concurrency.clock import SystemClock
from keelback.encryption.config import GroupResource
from keelback.storage import etcd, memory, sqlite
from keelback.storage.etcd_keys import KeySpace
from keelback.storage.protocol import FIRST_REVISION, Store
from keelback.storage.routed import Override, Partition, RoutedStore
from keelback.testing import encryption
from keelback.testing import etcd as testing_etcd
from keelback.testing.clock import HandClock
from keelback.testing.encryption import Config
from keelback.testing.etcd import EtcdCluster

Open = Callable[[], Awaitable[Store]]

_folders = itertools.count()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def _members(folder: Path, size: int) -> Iterator[EtcdCluster]:
    if not testing_etcd.is_installed():
        pytest.skip("etcd is not installed")
    cluster = EtcdCluster(folder, size)
    try:
        asyncio.run(cluster.begin())
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def one_member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    yield from _members(tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="session")
def three_members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    yield from _members(tmp_path_factory.mktemp("three"), 3)


async def open_empty(cluster: EtcdCluster) -> Store:
    """A store in a part of etcd that nobody has used, and that counts revisions from there on."""
    async with await etcd.open_store(cluster.servers, SystemClock()) as now:
        offset = FIRST_REVISION - await now.current_revision()
    keys = KeySpace(inside="", outside=f"/{next(_folders):06}", offset=offset)
    return await etcd.open_store(cluster.servers, SystemClock(), keys=keys)


@pytest.fixture(params=["memory", "sqlite", "encrypted", "routed", "etcd", "etcd of three"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Open:
    """Opens an empty store; the contract must hold for each."""
    if request.param.startswith("etcd"):
        name = "one_member" if request.param == "etcd" else "three_members"
        cluster: EtcdCluster = request.getfixturevalue(name)
        return lambda: open_empty(cluster)

    async def opened() -> Store:
        if request.param == "memory":
            return memory.open_store(clock)
        if request.param == "routed":
            elsewhere = Override("", memory.open_store(clock))
            return Partition(RoutedStore(memory.open_store(clock), [elsewhere]), elsewhere)
        if request.param == "encrypted":
            settings = Config(tmp_path / "encryption.json").write(encryption.key("aesgcm", "one"), resources=("*.*",))
            made = encryption.at_rest(
                memory.open_store(clock), settings, clock, locate=lambda _: GroupResource("", "things")
            )
            return made.store
        return await sqlite.open_store(tmp_path / "store.db", clock)

    return opened


@pytest.fixture
def pass_time(request: pytest.FixtureRequest, clock: HandClock) -> Callable[[float], None]:
    """Lets seconds pass in the store that is open. etcd has a clock of its own: there they pass while one waits."""
    kind = request.node.callspec.params["open_store"]
    return clock.advance if not kind.startswith("etcd") else lambda _: None
