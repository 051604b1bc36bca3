"""dask-kubernetes: its definitions by server-side apply, its operator, a cluster that grows, and nothing left of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keelback.testing import clients
from keelback.testing.commands import Cluster

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(600)]

PROGRAMS = Path(__file__).with_name("programs")


@contextmanager
def operator(cluster: Cluster, python: Path, namespace: str, log: Path) -> Iterator[None]:
    argv = [str(python), "-m", "kopf", "run", "-m", "dask_kubernetes.operator.controller", "--namespace", namespace]
    with log.open("wb") as output:
        running = subprocess.Popen(argv, env=cluster.environment, stdout=output, stderr=output)
        try:
            yield
        finally:
            running.terminate()
            running.wait(60)


def test_a_cluster_of_dask_grows_and_is_collected(
    simulated: Cluster, new_namespace: Callable[[Cluster, str], str], tmp_path: Path
) -> None:
    python = clients.python("dask", "dask-kubernetes==2026.3.*")
    definitions = next(python.parents[1].glob("lib/*/site-packages/dask_kubernetes/operator/deployment/helm/*/crds"))
    namespace = new_namespace(simulated, "dask")
    here = simulated.by(simulated.program, namespace)
    here.kubectl("apply", "--server-side", "-f", str(definitions))
    here.kubectl("wait", "-f", str(definitions), "--for=condition=Established", "--timeout=30s")
    with operator(simulated, python, namespace, tmp_path / "log"):
        here.kubectl("apply", "-f", str(PROGRAMS / "daskcluster.yaml"))
        here.kubectl("wait", "daskcluster/sums", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
        expect_workers(here, 2)
        here.kubectl("scale", "daskworkergroup/sums-default", "--replicas=4")
        expect_workers(here, 4)
        here.kubectl("delete", "daskcluster/sums", "--timeout=60s")
        here.kubectl("wait", "deployments,services,pods", "--all", "--for=delete", "--timeout=60s")
        assert here.kubectl("get", "all,daskworkergroups", "-o", "name") == ""
    here.kubectl("delete", "-f", str(definitions), "--timeout=60s")


def expect_workers(cluster: Cluster, count: int) -> None:
    """That many, each a Deployment of its own, are there and available, and no more."""
    selector = ("deployments", "-l", "dask.org/component=worker")
    deadline = time.monotonic() + 60
    while len(found := cluster.kubectl("get", *selector, "-o", "name").split()) != count:
        assert time.monotonic() < deadline, found
    cluster.kubectl("wait", *selector, "--for=condition=Available", "--timeout=60s")
