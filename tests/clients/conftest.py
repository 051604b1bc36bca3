"""Clusters for unmodified clients, and a namespace for each of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keelback.bootstrap import machine
from keelback.testing.commands import Cluster


def _started(name: str, folder: Path, *flags: str) -> Iterator[Cluster]:
    cluster = Cluster(f"{name}-{os.getpid()}", folder)
    try:
        cluster.keelback("up", *flags)
        yield cluster
    finally:
        cluster.keelback("down")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two simulated nodes."""
    yield from _started("clients-simulated", tmp_path_factory.mktemp("simulated"), "--simulated", "--nodes", "2")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose only node takes no pods: what waits for a pod there waits for ever."""
    for cluster in _started("clients-empty", tmp_path_factory.mktemp("empty"), "--simulated"):
        cluster.kubectl("cordon", "node-0")
        yield cluster


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of a real node."""
    folder = tmp_path_factory.mktemp("containers")
    findings = machine.examine(machine.observe(folder))
    if not machine.can_run_containers(findings):
        pytest.skip(f"no real containers here: {machine.why_simulated(findings)}")
    yield from _started("clients-real", folder)


_NUMBERS = itertools.count()
"""Of namespaces: one that is going must not be in the way of the next test's."""


@pytest.fixture
def new_namespace() -> Iterator[Callable[[Cluster, str], str]]:
    """Makes a namespace with a name of that beginning, until the end of the test."""
    made: list[tuple[Cluster, str]] = []

    def make(cluster: Cluster, beginning: str) -> str:
        name = f"{beginning}-{os.getpid()}-{next(_NUMBERS)}"
        cluster.kubectl("create", "namespace", name)
        made.append((cluster, name))
        return name

    yield make
    for cluster, name in made:
        cluster.kubectl("delete", "namespace", name, "--wait=false")
