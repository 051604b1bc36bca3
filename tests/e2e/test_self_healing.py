"""What breaks and mends itself, on three real nodes: a node cut off, a pod deleted, processes killed, flags changed.

A killed container and a drained node are in test_containers.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keelback.bootstrap import machine
from keelback.bootstrap.processes import Process
from keelback.concurrency.clock import SystemClock
from keelback.cri.containerd import CRIRuntime
from keelback.testing import crashes
from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

# A kubelet renews its Lease every ten seconds.
QUICK = (
    "--kube-controller-manager-arg=node-monitor-grace-period=14s",
    "--kube-controller-manager-arg=node-monitor-period=1s",
    "--kube-apiserver-arg=default-not-ready-toleration-seconds=1",
    "--kube-apiserver-arg=default-unreachable-toleration-seconds=1",
)
ROUNDS = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three real nodes, and a Deployment; pods leave an unreachable node after a second."""
    folder = tmp_path_factory.mktemp("healing")
    findings = machine.examine(machine.observe(folder))
    if not machine.can_run_containers(findings):
        pytest.skip(f"no real containers here: {machine.why_simulated(findings)}")
    made = Cluster("test-healing", folder)
    try:
        made.keelback("up", "--nodes", "3", *QUICK)
        made.kubectl("apply", "-f", "-", text=json.dumps(deployment()))
        made.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        yield made
    finally:
        made.keelback("down")


def deployment() -> Mapping[str, Any]:
    labels = {"app": "web"}
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    spec = {
        "containers": [{"name": "web", "image": crashes.IMAGE, "imagePullPolicy": "IfNotPresent"}],
        "topologySpreadConstraints": [{**spread, "whenUnsatisfiable": "ScheduleAnyway"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def pods(cluster: Cluster) -> list[dict[str, Any]]:
    found = json.loads(cluster.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def container_ids(cluster: Cluster) -> list[str]:
    return sorted(pod["status"]["containerStatuses"][0]["containerID"] for pod in pods(cluster))


def sandboxes(cluster: Cluster, node: str, *, until_gone: bool = False) -> set[str]:
    """The uids of the pods that the node's runtime has; if asked for, once there are none."""

    async def look() -> set[str]:
        runtime = CRIRuntime(
            str(Path("/run/keelback", cluster.name, node, "containerd/containerd.sock")), SystemClock()
        )
        try:
            async with asyncio.timeout(30):
                while (found := await runtime.list_pod_sandboxes()) and until_gone:  # noqa: ASYNC110  (it has no event)
                    await asyncio.sleep(0.1)
                return {sandbox.uid for sandbox in found}
        finally:
            await runtime.close()

    return asyncio.run(look())


def kill(cluster: Cluster, *record: str) -> None:
    process = Process.of(cluster.record(*record))
    process.send(signal.SIGKILL)
    assert asyncio.run(process.wait_gone(10.0))


def test_a_deleted_pod_is_replaced(cluster: Cluster) -> None:
    victim = pods(cluster)[0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", victim, "--timeout=60s")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert victim not in {pod["metadata"]["name"] for pod in pods(cluster)}


def test_a_node_that_is_cut_off_loses_its_pods_and_comes_back_clean(cluster: Cluster) -> None:
    lone = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"}}
    container = {"name": "web", "image": crashes.IMAGE, "imagePullPolicy": "IfNotPresent"}
    stays = {"key": "node.kubernetes.io/unreachable", "operator": "Exists"}
    spec = {"nodeName": "node-2", "containers": [container], "tolerations": [stays]}
    cluster.kubectl("apply", "-f", "-", text=json.dumps({**lone, "spec": spec}))
    cluster.kubectl("wait", "pod/lone", "--for=condition=Ready", "--timeout=30s")
    there = [pod["metadata"]["name"] for pod in pods(cluster) if pod["spec"]["nodeName"] == "node-2"]
    assert there

    cluster.keelback("disconnect", "node-2")
    cluster.kubectl("wait", "node/node-2", "--for=condition=Ready=Unknown", "--timeout=60s")
    for name in there:
        cluster.kubectl("wait", f"pod/{name}", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=60s")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert sorted({pod["spec"]["nodeName"] for pod in pods(cluster)}) == ["node-0", "node-1"]
    # Nobody can end the old ones, so they are still listed, and the node runs them; one that is forced leaves the API.
    assert len(sandboxes(cluster, "node-2")) == len(there) + 1
    cluster.kubectl("delete", "pod", "lone", "--force", "--grace-period=0")

    cluster.keelback("connect", "node-2")
    cluster.kubectl("wait", "node/node-2", "--for=condition=Ready", "--timeout=60s")
    for name in (*there, "lone"):
        cluster.kubectl("wait", f"pod/{name}", "--for=delete", "--timeout=60s")
    # The API forgets a forced pod before its node has heard of it.
    assert not sandboxes(cluster, "node-2", until_gone=True)
    assert not list(Path(cluster.data, "nodes", "node-2", "kubelet", "pods").iterdir())
    assert cluster.kubectl("get", "node", "node-2", "-o", "jsonpath={.spec.taints}") == ""
    cluster.kubectl("rollout", "restart", "deployment/web")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "node-2" in {pod["spec"]["nodeName"] for pod in pods(cluster)}


def test_a_runtime_that_is_killed_takes_no_container_along(cluster: Cluster) -> None:
    before = container_ids(cluster)
    for node in ("node-0", "node-1", "node-2"):
        kill(cluster, node, "containerd.json")
    # Pods that start on each node afterwards: the runtimes are back, and their kubelets have seen it.
    cluster.kubectl("scale", "deployment/web", "--replicas=6")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert set(before) <= set(container_ids(cluster))
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods(cluster)]
    assert restarts == [0] * 6
    assert {pod["spec"]["nodeName"] for pod in pods(cluster)} == {"node-0", "node-1", "node-2"}
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    cluster.kubectl("wait", "deployment/web", "--for=jsonpath={.status.replicas}=3", "--timeout=60s")


def test_changed_flags_reach_a_kubelet_that_outlived_its_control_plane(cluster: Cluster) -> None:
    before = container_ids(cluster)
    agents = [cluster.record(f"node-{number}", "agent.json") for number in range(3)]
    kill(cluster, "control-plane.json")
    cluster.keelback("up")
    assert [cluster.record(f"node-{number}", "agent.json") for number in range(3)] == agents
    kill(cluster, "control-plane.json")
    cluster.keelback("up", *QUICK, "--kubelet-arg=max-pods=33")
    for number in range(3):
        node = f"node/node-{number}"
        cluster.kubectl("wait", node, "--for=jsonpath={.status.allocatable.pods}=33", "--timeout=60s")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert container_ids(cluster) == before


def test_after_kill_9_of_everything_under_writes_none_is_lost(cluster: Cluster) -> None:
    before = container_ids(cluster)
    seed = int.from_bytes(os.urandom(4))
    for outcome in crashes.play(cluster, random.Random(seed)):
        assert not outcome.lost, f"seed {seed}: {outcome}"
        if outcome.rounds == ROUNDS:
            break
    assert outcome.acknowledged
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert container_ids(cluster) == before
