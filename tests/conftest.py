"""What tests of more than one package are given: a loop of each kind to run on, and certificates made on the spot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from keelback.bootstrap import pki
from keelback.bootstrap.pki import KeyPair
from keelback.concurrency.clock import SystemClock

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--clients", action="store_true", help="also run the clients that take long to install or to run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--clients"):
        return
    left_out = [item for item in items if item.get_closest_marker("slow_clients")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on one kind of loop, for twenty seconds at most."""

    def runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as running:
            return running.run(asyncio.wait_for(coroutine, 20))

    return runner


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path

    @classmethod
    def of(cls, pair: KeyPair) -> Pair:
        return cls(pair.certificate_path, pair.key_path)


@dataclass(frozen=True)
class Authority:
    """A CA in a folder, and what it signed: a server for localhost and a client."""

    ca: Path
    server: Pair
    client: Pair

    @property
    def ca_text(self) -> str:
        return self.ca.read_text()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    now = SystemClock().now()
    keys = pki.ensure_cluster_pki(tmp_path_factory.mktemp("pki"), now)
    client = pki.issue_client(keys, "client", "client", (), now)
    return Authority(keys.ca.certificate_path, Pair.of(keys.apiserver), Pair.of(client))
