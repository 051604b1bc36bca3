"""Faults on demand: the cluster gets over what a real one gets over, and a test sees how."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.testing.cluster import Cluster, NotReached
from keelback.testing.cluster_parts import NoSuchComponent
from keelback.testing.faults import Fault


def deployment(name: str, replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "registry.example/web:1"}]},
            },
        },
    }


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_controllers_try_again_after_a_failure(cluster: Cluster, status: int) -> None:
    with cluster.inject(verb="create", resource="pods", status=status, times=3) as fault:
        cluster.apply(deployment("web"))
        cluster.wait("deployment/web", "Available")
    assert fault.hits == 3
    assert len(cluster.list("pods")) == 2


def test_who_is_told_to_come_back_later_does(cluster: Cluster) -> None:
    began = cluster.now
    with cluster.inject(verb="create", resource="pods", status=429, retry_after=7, times=1):
        cluster.apply(deployment("web", 1))
        cluster.wait("deployment/web", "Available")
    assert 7 <= (cluster.now - began).total_seconds() < 12


def test_latency_is_of_the_clusters_time(cluster: Cluster) -> None:
    began = cluster.now
    with cluster.inject(client="kube-scheduler", verb="create", resource="pods/binding", latency=20, times=2):
        cluster.apply(deployment("web"))
        cluster.wait("deployment/web", "Available")
    assert 20 <= (cluster.now - began).total_seconds() < 25


def test_an_answer_that_is_lost_does_not_make_two_pods_of_one(cluster: Cluster) -> None:
    with cluster.inject(verb="create", resource="pods/binding", lost=True, times=1) as fault:
        cluster.apply(deployment("web"))
        cluster.wait("deployment/web", "Available")
    assert fault.hits == 1
    assert len(cluster.list("pods")) == 2


def test_watches_that_end_or_are_too_old_are_begun_anew(cluster: Cluster) -> None:
    assert cluster.drop_watches() > 50
    with cluster.inject(verb="watch", status=410, times=20) as fault:
        cluster.apply(deployment("web"))
        cluster.wait("deployment/web", "Available")
    assert fault.hits == 20


@pytest.mark.parametrize("name", ["controller-manager", "scheduler"])
def test_nothing_goes_on_without_a_component_and_all_of_it_when_it_is_back(cluster: Cluster, name: str) -> None:
    cluster.stop_component(name)
    cluster.apply(deployment("web"))
    with pytest.raises(NotReached):
        cluster.wait("deployment/web", "Available", timeout=60)
    cluster.start_component(name)
    cluster.wait("deployment/web", "Available")


def test_everybody_gets_over_a_restart_of_the_api_server(cluster: Cluster) -> None:
    cluster.apply(deployment("web"))
    cluster.wait("deployment/web", "Available")
    cluster.stop_component("apiserver")
    cluster.advance(seconds=30)
    cluster.start_component("apiserver")
    cluster.patch("deployment/web", {"spec": {"replicas": 5}})
    cluster.wait("deployment/web", "status.readyReplicas=5")
    assert cluster.wait("node/node-0", "Ready")


def test_chance_comes_from_the_seed() -> None:
    def hits(seed: int) -> list[str]:
        with Cluster(seed=seed) as cluster, cluster.inject(verb="create", status=500, probability=0.3):
            cluster.apply(deployment("web", 6))
            cluster.wait("deployment/web", "Available")
            return [f"{one.at} {one.path} {one.status}" for one in cluster.requests if one.status == 500]

    first = hits(1)
    assert first
    assert first == hits(1)
    assert first != hits(2)


def test_what_there_is_not_is_refused(cluster: Cluster) -> None:
    with pytest.raises(NoSuchComponent, match="no component 'etcd': there are controller-manager, scheduler"):
        cluster.stop_component("etcd")
    with pytest.raises(NoSuchComponent):
        cluster.disconnect("node-99")
    with pytest.raises(ValueError, match="status 418"):
        Fault(status=418)
    with pytest.raises(ValueError, match="needs a status"):
        Fault(verb="create")


def test_a_slow_request_meets_the_server_that_is_there_by_then(cluster: Cluster) -> None:
    with cluster.inject(client="kube-controller-manager", verb="watch", resource="pods", latency=5, times=2):
        cluster.advance(minutes=10)  # until it asks by itself
        cluster.drop_watches(resource="pods", client="kube-controller-manager")
        cluster.advance(2)
        cluster.stop_component("apiserver")
        cluster.start_component("apiserver")
        cluster.advance(10)
    cluster.apply(deployment("web"))
    cluster.wait("deployment/web", "Available", timeout=30)


def test_many_nodes_stay_ready_while_a_server_answers_late() -> None:
    with Cluster(nodes=100) as cluster:
        with cluster.inject(verb="patch", resource="leases", latency=2):
            cluster.advance(minutes=3)
        assert not [event for event in cluster.events() if event["reason"] == "NodeNotReady"]
