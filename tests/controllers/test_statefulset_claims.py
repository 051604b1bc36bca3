"""A pod of a StatefulSet never waits for a claim that nobody makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.testing.cluster import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=1) as made:
        yield made


def volume(number: int) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "given",
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/{number}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"given-{number}"}, "spec": spec}


def database(policy: str, when_deleted: str) -> dict[str, Any]:
    labels = {"app": "db"}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "given",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    spec = {
        "replicas": 2,
        "serviceName": "db",
        "podManagementPolicy": policy,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "one:1"}]}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": "Retain"},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_set_made_anew_waits_until_the_claims_of_the_one_before_have_gone(cluster: Cluster, policy: str) -> None:
    for number in range(4):
        cluster.apply(volume(number))
    cluster.apply(database(policy, "Delete"))
    cluster.wait("statefulset/db", "status.readyReplicas=2")
    before = {one["metadata"]["uid"] for one in cluster.list("persistentvolumeclaims")}
    cluster.delete("statefulset/db")
    cluster.apply(database(policy, "Delete"))
    cluster.wait("statefulset/db", "status.readyReplicas=2")
    after = {one["metadata"]["uid"] for one in cluster.list("persistentvolumeclaims")}
    assert len(after) == 2
    assert not before & after


def test_a_claim_that_was_deleted_before_its_pod_could_start_is_made_anew(cluster: Cluster) -> None:
    cluster.apply(database("OrderedReady", "Retain"))
    cluster.wait("persistentvolumeclaim/data-db-0", "exists")
    cluster.wait("pod/db-0", "exists")
    held = cluster.get("persistentvolumeclaim/data-db-0")["metadata"]["uid"]
    cluster.patch("persistentvolumeclaim/data-db-0", {"metadata": {"finalizers": None}})
    cluster.delete("persistentvolumeclaim/data-db-0")
    cluster.wait("persistentvolumeclaim/data-db-0", lambda one: one is not None and one["metadata"]["uid"] != held)
    for number in range(2):
        cluster.apply(volume(number))
    cluster.wait("statefulset/db", "status.readyReplicas=2")
