"""A node that is cut off, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.api.core_v1 import Node, Pod, PodSpec, Toleration
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import MergePatch
from keelback.controllers.config import Config
from keelback.controllers.node_lifecycle import NodeLifecycleReconciler
from keelback.controllers.taint_eviction import TaintEvictionReconciler
from keelback.testing.cluster import Cluster

TOLERATION = Toleration(
    key="node.kubernetes.io/unreachable", operator="Exists", effect="NoExecute", toleration_seconds=300
)


def test_a_node_that_renews_its_lease_stays_and_one_that_does_not_is_emptied(world: Any, manual_clock: Any) -> None:
    asyncio.run(_play(world(manual_clock), manual_clock))


async def _play(cluster: Any, clock: Any) -> None:
    for name in ("alive", "dead"):
        await cluster.client.create(Node(metadata=ObjectMeta(name=name)))
        await cluster.set_status(f"/api/v1/nodes/{name}", {"conditions": [{"type": "Ready", "status": "True"}]})
        lease = Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease"), spec=LeaseSpec(renew_time="0"))
        await cluster.client.create(lease)
    spec = PodSpec(node_name="dead", tolerations=(TOLERATION,))
    await cluster.client.create(Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=spec))
    await cluster.make_pods_ready()
    async with cluster.running(lambda context: NodeLifecycleReconciler(context, Config()), TaintEvictionReconciler):
        await clock.pass_time(1)
        await _renewing(cluster, clock, ["alive", "dead"], 120)
        assert readiness(cluster, "dead") == "True"
        await _renewing(cluster, clock, ["alive"], 30)
        assert readiness(cluster, "dead") == "True"
        await _renewing(cluster, clock, ["alive"], 30)
        assert readiness(cluster, "dead") == "Unknown"
        assert readiness(cluster, "alive") == "True"
        taints = cluster.server.objects["/api/v1/nodes/dead"]["spec"]["taints"]
        assert {one["effect"] for one in taints} == {"NoSchedule", "NoExecute"}
        assert {one["key"] for one in taints} == {"node.kubernetes.io/unreachable"}
        pod = cluster.server.objects["/api/v1/namespaces/default/pods/p"]
        assert pod["status"]["conditions"][0]["status"] == "False"
        # The clock is years ahead of the pod's creation: only the taint's time counts.
        await _renewing(cluster, clock, ["alive"], 260)
        assert list(cluster.all("pods"))
        await _renewing(cluster, clock, ["alive"], 40)
        assert not list(cluster.all("pods"))
        text = cluster.context.metrics.exposition().decode()
        assert 'node_collector_unhealthy_nodes_in_zone{zone=""} 1' in text
        assert 'node_collector_evictions_total{zone=""} 1' in text
        assert "taint_eviction_controller_pod_deletions_total 1" in text
        await cluster.client.delete(Node, "dead")
        await clock.pass_time(1)
    removed = "Node dead event: Removing Node dead from Controller"
    assert ("Normal", "RemovingNode", removed) in cluster.events.said
    assert ("Normal", "NodeNotReady", "Node dead status is now: NodeNotReady") in cluster.events.said


async def _renewing(cluster: Any, clock: Any, names: list[str], seconds: int) -> None:
    for _ in range(seconds // 10):
        for name in names:
            patch = MergePatch({"spec": {"renewTime": str(clock.seconds)}})
            await cluster.client.patch(Lease, name, "kube-node-lease", patch)
        await clock.pass_time(10)


def readiness(cluster: Any, name: str) -> str:
    return cluster.server.objects[f"/api/v1/nodes/{name}"]["status"]["conditions"][0]["status"]


def test_pods_of_a_lost_node_are_marked_though_the_first_writes_fail_and_the_controllers_start_anew() -> None:
    with Cluster(seed=1, nodes=2) as cluster:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        cluster.apply({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": spec})
        cluster.advance(10)
        cluster.disconnect("node-0")
        with cluster.inject(client="kube-controller-manager/node-controller", resource="pods/status", status=503):
            cluster.advance(60)
        assert _ready_of(cluster) == {"node-0": "True", "node-1": "True"}
        cluster.stop_component("controller-manager")
        cluster.start_component("controller-manager")
        cluster.advance(60)
        assert _ready_of(cluster) == {"node-0": "False", "node-1": "True"}


def _ready_of(cluster: Cluster) -> dict[str, str]:
    """By node, what the Ready condition of its pod says."""
    return {
        pod["spec"]["nodeName"]: one["status"]
        for pod in cluster.list("pods")
        for one in pod["status"]["conditions"]
        if one["type"] == "Ready"
    }
