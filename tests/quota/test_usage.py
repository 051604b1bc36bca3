from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    ConfigMap,
    Container,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    Pod,
    PodSpec,
    PodStatus,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceRequirements,
    ScopedResourceSelectorRequirement,
    ScopeSelector,
    Service,
    ServicePort,
    ServiceSpec,
    VolumeResourceRequirements,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.quota import amounts
from keelback.quota.scopes import matches
from keelback.quota.usage import total, unspecified, usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _container(name: str = "c", cpu: str = "", limit: str = "", restart: str | None = None) -> Container:
    return Container(
        name=name,
        restart_policy=restart,
        resources=ResourceRequirements(requests={"cpu": cpu} if cpu else {}, limits={"cpu": limit} if limit else {}),
    )


def _pod(*containers: Container, meta: dict[str, Any] | None = None, phase: str = "Running", **spec: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="a", namespace="x", **(meta or {})),
        spec=PodSpec(containers=containers, **spec),
        status=PodStatus(phase=phase),
    )


def _used(obj: Any) -> dict[str, str]:
    return amounts.written(usage(obj.__kind__, obj, NOW))


def test_a_pod_uses_what_it_requests_under_every_name() -> None:
    pod = _pod(_container(cpu="100m", limit="1"), _container("d", cpu="200m"), overhead={"cpu": "50m"})
    assert _used(pod) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "350m",
        "requests.cpu": "350m",
        "limits.cpu": "1050m",
    }


def test_an_init_container_counts_when_it_needs_more_than_all_others() -> None:
    pod = _pod(
        _container(cpu="100m"),
        init_containers=(_container("side", cpu="50m", restart="Always"), _container("init", cpu="300m")),
    )
    assert _used(pod)["requests.cpu"] == "350m"


@pytest.mark.parametrize(
    "pod",
    [
        _pod(_container(cpu="1"), phase="Succeeded"),
        _pod(
            _container(cpu="1"),
            meta={"deletion_timestamp": NOW - timedelta(seconds=31), "deletion_grace_period_seconds": 30},
        ),
    ],
)
def test_a_finished_pod_is_only_an_object(pod: Pod) -> None:
    assert _used(pod) == {"count/pods": "1"}


def test_services_use_ports_and_balancers() -> None:
    ports = (ServicePort(port=80), ServicePort(port=443))
    balanced = Service(spec=ServiceSpec(type="LoadBalancer", ports=ports))
    assert _used(balanced) == {
        "count/services": "1",
        "services": "1",
        "services.loadbalancers": "1",
        "services.nodeports": "2",
    }
    assert "services.nodeports" not in _used(Service(spec=ServiceSpec(ports=ports)))


def test_claims_use_storage_in_all_and_of_their_class() -> None:
    claim = PersistentVolumeClaim(
        spec=PersistentVolumeClaimSpec(
            storage_class_name="fast", resources=VolumeResourceRequirements(requests={"storage": "1Gi"})
        )
    )
    assert _used(claim) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "1Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "fast.storageclass.storage.k8s.io/requests.storage": "1Gi",
    }


def test_what_is_left_open_is_listed_with_its_containers() -> None:
    pod = _pod(_container(cpu="1"), _container("d"))
    assert unspecified(["requests.cpu", "limits.cpu", "pods"], pod) == {"limits.cpu": ["c", "d"], "requests.cpu": ["d"]}
    assert unspecified(["pods"], pod) == {}


def _quota(hard: dict[str, str], *scopes: str, **selector: Any) -> ResourceQuota:
    chosen = ScopeSelector(match_expressions=(ScopedResourceSelectorRequirement(**selector),)) if selector else None
    return ResourceQuota(
        metadata=ObjectMeta(name="q", namespace="x"),
        spec=ResourceQuotaSpec(hard=hard, scopes=scopes, scope_selector=chosen),
    )


@pytest.mark.parametrize(
    ("quota", "is_matched"),
    [
        (_quota({}), True),
        (_quota({}, "NotBestEffort"), True),
        (_quota({}, "BestEffort"), False),
        (_quota({}, "NotTerminating"), True),
        (_quota({}, "Terminating"), False),
        (_quota({}, "NotTerminating", "BestEffort"), False),
        (_quota({}, scope_name="PriorityClass", operator="In", values=("high",)), True),
        (_quota({}, scope_name="PriorityClass", operator="NotIn", values=("high",)), False),
        (_quota({}, scope_name="PriorityClass", operator="Exists"), True),
        (_quota({}, "CrossNamespacePodAffinity"), False),
    ],
)
def test_a_scope_says_which_pods_count(quota: ResourceQuota, is_matched: bool) -> None:
    assert matches(quota, _pod(_container(cpu="1"), priority_class_name="high")) is is_matched


def test_other_kinds_have_no_scopes() -> None:
    assert not matches(_quota({}, "NotTerminating"), ConfigMap())


@given(st.lists(st.integers(0, 5000), max_size=5))
def test_the_total_is_the_sum_of_the_objects(millicores: list[int]) -> None:
    pods = [_pod(_container(cpu=f"{each}m")) for each in millicores]
    quota = _quota({"pods": "10", "requests.cpu": "100", "count/secrets": "1"})
    counted = total(quota, [(Pod.__kind__, pod) for pod in pods], NOW)
    assert counted["pods"] == str(len(pods))
    assert counted["count/secrets"] == "0"
    assert amounts.parse(counted)["requests.cpu"].milli_value == sum(millicores)
