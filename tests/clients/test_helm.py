"""Helm of both living major versions: the life of a release, and an upgrade that cannot succeed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keelback.testing import clients
from keelback.testing.commands import Cluster

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(300)]
NewNamespace = Callable[[Cluster, str], str]
# The kubectl layers of these minors carry Helm 3.17 and Helm 4.
MINORS = {3: 32, 4: 37}


@dataclass(frozen=True)
class Helm:
    """One Helm and the chart that it makes itself, in a namespace."""

    program: Path
    cluster: Cluster
    chart: Path

    def __call__(self, *arguments: str, may_fail: bool = False) -> str:
        argv = [str(self.program), *arguments, "--namespace", self.cluster.namespace]
        return self.cluster.run(argv, may_fail=may_fail)

    def status(self, release: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self("status", release, "-o", "json"))
        return content


def helm(cluster: Cluster, major: int, new_namespace: NewNamespace, folder: Path) -> Helm:
    program = clients.layer(MINORS[major]).helm
    here = cluster.by(cluster.program, new_namespace(cluster, f"helm-{major}"))
    cluster.run([str(program), "create", str(folder / "chart")])
    return Helm(program, here, folder / "chart")


@pytest.mark.parametrize("major", MINORS)
def test_the_life_of_a_release(simulated: Cluster, new_namespace: NewNamespace, tmp_path: Path, major: int) -> None:
    call = helm(simulated, major, new_namespace, tmp_path)
    assert call("version", "--short").startswith(f"v{major}.")
    chart = str(call.chart)
    call("install", "web", chart, "--wait", "--timeout", "60s")
    assert call.status("web")["info"]["status"] == "deployed"
    call("upgrade", "web", chart, "--set", "replicaCount=3", "--wait", "--timeout", "60s")
    assert call.cluster.kubectl("get", "deploy/web-chart", "-o", "jsonpath={.status.readyReplicas}") == "3"
    call("rollback", "web", "1", "--wait", "--timeout", "60s")
    assert call.cluster.kubectl("get", "deploy/web-chart", "-o", "jsonpath={.spec.replicas}") == "1"
    history = json.loads(call("history", "web", "-o", "json"))
    assert [one["description"] for one in history] == ["Install complete", "Upgrade complete", "Rollback to 1"]
    assert "web" in call("list", "-A")
    assert "replicaCount" in call("get", "values", "web", "--all")
    kept = json.loads(call.cluster.kubectl("get", "secrets", "-l", "owner=helm", "-o", "json"))["items"]
    assert [one["type"] for one in kept] == ["helm.sh/release.v1"] * 3
    assert ("helm", "Apply" if major == 4 else "Update") in writers(call.cluster, "deployment/web-chart")
    call("uninstall", "web", "--wait", "--timeout", "60s")
    assert call.cluster.kubectl("get", "deployments,services,secrets", "-o", "name") == ""
    call.cluster.kubectl("wait", "pods", "--all", "--for=delete", "--timeout=30s")


def writers(cluster: Cluster, name: str) -> set[tuple[str, str]]:
    shown = json.loads(cluster.kubectl("get", name, "-o", "json", "--show-managed-fields"))
    return {(one["manager"], one["operation"]) for one in shown["metadata"]["managedFields"]}


@pytest.mark.parametrize("major", MINORS)
def test_an_upgrade_that_never_gets_ready_goes_back(
    empty: Cluster, new_namespace: NewNamespace, tmp_path: Path, major: int
) -> None:
    call = helm(empty, major, new_namespace, tmp_path)
    chart = str(call.chart)
    call("install", "web", chart, "--set", "replicaCount=0")
    back = "--rollback-on-failure" if major == 4 else "--atomic"
    failed = call("upgrade", "web", chart, "--set", "replicaCount=1", "--wait", "--timeout", "5s", back, may_fail=True)
    assert "rolled back" in failed, failed
    history = json.loads(call("history", "web", "-o", "json"))
    assert [one["status"] for one in history] == ["superseded", "failed", "deployed"]
    assert call.cluster.kubectl("get", "deploy/web-chart", "-o", "jsonpath={.spec.replicas}") == "0"
    call("uninstall", "web")
    assert call.cluster.kubectl("get", "deployments,services", "-o", "name") == ""
