"""The clock of one component, and what becomes of a cluster whose clocks do not agree."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from keelback.testing.cluster import Cluster
from keelback.testing.cluster_parts import NoSuchComponent

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "work"},
    "spec": {
        "ttlSecondsAfterFinished": 3600,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
    },
}
HOURLY = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "hourly"},
    "spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": JOB["spec"]}},
}


def lease_age(cluster, node):
    lease = cluster.get(f"lease/{node}", namespace="kube-node-lease")
    return (cluster.now - datetime.fromisoformat(lease["spec"]["renewTime"])).total_seconds()


def test_a_controller_manager_ahead_of_time_starts_a_cron_job_early(cluster):
    # A wait that had begun would not know of it.
    cluster.skew_clock("controller-manager", 1800)
    cluster.apply(HOURLY)
    cluster.advance(minutes=29)
    assert not cluster.list("jobs")
    cluster.advance(minutes=2)
    assert cluster.list("jobs")


def test_a_node_behind_time_stays_ready_and_writes_its_own_time(cluster):
    cluster.skew_clock("kubelet/node-0", -3600)
    cluster.advance(minutes=10)
    assert 3600 <= lease_age(cluster, "node-0") <= 3620
    assert lease_age(cluster, "node-1") <= 20
    cluster.wait("node/node-0", "Ready", timeout=1)
    cluster.skew_clock("kubelet/node-0")
    cluster.advance(seconds=30)
    assert lease_age(cluster, "node-0") <= 20


def test_a_clock_that_drifts_is_ever_farther_off(cluster):
    cluster.skew_clock("kubelet/node-0", drift=0.1)
    cluster.advance(minutes=10)
    first = lease_age(cluster, "node-0")
    cluster.advance(minutes=10)
    assert -60 <= first < -40
    assert -120 <= lease_age(cluster, "node-0") < -100


def test_a_component_that_is_started_again_has_the_same_clock(cluster):
    cluster.skew_clock("controller-manager", 3600)
    cluster.stop_component("controller-manager")
    cluster.start_component("controller-manager")
    cluster.apply(JOB)
    cluster.wait("job/work", "Complete")
    ahead = datetime.fromisoformat(cluster.get("job/work")["status"]["completionTime"]) - cluster.now
    assert ahead > timedelta(minutes=59)


def test_there_is_no_clock_of_what_there_is_not(cluster):
    with pytest.raises(NoSuchComponent, match="controller-manager"):
        cluster.skew_clock("nobody", 1)
    with pytest.raises(ValueError, match="above 0"):
        cluster.skew_clock("scheduler", drift=-1.0)


def test_nodes_that_share_a_process_are_cut_off_one_by_one():
    with Cluster(nodes=40) as cluster:
        cluster.apply({**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 40}})
        cluster.wait("deployment/web", "Available")
        lost = {"node-7", "node-33"}
        for name in lost:
            cluster.disconnect(name)
        cluster.skew_clock("kubelet/node-1", -600)
        cluster.advance(minutes=2)
        not_ready = {node["metadata"]["name"] for node in cluster.list("nodes", namespace="") if not is_ready(node)}
        assert not_ready == lost
        assert lease_age(cluster, "node-1") >= 600
        cluster.advance(minutes=6)
        leaving = [pod for pod in cluster.list("pods") if "deletionTimestamp" in pod["metadata"]]
        assert {pod["spec"]["nodeName"] for pod in leaving} == lost
        for name in lost:
            cluster.connect(name)
        cluster.advance(minutes=1)
        assert all(map(is_ready, cluster.list("nodes", namespace="")))
        assert not [pod for pod in cluster.list("pods") if "deletionTimestamp" in pod["metadata"]]
        with pytest.raises(NoSuchComponent, match="node-40"):
            cluster.disconnect("node-40")


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        },
    },
}


def is_ready(node):
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
