"""What the conformance suite demands of the scheduler: what fits where, and who makes room for whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.simulation.config import nodes
from keelback.testing.cluster import Cluster

DONGLE = "example.com/dongle"
CAPACITY = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "1Ti", "pods": "110", DONGLE: "10"}


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with Cluster(nodes=nodes(2, capacity=CAPACITY), heartbeat_seconds=300) as cluster:
        for name, value in (("low", 1), ("middle", 2), ("high", 3), ("highest", 4)):
            kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
            cluster.apply(kind | {"metadata": {"name": name}, "value": value})
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    yield running
    for kind in ("replicasets", "pods"):
        for namespace in ("default", "kube-system"):
            for one in running.list(kind, namespace=namespace):
                name = f"{kind}/{one['metadata']['name']}"
                running.patch(name, {"metadata": {"finalizers": None}}, namespace=namespace)
                running.request(
                    "DELETE",
                    f"{'/api/v1' if kind == 'pods' else '/apis/apps/v1'}/namespaces/{namespace}/{name}",
                    query="gracePeriodSeconds=0",
                )
    running.advance(5)


def pod(cluster: Cluster, name: str, namespace: str = "default", *, ask: str = "", **spec: Any) -> None:
    """A pod that asks for so many dongles, where any are said."""
    resources = {"requests": {DONGLE: ask}, "limits": {DONGLE: ask}} if ask else {}
    container = {"name": "c", "image": "one", "resources": resources} | spec.pop("container", {})
    metadata = {"name": name, "labels": {"name": name}, **spec.pop("metadata", {})}
    tree = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}
    cluster.apply(tree, namespace=namespace)
    cluster.advance(2)


def node_of(cluster: Cluster, name: str, namespace: str = "default") -> str:
    """Where a pod runs; nothing while it runs nowhere."""
    found: str = cluster.get(f"pod/{name}", namespace=namespace)["spec"].get("nodeName", "")
    return found


def unschedulable(cluster: Cluster, name: str) -> str:
    (found,) = [one for one in cluster.get(f"pod/{name}")["status"]["conditions"] if one["type"] == "PodScheduled"]
    assert (found["status"], found["reason"]) == ("False", "Unschedulable")
    message: str = found["message"]
    return message


def test_two_nodes_take_pods(cluster: Cluster) -> None:
    found = cluster.list("nodes", namespace="")
    assert len(found) == 2
    assert not any(one["spec"].get("taints") or one["spec"].get("unschedulable") for one in found)


def test_what_is_requested_beyond_the_capacity_is_not_placed(cluster: Cluster) -> None:
    for number in range(2):
        pod(cluster, f"fills-{number}", container={"resources": {"requests": {"cpu": "2500m"}}})
    assert {node_of(cluster, f"fills-{number}") for number in range(2)} == {"node-0", "node-1"}
    pod(cluster, "more", container={"resources": {"requests": {"cpu": "2"}}})
    assert unschedulable(cluster, "more") == (
        "0/2 nodes are available: 2 Insufficient cpu. "
        "no new claims to deallocate, "
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    )
    assert [one["message"] for one in cluster.events("pod/more")] == [unschedulable(cluster, "more")]
    freed = node_of(cluster, "fills-0")
    cluster.advance(120)
    assert node_of(cluster, "more") == ""
    cluster.request("DELETE", "/api/v1/namespaces/default/pods/fills-0", query="gracePeriodSeconds=0")
    assert cluster.wait("pod/more", "PodScheduled")["spec"]["nodeName"] == freed


def test_a_node_selector_is_respected(cluster: Cluster) -> None:
    pod(cluster, "nowhere", nodeSelector={"place": "here"})
    assert unschedulable(cluster, "nowhere") == (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. "
        "no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    pod(cluster, "elsewhere", nodeSelector={"place": "there"})
    cluster.patch("node/node-1", {"metadata": {"labels": {"place": "here"}}})
    for name in ("here", "also-here"):
        pod(cluster, name, nodeSelector={"place": "here"})
        assert node_of(cluster, name) == "node-1"
    # The label is what the first had waited for; the wrong value is not.
    assert cluster.wait("pod/nowhere", "PodScheduled")["spec"]["nodeName"] == "node-1"
    cluster.advance(30)
    assert node_of(cluster, "elsewhere") == ""
    cluster.patch("node/node-1", {"metadata": {"labels": {"place": None}}})


def host_port(cluster: Cluster, name: str, address: str, protocol: str = "TCP", port: int = 54321) -> None:
    ports = [{"containerPort": 8080, "hostPort": port, "hostIP": address, "protocol": protocol}]
    pod(cluster, name, container={"ports": ports}, nodeSelector={"kubernetes.io/hostname": "node-0"})


def test_a_host_port_is_taken_by_address_and_protocol(cluster: Cluster) -> None:
    for name, address, protocol in (
        ("one", "127.0.0.1", "TCP"),
        ("other-address", "172.24.0.1", "TCP"),
        ("other-protocol", "172.24.0.1", "UDP"),
    ):
        host_port(cluster, name, address, protocol)
        assert node_of(cluster, name) == "node-0"
    host_port(cluster, "taken", "127.0.0.1")
    assert "didn't have free ports" in unschedulable(cluster, "taken")


def test_a_host_port_of_all_addresses_conflicts_with_each(cluster: Cluster) -> None:
    host_port(cluster, "every", "0.0.0.0", port=54322)
    assert node_of(cluster, "every") == "node-0"
    host_port(cluster, "one", "127.0.0.1", port=54322)
    assert "1 node(s) didn't have free ports for the requested pod ports" in unschedulable(cluster, "one")
    # Another protocol, another port and another node are free.
    host_port(cluster, "datagrams", "127.0.0.1", "UDP", port=54322)
    host_port(cluster, "another", "0.0.0.0", port=54323)
    assert {node_of(cluster, name) for name in ("datagrams", "another")} == {"node-0"}
    ports = [{"containerPort": 8080, "hostPort": 54322, "hostIP": "127.0.0.1"}]
    pod(cluster, "anywhere", container={"ports": ports})
    assert node_of(cluster, "anywhere") == "node-1"


def test_a_pod_of_lower_priority_makes_room(cluster: Cluster) -> None:
    for number, of in enumerate(("low", "middle", "middle", "middle")):
        pod(cluster, f"{of}-{number}", ask="5", priorityClassName=of)
    full = node_of(cluster, "low-0")
    pod(cluster, "equal", ask="5", priorityClassName="low")
    assert "No preemption victims found" in unschedulable(cluster, "equal")
    cluster.delete("pod/equal")
    pod(cluster, "wins", ask="5", priorityClassName="high")
    assert cluster.wait("pod/wins", "Ready")["spec"]["nodeName"] == full
    with pytest.raises(errors.NotFound):
        cluster.get("pod/low-0")
    for number in range(1, 4):
        assert "deletionTimestamp" not in cluster.get(f"pod/middle-{number}")["metadata"]
    (said,) = [one["message"] for one in cluster.events("pod/low-0") if one["reason"] == "Preempted"]
    assert said == f"Preempted by pod {cluster.get('pod/wins')['metadata']['uid']} on node {full}"


def test_a_critical_pod_takes_the_place_of_a_lower_one(cluster: Cluster) -> None:
    for number, of in enumerate(("low", "middle")):
        pod(cluster, f"{of}-{number}", ask="10", priorityClassName=of)
    freed = node_of(cluster, "low-0")
    pod(cluster, "critical", "kube-system", ask="10", priorityClassName="system-cluster-critical")
    critical = cluster.wait("pod/critical", "Ready", namespace="kube-system")["spec"]
    assert (critical["priority"], critical["nodeName"]) == (2_000_000_000, freed)
    with pytest.raises(errors.NotFound):
        cluster.get("pod/low-0")
    assert node_of(cluster, "middle-1")


def test_who_is_preempted_says_so(cluster: Cluster) -> None:
    selector = {"kubernetes.io/hostname": "node-0"}
    held = {"finalizers": ["example.com/held"]}
    pod(cluster, "victim", ask="10", priorityClassName="low", nodeSelector=selector, metadata=held)
    pod(cluster, "preemptor", ask="10", priorityClassName="high", nodeSelector=selector)
    cluster.advance(30)
    victim = cluster.get("pod/victim")
    assert victim["metadata"]["deletionTimestamp"]
    (told,) = [one for one in victim["status"]["conditions"] if one["type"] == "DisruptionTarget"]
    assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
    assert told["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    cluster.patch("pod/victim", {"metadata": {"finalizers": None}})
    cluster.wait("pod/victim", "deleted")
    cluster.wait("pod/preemptor", "Ready")


def replica_set(cluster: Cluster, of: str, replicas: int, ask: str) -> None:
    container = {"name": "c", "image": "one", "resources": {"requests": {DONGLE: ask}, "limits": {DONGLE: ask}}}
    pod_spec = {
        "priorityClassName": of,
        "containers": [container],
        "nodeSelector": {"kubernetes.io/hostname": "node-0"},
    }
    template = {"metadata": {"labels": {"set": of}}, "spec": pod_spec}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"set": of}}, "template": template}
    cluster.apply({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": of}, "spec": spec})


def test_replica_sets_of_four_priorities_make_room_from_the_lowest(cluster: Cluster) -> None:
    before = {}
    for of, replicas, ask in (("low", 4, "1"), ("middle", 2, "1"), ("high", 1, "3")):
        replica_set(cluster, of, replicas, ask)
        cluster.wait(f"replicaset/{of}", f"status.readyReplicas={replicas}")
        before[of] = {one["metadata"]["uid"] for one in cluster.list("pods", label_selector=f"set={of}")}
    replica_set(cluster, "highest", 1, "4")
    cluster.wait("replicaset/highest", "status.readyReplicas=1")
    cluster.advance(60)
    placed = {
        of: {
            one["metadata"]["uid"]
            for one in cluster.list("pods", label_selector=f"set={of}")
            if one["spec"].get("nodeName")
        }
        for of in before
    }
    assert (placed["middle"], placed["high"]) == (before["middle"], before["high"])
    # Nine of ten were taken: three more are given up for four, and one of the lowest may stay.
    assert placed["low"] < before["low"]
    assert len(placed["low"]) == 1
    for of, replicas in (("low", 4), ("middle", 2), ("high", 1), ("highest", 1)):
        assert cluster.get(f"replicaset/{of}")["status"]["replicas"] == replicas


def test_what_may_change_of_a_priority_class(cluster: Cluster) -> None:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    listed = {one["metadata"]["name"]: one for one in cluster.request("GET", path)["items"]}
    assert {"low", "high", "system-node-critical", "system-cluster-critical"} <= set(listed)
    cluster.patch("priorityclass/low", {"description": "patched"})
    cluster.request("PUT", f"{path}/low", body=cluster.get("priorityclass/low") | {"globalDefault": False})
    assert cluster.get("priorityclass/low")["description"] == "patched"
    with pytest.raises(errors.Invalid, match="may not be changed in an update"):
        cluster.patch("priorityclass/low", {"value": 100})
    with pytest.raises(errors.Invalid, match="may not be changed in an update"):
        cluster.request("PUT", f"{path}/low", body=cluster.get("priorityclass/low") | {"value": 100})
    assert cluster.get("priorityclass/low")["value"] == 1
