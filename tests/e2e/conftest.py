"""Clusters made by the real command, for tests that talk to them with the real kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.bootstrap import machine
from keelback.testing.commands import Cluster


def _started(name: str, folder: Path, *flags: str) -> Iterator[Cluster]:
    cluster = Cluster(name, folder)
    try:
        cluster.keelback("up", *flags)
        yield cluster
    finally:
        cluster.keelback("down")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three simulated nodes."""
    yield from _started("test-simulated", tmp_path_factory.mktemp("simulated"), "--simulated", "--nodes", "3")


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two real nodes."""
    folder = tmp_path_factory.mktemp("containers")
    findings = machine.examine(machine.observe(folder))
    if not machine.can_run_containers(findings):
        pytest.skip(f"no real containers here: {machine.why_simulated(findings)}")
    yield from _started("test-real", folder, "--nodes", "2")
