"""The plans of the controllers that decide little."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keelback.api.batch_v1 import Job, JobCondition, JobSpec, JobStatus
from keelback.api.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Namespace,
    Service,
    ServiceSpec,
)
from keelback.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from keelback.apimachinery.meta import LabelSelector, ObjectMeta
from keelback.controllers import (
    cluster_roles,
    endpointslice_mirroring,
    namespaces,
    resourcequotas,
    serviceaccounts,
    template_hash,
    ttl,
    ttl_after_finished,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_quota_names_say_which_resources_to_count() -> None:
    hard = ("requests.cpu", "pods", "services.nodeports", "count/deployments.apps", "requests.storage", "secrets")
    found = resourcequotas.resources_counted((*hard, "gold.storageclass.storage.k8s.io/requests.storage"))
    assert found == {"pods", "services", "deployments.apps", "persistentvolumeclaims", "secrets"}


def test_a_role_is_the_union_of_those_labelled_into_it() -> None:
    read = PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",))
    write = PolicyRule(verbs=("create",), api_groups=("",), resources=("pods",))
    into = {"into": "edit"}
    others = [
        ClusterRole(metadata=ObjectMeta(name="b", labels=into), rules=(read, write)),
        ClusterRole(metadata=ObjectMeta(name="a", labels=into), rules=(read,)),
        ClusterRole(metadata=ObjectMeta(name="c"), rules=(write,)),
    ]
    rule = AggregationRule(cluster_role_selectors=(LabelSelector(match_labels=into),))
    role = ClusterRole(metadata=ObjectMeta(name="edit"), aggregation_rule=rule)
    assert cluster_roles.aggregated(role, others) == (read, write)


def test_endpoints_that_people_write_are_mirrored_by_subset_and_family() -> None:
    subset = EndpointSubset(
        addresses=(EndpointAddress(ip="10.0.0.1"), EndpointAddress(ip="fd00::1")),
        not_ready_addresses=(EndpointAddress(ip="10.0.0.2"),),
        ports=(EndpointPort(name="http", port=80),),
    )
    endpoints = Endpoints(metadata=ObjectMeta(name="web", namespace="default", uid="e"), subsets=(subset,))
    slices = endpointslice_mirroring.wanted_slices(endpoints)
    assert [(one.address_type, len(one.endpoints)) for one in slices] == [("IPv4", 2), ("IPv6", 1)]
    assert [one.conditions.ready for one in slices[0].endpoints] == [True, False]
    assert {one.metadata.generate_name for one in slices} == {"web-"}
    assert endpointslice_mirroring.is_mirrored(endpoints, Service())
    assert not endpointslice_mirroring.is_mirrored(endpoints, None)
    assert not endpointslice_mirroring.is_mirrored(endpoints, Service(spec=ServiceSpec(selector={"a": "b"})))


def test_a_finished_job_is_deleted_after_its_time_and_a_running_one_never() -> None:
    done = JobCondition(type="Complete", status="True", last_transition_time=NOW - timedelta(seconds=30))
    spec = JobSpec(ttl_seconds_after_finished=100)
    assert ttl_after_finished.seconds_left(Job(spec=spec, status=JobStatus(conditions=(done,))), NOW) == 70
    assert ttl_after_finished.seconds_left(Job(spec=spec), NOW) is None
    assert ttl_after_finished.seconds_left(Job(status=JobStatus(conditions=(done,))), NOW) is None


def test_only_jobs_that_have_finished_and_are_not_to_stay_are_looked_at() -> None:
    done = JobStatus(conditions=(JobCondition(type="Complete", status="True", last_transition_time=NOW),))
    spec = JobSpec(ttl_seconds_after_finished=100)
    going = ObjectMeta(deletion_timestamp=NOW)
    jobs = [Job(), Job(status=done), Job(spec=spec), Job(spec=spec, status=done, metadata=going)]
    assert not any(map(ttl_after_finished.is_to_go, jobs))
    assert ttl_after_finished.is_to_go(Job(spec=spec, status=done))


def test_kubelets_trust_what_they_hold_longer_in_larger_clusters() -> None:
    assert [ttl.ttl_seconds(size) for size in (1, 100, 101, 1500, 9000)] == [0, 0, 15, 60, 300]


def test_a_namespace_under_deletion_says_what_is_in_the_way() -> None:
    progress = namespaces.Progress(remaining=[namespaces.Remaining("pods.", 2, ("a/b", "a/b"))])
    found = {one.type: one for one in namespaces.conditions_of(progress, NOW)}
    assert found["NamespaceContentRemaining"].message == "Some resources are remaining: pods. has 2 resource instances"
    assert found["NamespaceFinalizersRemaining"].message == (
        "Some content in the namespace has finalizers remaining: a/b in 2 resource instances"
    )
    assert found["NamespaceDeletionContentFailure"].reason == "ContentDeleted"


def test_a_namespace_that_is_going_needs_no_account() -> None:
    assert serviceaccounts.missing(Namespace(), ()) == ("default",)
    assert serviceaccounts.missing(Namespace(), ("default",)) == ()
    assert serviceaccounts.missing(Namespace(metadata=ObjectMeta(deletion_timestamp=NOW)), ()) == ()


def test_the_hash_tells_templates_and_collisions_apart() -> None:
    one = JobSpec(parallelism=1)
    assert template_hash.compute_hash(one, None) == template_hash.compute_hash(JobSpec(parallelism=1), None)
    hashes = {
        template_hash.compute_hash(spec, count) for spec in (one, JobSpec(parallelism=2)) for count in (None, 0, 1)
    }
    assert len(hashes) == 6
    assert all(set(found) <= set("bcdfghjklmnpqrstvwxz2456789") for found in hashes)
