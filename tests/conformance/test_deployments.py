"""What the conformance suite demands of Deployments, ReplicaSets and ReplicationControllers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.simulation.pods import READY
from keelback.testing.cluster import Cluster

SETS = {
    "replicaset": ("apps/v1", "ReplicaSet"),
    "replicationcontroller": ("v1", "ReplicationController"),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=2) as running:
        yield running


def template(app: str, image: str = "one", **annotations: str) -> dict[str, Any]:
    metadata = {"labels": {"app": app}, "annotations": annotations}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": image}]}}


def deployment(name: str, image: str = "one", **spec: Any) -> dict[str, Any]:
    given = {"selector": {"matchLabels": {"app": name}}, "template": template(name, image)} | spec
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": given}


def replicas_of(kind: str, name: str, replicas: int) -> dict[str, Any]:
    api_version, kind_name = SETS[kind]
    labels = {"app": name}
    selector = {"matchLabels": labels} if kind == "replicaset" else labels
    spec = {"replicas": replicas, "selector": selector, "template": template(name)}
    return {"apiVersion": api_version, "kind": kind_name, "metadata": {"name": name, "labels": labels}, "spec": spec}


def pods(cluster: Cluster, app: str) -> list[dict[str, Any]]:
    found = cluster.list("pods", label_selector=f"app={app}")
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def images(cluster: Cluster, app: str) -> set[str]:
    return {one["spec"]["containers"][0]["image"] for one in pods(cluster, app)}


def sizes(cluster: Cluster, app: str) -> dict[str, int]:
    """How many replicas are wanted of each image."""
    found = cluster.list("replicasets", label_selector=f"app={app}")
    return {one["spec"]["template"]["spec"]["containers"][0]["image"]: one["spec"]["replicas"] for one in found}


def test_a_rolling_update_replaces_the_old_pods(cluster: Cluster) -> None:
    """Of a ReplicaSet that was there before, too: the Deployment adopts it as its first revision."""
    cluster.apply(replicas_of("replicaset", "rolling", 1))
    cluster.wait("replicaset/rolling", "status.readyReplicas=1")
    cluster.patch("replicaset/rolling", {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "35"}}})
    cluster.apply(deployment("rolling", "two"))
    cluster.wait("deployment/rolling", "status.updatedReplicas=1")
    cluster.wait("deployment/rolling", lambda tree: tree["status"].get("replicas") == 1)
    cluster.advance(5)
    assert images(cluster, "rolling") == {"two"}
    assert cluster.get("deployment/rolling")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "36"
    owners = {one["metadata"]["ownerReferences"][0]["name"] for one in cluster.list("rs", label_selector="app=rolling")}
    assert owners == {"rolling"}
    assert sizes(cluster, "rolling") == {"one": 0, "two": 1}


def test_recreation_never_runs_old_and_new_together(cluster: Cluster) -> None:
    strategy = {"type": "Recreate"}
    cluster.apply(deployment("recreated", replicas=2, strategy=strategy))
    before = cluster.wait("deployment/recreated", "status.readyReplicas=2")["metadata"]["resourceVersion"]
    cluster.apply(deployment("recreated", "two", replicas=2, strategy=strategy))
    cluster.wait("deployment/recreated", lambda tree: tree["status"].get("updatedReplicas") == 2)
    running: set[str] = {"one"}
    counts = {"one": 2, "two": 0}
    for change in cluster.changes("pods", before, label_selector="app=recreated"):
        image = change["object"]["spec"]["containers"][0]["image"]
        counts[image] += {"ADDED": 1, "DELETED": -1}.get(change["type"], 0)
        running = {one for one, number in counts.items() if number}
        assert len(running) <= 1
    assert running == {"two"}


def test_old_replica_sets_go_beyond_the_history_limit(cluster: Cluster) -> None:
    cluster.apply(deployment("forgetful", revisionHistoryLimit=0))
    cluster.wait("deployment/forgetful", "Available")
    cluster.apply(deployment("forgetful", "two", revisionHistoryLimit=0))
    cluster.advance(20)
    assert sizes(cluster, "forgetful") == {"two": 1}


def test_a_rollout_is_rolled_over_by_the_next(cluster: Cluster) -> None:
    slow = {"replicas": 1, "minReadySeconds": 10, "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}
    cluster.apply(deployment("over", **slow))
    cluster.wait("deployment/over", "status.availableReplicas=1")
    never = template("over", "two", **{READY: "false"})
    cluster.apply(deployment("over", "two", **slow, template=never))
    cluster.advance(5)
    assert sizes(cluster, "over") == {"one": 1, "two": 1}
    cluster.apply(deployment("over", "three", **slow))
    cluster.wait("deployment/over", lambda tree: tree["status"].get("availableReplicas") == 1, timeout=60)
    cluster.advance(30)
    assert sizes(cluster, "over") == {"one": 0, "two": 0, "three": 1}
    assert images(cluster, "over") == {"three"}


def test_scaling_in_the_middle_of_a_rollout_is_shared_in_proportion(cluster: Cluster) -> None:
    bounds = {"strategy": {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}}
    cluster.apply(deployment("shared", replicas=10, **bounds))
    cluster.wait("deployment/shared", "status.availableReplicas=10")
    stuck = template("shared", "stuck", **{READY: "false"})
    cluster.apply(deployment("shared", "stuck", replicas=10, **bounds, template=stuck))
    cluster.advance(10)
    assert sizes(cluster, "shared") == {"one": 8, "stuck": 5}
    cluster.apply(deployment("shared", "stuck", replicas=30, **bounds, template=stuck))
    cluster.advance(10)
    assert sizes(cluster, "shared") == {"one": 20, "stuck": 13}


def test_a_deployment_lives_from_its_creation_to_its_deletion(cluster: Cluster) -> None:
    cluster.apply(deployment("lived", replicas=1))
    cluster.wait("deployment/lived", "Available")
    cluster.patch(
        "deployment/lived", {"spec": {"replicas": 2, "template": {"spec": {"terminationGracePeriodSeconds": 0}}}}
    )
    cluster.wait("deployment/lived", "status.readyReplicas=2")
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test"}
    cluster.patch("deployment/lived", {"status": {"conditions": [condition]}}, subresource="status")
    cluster.patch("deployment/lived", {"status": {"readyReplicas": 0, "availableReplicas": 0}}, subresource="status")
    cluster.wait("deployment/lived", "status.readyReplicas=2")
    cluster.delete("deployment/lived")
    cluster.wait("deployment/lived", "deleted")
    cluster.advance(60)
    assert pods(cluster, "lived") == []


@pytest.mark.parametrize("kind", ["deployment", "replicaset", "replicationcontroller"])
def test_scale_is_read_updated_and_patched(cluster: Cluster, kind: str) -> None:
    name = f"scaled-{kind}"
    cluster.apply(deployment(name, replicas=1) if kind == "deployment" else replicas_of(kind, name, 1))
    cluster.wait(f"{kind}/{name}", "status.readyReplicas=1")
    root = "/api/v1" if kind == "replicationcontroller" else "/apis/apps/v1"
    path = f"{root}/namespaces/default/{kind}s/{name}/scale"
    scale = cluster.request("GET", path)
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"]) == ("Scale", 1, 1)
    scale["spec"]["replicas"] = 2
    assert cluster.request("PUT", path, body=scale)["spec"]["replicas"] == 2
    assert cluster.get(f"{kind}/{name}")["spec"]["replicas"] == 2
    cluster.patch(f"{kind}/{name}", {"spec": {"replicas": 4}}, subresource="scale")
    assert cluster.wait(f"{kind}/{name}", "status.readyReplicas=4")["spec"]["replicas"] == 4


@pytest.mark.parametrize("kind", sorted(SETS))
def test_orphans_that_match_are_adopted_and_pods_that_match_no_longer_are_released(cluster: Cluster, kind: str) -> None:
    name = f"adopts-{kind}"
    orphan = {"apiVersion": "v1", "kind": "Pod", **template(name)}
    orphan["metadata"] = {"name": f"{name}-orphan", "labels": {"app": name}}
    cluster.apply(orphan)
    cluster.apply(replicas_of(kind, name, 1))
    cluster.wait(f"{kind}/{name}", "status.readyReplicas=1")
    [adopted] = pods(cluster, name)
    owner = adopted["metadata"]["ownerReferences"][0]
    assert (adopted["metadata"]["name"], owner["name"], owner["controller"]) == (f"{name}-orphan", name, True)
    cluster.patch(f"pod/{name}-orphan", {"metadata": {"labels": {"app": "released"}}})
    cluster.wait(f"pod/{name}-orphan", lambda tree: "ownerReferences" not in tree["metadata"])
    cluster.advance(5)
    assert len(pods(cluster, name)) == 1


@pytest.mark.parametrize("kind", sorted(SETS))
def test_a_set_is_replaced_patched_and_scaled(cluster: Cluster, kind: str) -> None:
    name = f"lives-{kind}"
    cluster.apply(replicas_of(kind, name, 1))
    cluster.wait(f"{kind}/{name}", "status.readyReplicas=1")
    cluster.patch(f"{kind}/{name}", {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 3}})
    assert cluster.wait(f"{kind}/{name}", "status.availableReplicas=3")["metadata"]["labels"]["patched"] == "yes"
    assert [one["metadata"]["name"] for one in cluster.list(kind, label_selector="patched=yes", namespace="")] == [name]
    cluster.delete(f"{kind}/{name}")
    cluster.wait(f"{kind}/{name}", "deleted")
    cluster.advance(60)
    assert pods(cluster, name) == []


@pytest.mark.parametrize("kind", sorted(SETS))
def test_a_quota_that_is_in_the_way_shows_as_a_condition_until_it_is_not(cluster: Cluster, kind: str) -> None:
    namespace = f"quota-{kind}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster.advance(2)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}}
    cluster.apply(quota, namespace=namespace)
    cluster.advance(2)
    cluster.apply(replicas_of(kind, "three", 3), namespace=namespace)
    found = cluster.wait(f"{kind}/three", "ReplicaFailure", namespace=namespace)
    assert (
        next(one for one in found["status"]["conditions"] if one["type"] == "ReplicaFailure")["reason"]
        == "FailedCreate"
    )
    cluster.patch(f"{kind}/three", {"spec": {"replicas": 2}}, namespace=namespace)
    cluster.wait(f"{kind}/three", lambda tree: not tree["status"].get("conditions"), namespace=namespace)
