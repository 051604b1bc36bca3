"""What one asks of a pod: where it is in its life, and what it asks of a node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keelback.api import pods
from keelback.api.core_v1 import (
    Container,
    ContainerPort,
    ContainerStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    ResourceRequirements,
)
from keelback.apimachinery.meta import ObjectMeta

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def one(name, requests=None, limits=None, **fields):
    resources = ResourceRequirements(requests=requests or {}, limits=limits or {})
    return Container(name=name, resources=resources, **fields)


def a_pod(*containers, init=(), phase="Running", conditions=(), statuses=(), deleted=None, **spec):
    return Pod(
        metadata=ObjectMeta(name="p", namespace="default", deletion_timestamp=deleted),
        spec=PodSpec(containers=containers, init_containers=tuple(init), **spec),
        status=PodStatus(phase=phase, conditions=conditions, container_statuses=statuses),
    )


@pytest.mark.parametrize(
    ("phase", "deleted", "active", "terminal"),
    [
        ("Pending", None, True, False),
        ("Running", None, True, False),
        ("Running", NOW, False, False),
        ("Succeeded", None, False, True),
        ("Failed", NOW, False, True),
    ],
)
def test_a_pod_is_active_until_it_ends_or_is_to_go(phase, deleted, active, terminal):
    pod = a_pod(phase=phase, deleted=deleted)
    assert (pods.is_active(pod), pods.is_terminal(pod)) == (active, terminal)


def test_a_pod_is_available_once_it_has_been_ready_for_long_enough():
    ready = PodCondition(type="Ready", status="True", last_transition_time=NOW)
    pod = a_pod(conditions=(ready,))
    assert pods.is_ready(pod)
    assert pods.is_available(pod, 0, NOW)
    assert not pods.is_available(pod, 10, NOW + timedelta(seconds=9))
    assert pods.is_available(pod, 10, NOW + timedelta(seconds=10))
    assert not pods.is_ready(a_pod())


def test_sidecars_count_with_the_containers_and_init_containers_alone():
    pod = a_pod(
        one("a", {"cpu": "100m"}),
        one("b", {"cpu": "200m"}),
        init=(
            one("i", {"cpu": "150m"}),
            one("s", {"cpu": "50m"}, restart_policy="Always"),
            one("j", {"cpu": "400m"}),
        ),
        overhead={"cpu": "10m"},
    )
    assert pods.requests(pod) == {"cpu": 460}


def test_pod_level_resources_replace_the_sum_of_what_they_name():
    level = ResourceRequirements(requests={"cpu": "1"})
    pod = a_pod(one("a", {"cpu": "100m", "memory": "1Mi"}), resources=level)
    assert pods.requests(pod) == {"cpu": 1000, "memory": 1 << 20}


def test_a_container_being_resized_counts_at_the_most_it_may_have():
    status = ContainerStatus(name="a", allocated_resources={"cpu": "300m"})
    pod = a_pod(one("a", {"cpu": "100m"}), statuses=(status,))
    assert pods.requests(pod) == {"cpu": 100}
    assert pods.requests(pod, use_status=True) == {"cpu": 300}


@pytest.mark.parametrize(
    ("containers", "qos"),
    [
        ((one("a"),), "BestEffort"),
        ((one("a", {"cpu": "1"}),), "Burstable"),
        ((one("a", {"cpu": "1", "memory": "1Gi"}, {"cpu": "1000m", "memory": "1024Mi"}),), "Guaranteed"),
        ((one("a", {"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}), one("b")), "Burstable"),
        ((one("a", {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}),), "Burstable"),
    ],
)
def test_requests_and_limits_decide_the_class(containers, qos):
    assert pods.qos_class(a_pod(*containers)) == qos


def test_host_ports_are_those_of_what_keeps_running():
    ports = (ContainerPort(container_port=80, host_port=8080), ContainerPort(container_port=81))
    pod = a_pod(one("a", ports=ports), init=(one("i", ports=ports[:1]),))
    assert pods.host_ports(pod.spec) == {("0.0.0.0", "TCP", 8080)}


def test_a_grace_period_is_the_deletions_before_the_specs():
    assert pods.grace_period_seconds(a_pod(termination_grace_period_seconds=7)) == 7
    deleted = Pod(metadata=ObjectMeta(name="p", deletion_timestamp=NOW, deletion_grace_period_seconds=0))
    assert pods.grace_period_seconds(deleted) == 0
