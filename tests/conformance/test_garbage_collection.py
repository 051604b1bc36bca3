"""What the conformance suite demands of the garbage collector: owners that go, and what becomes of what they own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster

REPLICAS = 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=2, heartbeat_seconds=300) as running:
        yield running


def pod_template(app: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}


def replication_controller(cluster: Cluster, name: str, replicas: int = REPLICAS) -> dict[str, Any]:
    """One whose pods all run."""
    spec = {"replicas": replicas, "selector": {"app": name}, "template": pod_template(name)}
    kind = {"apiVersion": "v1", "kind": "ReplicationController"}
    cluster.apply({**kind, "metadata": {"name": name}, "spec": spec})
    cluster.wait(f"rc/{name}", f"status.readyReplicas={replicas}" if replicas else "exists")
    return cluster.get(f"rc/{name}")


def deployment(cluster: Cluster, name: str) -> dict[str, Any]:
    """The ReplicaSet of a Deployment that is available."""
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": pod_template(name)}
    cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
    cluster.wait(f"deployment/{name}", "Available")
    (found,) = cluster.list("replicasets", label_selector=f"app={name}")
    return found


def pods(cluster: Cluster, app: str) -> list[dict[str, Any]]:
    return cluster.list("pods", label_selector=f"app={app}")


def owner(tree: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = tree["metadata"]
    named = {"apiVersion": tree["apiVersion"], "kind": tree["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {**named, **more}


def gone(cluster: Cluster, target: str) -> bool:
    try:
        cluster.get(target)
    except errors.NotFound:
        return True
    return False


def names(trees: list[dict[str, Any]]) -> set[str]:
    return {one["metadata"]["name"] for one in trees}


def test_pods_go_with_their_controller(cluster: Cluster) -> None:
    replication_controller(cluster, "goes")
    cluster.delete("rc/goes", propagation_policy="Background")
    assert gone(cluster, "rc/goes")
    cluster.advance(30)
    assert pods(cluster, "goes") == []


def test_pods_outlive_a_controller_that_is_to_leave_orphans(cluster: Cluster) -> None:
    replication_controller(cluster, "leaves")
    before = pods(cluster, "leaves")
    cluster.delete("rc/leaves", propagation_policy="Orphan")
    cluster.wait("rc/leaves", "deleted")
    cluster.advance(60)
    after = pods(cluster, "leaves")
    assert len(after) == REPLICAS
    assert {one["metadata"]["uid"] for one in after} == {one["metadata"]["uid"] for one in before}
    assert not any("ownerReferences" in one["metadata"] for one in after)


def test_a_replica_set_goes_with_its_deployment(cluster: Cluster) -> None:
    made = deployment(cluster, "goes-too")
    cluster.delete("deployment/goes-too", propagation_policy="Background")
    cluster.wait(f"replicaset/{made['metadata']['name']}", "deleted")
    cluster.advance(30)
    assert pods(cluster, "goes-too") == []


def test_a_replica_set_outlives_a_deployment_that_is_to_leave_orphans(cluster: Cluster) -> None:
    made = deployment(cluster, "leaves-too")
    running = names(pods(cluster, "leaves-too"))
    cluster.delete("deployment/leaves-too", propagation_policy="Orphan")
    cluster.wait("deployment/leaves-too", "deleted")
    cluster.advance(60)
    left = cluster.get(f"replicaset/{made['metadata']['name']}")
    assert left["metadata"]["uid"] == made["metadata"]["uid"]
    assert "ownerReferences" not in left["metadata"]
    assert names(pods(cluster, "leaves-too")) == running
    assert len(running) == 2


def test_a_controller_stays_until_its_pods_are_gone_if_it_is_told_to(cluster: Cluster) -> None:
    version = replication_controller(cluster, "stays")["metadata"]["resourceVersion"]
    cluster.delete("rc/stays", propagation_policy="Foreground")
    waiting = cluster.get("rc/stays")
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert waiting["metadata"]["deletionTimestamp"]
    cluster.wait("rc/stays", "deleted")
    assert pods(cluster, "stays") == []
    ends = [one["object"] for one in cluster.changes("pods", version) if one["type"] == "DELETED"]
    last = max(int(one["metadata"]["resourceVersion"]) for one in ends)
    (end,) = [one["object"] for one in cluster.changes("rc", version) if one["type"] == "DELETED"]
    assert len(ends) == REPLICAS
    assert int(end["metadata"]["resourceVersion"]) > last


def test_whom_another_still_owns_stays(cluster: Cluster) -> None:
    replication_controller(cluster, "dying")
    other = replication_controller(cluster, "living", replicas=0)
    shared = names(pods(cluster, "dying")[: REPLICAS // 2])
    for name in shared:
        both = [*cluster.get(f"pod/{name}")["metadata"]["ownerReferences"], owner(other)]
        cluster.patch(f"pod/{name}", {"metadata": {"ownerReferences": both}})
    cluster.delete("rc/dying", propagation_policy="Foreground")
    cluster.wait("rc/dying", "deleted")
    cluster.advance(30)
    left = pods(cluster, "dying")
    assert names(left) == shared
    for one in left:
        assert "deletionTimestamp" not in one["metadata"]
        assert [each["name"] for each in one["metadata"]["ownerReferences"]] == ["living"]


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_a_circle_of_owners_does_not_hold_itself(cluster: Cluster, policy: str) -> None:
    circle = [f"{policy.lower()}-{number}" for number in range(3)]
    made = {}
    for name in circle:
        spec = pod_template("circle") | {"apiVersion": "v1", "kind": "Pod"}
        (made[name],) = cluster.apply(spec | {"metadata": {"name": name, "labels": {"app": policy}}})
    for name, owning in zip(circle, [circle[2], *circle[:2]], strict=True):
        reference = owner(made[owning], controller=True, blockOwnerDeletion=True)
        cluster.patch(f"pod/{name}", {"metadata": {"ownerReferences": [reference]}})
    cluster.delete(f"pod/{circle[0]}", propagation_policy=policy)
    cluster.advance(60)
    assert pods(cluster, policy) == []
