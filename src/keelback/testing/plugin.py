"""The pytest plugin: clusters as fixtures, and what happened in them where a test fails.

It is loaded in every run of pytest where Keelback is installed, so it imports a cluster only for who asks for one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from keelback.testing.cluster import Cluster
    from keelback.testing.cluster_async import AsyncCluster

_MARKER = "keelback"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings of all clusters of a run; a marker changes them for one test."""
    parser.addini("keelback_nodes", "how many simulated nodes a cluster has", default="3")
    parser.addini("keelback_seed", "what a cluster's chance begins with", default="0")
    parser.addini("keelback_real_time", "whether clusters keep the machine's time", type="bool", default=False)
    parser.addini("keelback_kubernetes_version", "the minor version of Kubernetes, such as 1.32", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "keelback(nodes=, seed=, controllers=, real_time=, heartbeat_seconds=, kubernetes_version=, ...): "
        "how this test's cluster is, as of keelback.testing.cluster.Cluster",
    )


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A fresh cluster of the test's own: API server, controllers, scheduler and simulated nodes, in virtual time."""
    with _cluster(request.config, **_marked(request.node)) as made:
        yield made


@pytest.fixture
def api_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A fresh API server of the test's own, without controllers and nodes."""
    with _cluster(request.config, **{**_marked(request.node), "controllers": False}) as made:
        yield made


@pytest.fixture
def async_cluster(cluster: Cluster) -> AsyncCluster:
    """The fixture `cluster`, for a test that is a coroutine."""
    from keelback.testing.cluster_async import AsyncCluster

    return AsyncCluster(cluster)


@pytest.fixture(scope="session")
def session_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One cluster for the whole run (of each worker): tests keep apart by namespaces, or by snapshots."""
    with _cluster(request.config) as made:
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add what happened in the test's clusters to the report of its failure."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed:
        return
    found = {id(one): (name, one) for name, one in getattr(item, "funcargs", {}).items() if _runs(one)}
    for name, one in found.values():
        report.sections.append((f"keelback: {name}", one.report()))


def _runs(value: object) -> bool:
    from sys import modules

    # A cluster that is held was made, so its module is there: it is not imported for a test without one.
    module = modules.get("keelback.testing.cluster")
    return module is not None and isinstance(value, module.Cluster) and value.is_running


def _marked(node: pytest.Item) -> dict[str, Any]:
    """What the markers say: of the test, over its class, over its module."""
    said: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers(_MARKER))):
        if marker.args:
            raise pytest.UsageError("the marker keelback takes names and values: keelback(nodes=5)")
        said.update(marker.kwargs)
    return said


def _cluster(config: pytest.Config, **changes: Any) -> Cluster:
    from keelback.testing.cluster import Cluster

    settings = {
        "nodes": int(config.getini("keelback_nodes")),
        "seed": int(config.getini("keelback_seed")),
        "real_time": config.getini("keelback_real_time"),
        "kubernetes_version": config.getini("keelback_kubernetes_version"),
    }
    return Cluster(**{**settings, **changes})
