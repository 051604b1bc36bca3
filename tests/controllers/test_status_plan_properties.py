"""What holds of plans that say how something stands, whatever they are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api import conditions
from keelback.api.admissionregistration_v1 import (
    MatchResources,
    NamedRuleWithOperations,
    ValidatingAdmissionPolicySpec,
    Validation,
)
from keelback.api.apiserverinternal_v1alpha1 import ServerStorageVersion, StorageVersionStatus
from keelback.api.batch_v1 import (
    Job,
    JobSpec,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
)
from keelback.api.core_v1 import NamespaceStatus, Service
from keelback.api.storagemigration_v1beta1 import StorageVersionMigrationStatus
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers import (
    job_accounting,
    namespaces,
    resourcequotas,
    storage_version_migrator,
    storage_versions,
    trigger_times,
)
from keelback.controllers import validatingadmissionpolicy_status as policy_status
from keelback.controllers.endpoint_pace import FREE_ENDPOINTS, MOST_SECONDS, Pace
from keelback.controllers.observed import (
    ContainerStateView,
    ContainerStatusView,
    EndView,
    HeldMeta,
    PodConditionView,
    PodStatusView,
    PodView,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

words = st.sampled_from(["pods.", "widgets.example.com", "foo/finalizer", "bar/finalizer"])
remaining = st.builds(
    namespaces.Remaining, words, st.integers(0, 3), st.lists(words, max_size=2, unique=True).map(tuple)
)
progresses = st.builds(
    namespaces.Progress, st.lists(remaining, max_size=3), st.lists(words, max_size=2), st.lists(words, max_size=2)
)


@given(progresses, progresses)
def test_a_namespace_says_what_is_in_its_way_and_since_when(
    one: namespaces.Progress, other: namespaces.Progress
) -> None:
    found = namespaces.conditions_of(one, NOW)
    bad = {each.type for each in found if each.status == "True"}
    assert len(found) == 5
    assert ("NamespaceDeletionDiscoveryFailure" in bad) == bool(one.discovery_errors)
    assert ("NamespaceDeletionContentFailure" in bad) == bool(one.content_errors)
    assert ("NamespaceContentRemaining" in bad) == any(each.count for each in one.remaining)
    assert ("NamespaceFinalizersRemaining" in bad) == any(each.finalizers for each in one.remaining)
    assert not (one.is_empty and bad)

    status = namespaces.with_conditions(NamespaceStatus(phase="Active"), found)
    assert status.phase == "Terminating"
    assert namespaces.with_conditions(status, namespaces.conditions_of(one, LATER)) == status
    after = namespaces.with_conditions(status, namespaces.conditions_of(other, LATER))
    for before, now in zip(status.conditions, after.conditions, strict=True):
        assert now.last_transition_time == (NOW if now.status == before.status else LATER)


servers = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["v1", "v2"])), unique_by=lambda one: one[0], max_size=4
)


@given(servers, st.sets(st.sampled_from("abcd")))
def test_a_common_encoding_is_that_of_all_who_live(told: list[tuple[str, str]], gone: set[str]) -> None:
    held = tuple(ServerStorageVersion(api_server_id=id, encoding_version=version) for id, version in told)
    before = StorageVersionStatus(storage_versions=held)
    left = [one for one in held if one.api_server_id not in gone]
    status = storage_versions.without_servers(before, left)
    assert list(status.storage_versions) == left
    assert storage_versions.without_servers(status, left) == status
    if status.common_encoding_version is None:
        assert len({one.encoding_version for one in left}) != 1
    else:
        assert {one.encoding_version for one in left} == {status.common_encoding_version}


outcomes = st.sampled_from(
    [storage_version_migrator.RUNNING, storage_version_migrator.SUCCEEDED, storage_version_migrator.FAILED]
)


@given(st.lists(outcomes, min_size=1, max_size=4))
def test_a_migration_that_has_ended_runs_no_more_and_says_each_thing_once(told: list[str]) -> None:
    status = StorageVersionMigrationStatus()
    for type in told:
        status = storage_version_migrator.with_outcome(status, type, "why", NOW)
        assert conditions.is_true(status.conditions, type)
        if type != storage_version_migrator.RUNNING:
            assert not conditions.is_true(status.conditions, storage_version_migrator.RUNNING)
        assert storage_version_migrator.with_outcome(status, type, "why", LATER) == status
    types = [one.type for one in status.conditions]
    assert len(types) == len(set(types))


quota_names = st.lists(
    st.sampled_from(
        [
            "pods",
            "requests.cpu",
            "limits.memory",
            "requests.nvidia.com/gpu",
            "services",
            "services.nodeports",
            "persistentvolumeclaims",
            "requests.storage",
            "gold.storageclass.storage.k8s.io/requests.storage",
            "configmaps",
            "secrets",
            "count/deployments.apps",
            "count/widgets.example.com",
        ]
    )
)


@given(quota_names, quota_names)
def test_whose_objects_a_quota_counts_follows_from_each_of_its_names(one: list[str], other: list[str]) -> None:
    counted = resourcequotas.resources_counted
    assert counted([*one, *other]) == counted(one) | counted(other)
    assert bool(counted(one)) == bool(one)
    for name in one:
        (resource,) = counted([name])
        if name.startswith("count/"):
            assert name == f"count/{resource}"
        # What is counted by a name of its own is counted alike as `count/`.
        assert counted([f"count/{resource}"]) == {resource}


texts = st.sampled_from(["object.spec.replicas > 1", "object.spec.nothing == 1", "params.a == 'b'", "1 +", "true"])
rules = st.lists(
    st.builds(
        NamedRuleWithOperations,
        api_groups=st.sampled_from([("apps",), ("",), ("*",), ("apps", "")]),
        api_versions=st.sampled_from([("v1",), ("*",), ("v1", "v2")]),
        resources=st.sampled_from([("things",), ("others",), ("*",), ("things/scale",), ("things", "others")]),
        operations=st.just(("CREATE",)),
    ),
    max_size=3,
)


def document(group: str) -> dict[str, Any]:
    """What OpenAPI says of two kinds, of which one has replicas."""

    def named(kind: str) -> list[dict[str, str]]:
        return [{"group": group, "version": "v1", "kind": kind}]

    def schema(kind: str, properties: dict[str, Any]) -> dict[str, Any]:
        spec = {"type": "object", "properties": properties}
        return {
            "type": "object",
            "properties": {"spec": spec},
            "x-kubernetes-group-version-kind": named(kind),
        }

    def path(kind: str) -> dict[str, Any]:
        return {"post": {"x-kubernetes-group-version-kind": named(kind)[0]}}

    schemas = {"Thing": schema("Thing", {"replicas": {"type": "integer"}}), "Other": schema("Other", {})}
    return {
        "paths": {"/apis/x/things": path("Thing"), "/apis/x/others": path("Other")},
        "components": {"schemas": schemas},
    }


DOCUMENTS = {("apps", "v1"): document("apps"), ("", "v1"): document("")}


@settings(max_examples=40, deadline=None)
@given(rules, rules, st.lists(texts, min_size=1, max_size=3))
def test_a_policy_is_warned_of_no_less_where_it_sees_more_kinds(
    few: list[NamedRuleWithOperations], more: list[NamedRuleWithOperations], expressions: list[str]
) -> None:
    def spec(chosen: list[NamedRuleWithOperations]) -> ValidatingAdmissionPolicySpec:
        return ValidatingAdmissionPolicySpec(
            match_constraints=MatchResources(resource_rules=tuple(chosen)),
            validations=tuple(Validation(expression=one) for one in expressions),
        )

    seen, all_seen = (set(policy_status.kinds(spec(one), DOCUMENTS)) for one in (few, [*few, *more]))
    assert seen <= all_seen
    assert {(one.group, one.version) for one in seen} <= set(policy_status.group_versions(spec(few)))
    told, all_told = (policy_status.warnings(spec(one), DOCUMENTS) for one in (few, [*few, *more]))
    fields = [one.field_ref for one in told]
    assert len(fields) == len(set(fields))
    assert set(fields) <= {one.field_ref for one in all_told}
    for index, text in enumerate(expressions):
        field = f"spec.validations[{index}].expression"
        assert not (text == "true" and field in fields)
        assert text != "1 +" or (field in fields) == bool(seen)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3000)), min_size=1, max_size=8))
def test_a_service_rests_no_longer_than_it_may_and_a_small_one_never(steps: list[tuple[float, int]]) -> None:
    pace, now = Pace(), 0.0
    service = Service(metadata=ObjectMeta(name="web", resource_version="1"))
    for passed, endpoints in steps:
        now += passed
        pace.wrote(service, endpoints, now)
        left = pace.seconds_left(service, now)
        assert 0 <= left <= MOST_SECONDS + 1e-9
        assert (left == 0) == (endpoints <= FREE_ENDPOINTS)
        assert pace.seconds_left(service, now + left + 1e-9) == 0
        changed = Service(metadata=ObjectMeta(name="web", resource_version="2"))
        assert pace.seconds_left(changed, now) == 0


readiness = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))


@given(st.lists(readiness, min_size=1, max_size=5))
def test_a_trigger_is_a_change_that_was_not_told_of_before(seen: list[dict[str, int]]) -> None:
    tracker = trigger_times.TriggerTimes()
    service = Service(metadata=ObjectMeta(name="web", creation_timestamp=NOW))
    before: dict[str, int] | None = None
    for now in seen:
        made = [
            PodView(
                metadata=HeldMeta(name=name),
                status=PodStatusView(
                    conditions=(PodConditionView(type="Ready", last_transition_time=NOW + timedelta(minutes=minute)),)
                ),
            )
            for name, minute in now.items()
        ]
        told = tracker.observe(service, made)
        assert tracker.observe(service, made) is None
        if before is None:
            assert told == NOW
        else:
            new = [minute for name, minute in now.items() if minute > before.get(name, -1)]
            assert told == (NOW + timedelta(minutes=min(new)) if new else None)
        before = now


actions = st.sampled_from(["Ignore", "FailJob", "FailIndex", "Count"])


@given(
    st.lists(st.tuples(actions, st.sets(st.integers(1, 4), min_size=1), st.booleans()), max_size=3),
    st.lists(st.tuples(st.sampled_from(["Succeeded", "Failed", "Running"]), st.integers(1, 4)), max_size=6),
)
def test_each_end_is_judged_once_by_the_first_rule_that_matches(
    told: list[tuple[str, set[int], bool]], ends: list[tuple[str, int]]
) -> None:
    policy = PodFailurePolicy(
        rules=tuple(
            PodFailurePolicyRule(
                action=action,
                on_exit_codes=PodFailurePolicyOnExitCodesRequirement(
                    operator="In" if is_in else "NotIn", values=tuple(sorted(codes))
                ),
            )
            for action, codes, is_in in told
        )
    )
    job = Job(metadata=ObjectMeta(name="sum"), spec=JobSpec(pod_failure_policy=policy, backoff_limit=1000))
    mine = [
        PodView(
            metadata=HeldMeta(name=f"p{number}", uid=f"p{number}", finalizers=(job_accounting.FINALIZER,)),
            status=PodStatusView(
                phase=phase,
                container_statuses=(
                    ContainerStatusView(
                        name="c",
                        state=ContainerStateView(
                            terminated=EndView(exit_code=0 if phase == "Succeeded" else code, finished_at=NOW)
                        ),
                    ),
                ),
            ),
        )
        for number, (phase, code) in enumerate(ends)
    ]
    ended = job_accounting.newly_ended(job, mine)
    assert [one.pod.metadata.uid for one in ended] == [
        f"p{number}" for number, (phase, _) in enumerate(ends) if phase != "Running"
    ]
    for one in ended:
        phase, code = ends[int(one.pod.metadata.name[1:])]
        first = next((action for action, codes, is_in in told if (code in codes) == is_in), "")
        assert one.succeeded == (phase == "Succeeded")
        assert one.action == ("" if one.succeeded else first)
        assert one.counts_as_failed == (not one.succeeded and first != "Ignore")
    failure = job_accounting.find_failure(job, len(ended), ended, mine, set(), NOW)
    assert (failure is not None) == any(one.action == "FailJob" for one in ended)
