"""What holds of the smaller plans whatever they are given; those of workloads, slices and others stand with them."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from keelback.api.batch_v1 import Job, JobCondition, JobSpec, JobStatus
from keelback.api.core_v1 import (
    EndpointAddress,
    Endpoints,
    EndpointSubset,
    ObjectReference,
    ServiceAccount,
    Taint,
    Toleration,
)
from keelback.api.networking_v1 import ServiceCIDR, ServiceCIDRSpec
from keelback.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from keelback.api.resource_v1 import ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus
from keelback.apimachinery.meta import LabelSelector, ObjectMeta, replace
from keelback.controllers import (
    cluster_roles,
    endpoints,
    endpointslice_mirroring,
    legacy_token_cleaner,
    node_lifecycle,
    pod_garbage_collector,
    resource_claims,
    servicecidrs,
    statefulset_plan,
    taint_eviction,
    ttl,
    ttl_after_finished,
    volume_protection,
)
from keelback.controllers.observed import HeldMeta, PodView, SecretType
from keelback.controllers.revisions import HASH_LABEL
from keelback.testing.views import pod as _pod

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


READY, UNREADY, ENDED, GOING = (
    _pod("p", node="n", labels={HASH_LABEL: "r1"}),
    _pod("p", node="n", ready=False, labels={HASH_LABEL: "r1"}),
    _pod("p", node="n", phase="Failed"),
    _pod("p", node="n", deleting=True),
)


def _named(one: PodView, name: str) -> PodView:
    return replace(one, metadata=replace(one.metadata, name=name, uid=name))


members = st.dictionaries(st.integers(0, 6), st.sampled_from([READY, UNREADY, ENDED, GOING]), max_size=7)


@given(st.integers(0, 6), members, st.sampled_from(["OrderedReady", "Parallel"]), st.integers(1, 4), st.integers(0, 6))
def test_a_stateful_set_takes_no_more_away_than_it_may(
    replicas: int, held: dict[int, PodView], policy: str, most: int, partition: int
) -> None:
    held = {ordinal: _named(one, f"db-{ordinal}") for ordinal, one in held.items()}
    rolling = RollingUpdateStatefulSetStrategy(partition=partition, max_unavailable=most)
    wanted = StatefulSet(
        metadata=ObjectMeta(name="db", namespace="default"),
        spec=StatefulSetSpec(
            replicas=replicas,
            pod_management_policy=policy,
            update_strategy=StatefulSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling),
        ),
    )
    decided = statefulset_plan.plan(wanted, held, "r1", "r2", NOW)
    gone = [one.metadata.name for one in decided.delete]
    created = [ordinal for ordinal, _ in decided.create]
    assert set(created) <= set(range(replicas)) - set(held)
    assert not any(one.metadata.deletion_timestamp for one in decided.delete)
    if policy == "OrderedReady" and (created or any(int(name[3:]) >= replicas for name in gone)):
        assert len(created) + len(gone) == 1
    # Of those that are well and wanted no more go than the update allows, and none below the partition.
    well = {ordinal for ordinal, one in held.items() if one.status.phase == "Running" and _is_well(one)}
    taken = {int(name[3:]) for name in gone} & well & set(range(replicas))
    assert len(taken) <= most
    assert all(ordinal >= partition for ordinal in taken)


def _is_well(one: PodView) -> bool:
    return one.metadata.deletion_timestamp is None and one.status.conditions[0].status == "True"


subset = st.tuples(st.integers(0, 1500), st.integers(0, 1500))


@given(st.lists(subset, min_size=1, max_size=3))
def test_of_too_many_addresses_a_thousand_are_told_the_ready_first(sizes: list[tuple[int, int]]) -> None:
    found = tuple(
        EndpointSubset(
            addresses=tuple(EndpointAddress(ip=str(ipaddress.ip_address(n))) for n in range(ready)),
            not_ready_addresses=tuple(EndpointAddress(ip=str(ipaddress.ip_address(n))) for n in range(unready)),
        )
        for ready, unready in sizes
    )
    kept, is_cut = endpoints.truncated(found)
    all_ready, all_unready = sum(ready for ready, _ in sizes), sum(unready for _, unready in sizes)
    ready, unready = (
        sum(len(one.addresses) for one in kept),
        sum(len(one.not_ready_addresses) for one in kept),
    )
    assert is_cut == (all_ready + all_unready > 1000)
    assert ready == min(all_ready, 1000)
    assert ready + unready == min(all_ready + all_unready, 1000)


@given(st.lists(subset, max_size=3), st.integers(1, 1000))
def test_each_address_is_mirrored_or_counted_as_skipped(sizes: list[tuple[int, int]], most: int) -> None:
    subsets = tuple(
        EndpointSubset(
            addresses=tuple(EndpointAddress(ip=str(ipaddress.ip_address(n + 1))) for n in range(ready % 50)),
            not_ready_addresses=tuple(
                EndpointAddress(ip=str(ipaddress.ip_address(n + 90))) for n in range(unready % 50)
            ),
        )
        for ready, unready in sizes
    )
    held = Endpoints(metadata=ObjectMeta(name="web", namespace="default", uid="e"), subsets=subsets)
    most = 1 + most % 60
    mirrored = sum(len(one.endpoints or ()) for one in endpointslice_mirroring.wanted_slices(held, most))
    skipped = endpointslice_mirroring.skipped_addresses(held, most)
    assert mirrored + skipped == sum(len(one.addresses) + len(one.not_ready_addresses) for one in subsets)


roles = st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("abcd"), max_size=3)), max_size=5)


@given(roles)
def test_an_aggregate_has_each_rule_of_those_labelled_into_it_once(given_roles: list[tuple[bool, list[str]]]) -> None:
    selector = LabelSelector(match_labels={"into": "all"})
    all_role = ClusterRole(metadata=ObjectMeta(name="all"), aggregation_rule=AggregationRule((selector, selector)))
    others = [
        ClusterRole(
            metadata=ObjectMeta(name=f"r{number}", labels={"into": "all"} if is_in else {}),
            rules=tuple(PolicyRule(verbs=("get",), resources=(name,)) for name in names),
        )
        for number, (is_in, names) in enumerate(given_roles)
    ]
    found = [rule.resources[0] for rule in cluster_roles.aggregated(all_role, others)]
    assert sorted(found) == sorted({name for is_in, names in given_roles if is_in for name in names})


@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_larger_clusters_ask_no_more_often(few: int, many: int) -> None:
    assert ttl.ttl_seconds(min(few, many)) <= ttl.ttl_seconds(max(few, many))


@given(st.integers(0, 10_000), st.integers(0, 20_000))
def test_a_finished_job_has_its_time_and_no_more(time_to_live: int, since: int) -> None:
    end = JobCondition(type="Complete", status="True", last_transition_time=NOW)
    job = Job(
        metadata=ObjectMeta(name="j"),
        spec=JobSpec(ttl_seconds_after_finished=time_to_live),
        status=JobStatus(conditions=(end,)),
    )
    assert ttl_after_finished.seconds_left(job, NOW + timedelta(seconds=since)) == time_to_live - since


days = st.integers(0, 1200)


@given(st.lists(st.tuples(days, st.none() | days, st.none() | days, st.booleans(), st.booleans()), max_size=5))
def test_a_legacy_token_goes_only_when_it_was_unused_and_marked_for_a_period_each(
    tokens: list[tuple[int, int | None, int | None, bool, bool]],
) -> None:
    def day(ago: int) -> str:
        return (NOW - timedelta(days=ago)).date().isoformat()

    secrets, listed, mounted = [], [], set()
    for number, (age, used, marked, is_listed, is_mounted) in enumerate(tokens):
        labels = {} if used is None else {legacy_token_cleaner.LAST_USED: day(used)}
        labels |= {} if marked is None else {legacy_token_cleaner.INVALID_SINCE: day(marked)}
        metadata = HeldMeta(
            name=f"s{number}", namespace="default", labels=labels, creation_timestamp=NOW - timedelta(days=age)
        )
        secrets.append(SecretType(metadata=metadata, type="kubernetes.io/service-account-token"))
        listed += [ObjectReference(name=f"s{number}")] if is_listed else []
        mounted |= {("default", f"s{number}")} if is_mounted else set()
    account = ServiceAccount(metadata=ObjectMeta(name="a", namespace="default"), secrets=tuple(listed))
    found = legacy_token_cleaner.plan(secrets, [account], frozenset(mounted), NOW, YEAR)
    for one in (*found.mark, *found.delete):
        age, used, marked, is_listed, is_mounted = tokens[int(one.metadata.name[1:])]
        assert age > 365
        assert used is None or used > 365
        assert is_listed
        assert not is_mounted
        assert (one in found.delete) == (marked is not None and marked > 365)


keys = st.sampled_from(["a", "b", "c"])
taint_list = st.lists(st.tuples(keys, st.integers(0, 100)), max_size=3, unique_by=lambda one: one[0])
toleration_list = st.lists(st.tuples(keys, st.none() | st.integers(0, 100)), max_size=4)


@given(taint_list, toleration_list)
def test_who_tolerates_more_stays_at_least_as_long(
    given_taints: list[tuple[str, int]], given_tolerations: list[tuple[str, int | None]]
) -> None:
    taints = [Taint(key=key, effect="NoExecute", time_added=NOW - timedelta(seconds=ago)) for key, ago in given_taints]
    tolerations = [
        Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=seconds)
        for key, seconds in given_tolerations
    ]
    due = taint_eviction.eviction_time(taints, tolerations, NOW - timedelta(hours=1), NOW)
    if not taints:
        assert due is None
    elif any(all(taint.key != one.key for one in tolerations) for taint in taints):
        assert due == NOW
    # One who tolerates everything for ever, and says nothing else, is never evicted.
    for_ever = [Toleration(key=taint.key, operator="Exists") for taint in taints]
    assert taint_eviction.eviction_time(taints, for_ever, NOW, NOW) is None


held_taints = st.lists(
    st.builds(
        Taint,
        key=st.sampled_from(["node.kubernetes.io/not-ready", "node.kubernetes.io/disk-pressure", "example.com/own"]),
        effect=st.sampled_from(["NoSchedule", "NoExecute"]),
    ),
    max_size=4,
    unique_by=lambda one: (one.key, one.effect),
)


@given(
    held_taints,
    st.sets(st.sampled_from(["node.kubernetes.io/not-ready", "node.kubernetes.io/disk-pressure"])),
    st.sampled_from(["", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]),
)
def test_a_node_has_the_taints_its_conditions_call_for_and_those_of_others(
    held: list[Taint], no_schedule: set[str], no_execute: str
) -> None:
    found = node_lifecycle.with_taints(held, no_schedule, no_execute, NOW)
    ours = {(one.key, one.effect) for one in found if one.key.startswith("node.kubernetes.io/")}
    wanted = {(key, "NoSchedule") for key in no_schedule} | ({(no_execute, "NoExecute")} if no_execute else set())
    assert ours - {("node.kubernetes.io/disk-pressure", "NoExecute")} == wanted
    assert [one for one in found if one.key == "example.com/own"] == [
        one for one in held if one.key == "example.com/own"
    ]
    assert node_lifecycle.with_taints(found, no_schedule, no_execute, NOW) == found


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=12), st.integers(0, 8))
def test_only_the_oldest_ended_pods_beyond_the_threshold_go(ages: list[tuple[bool, int]], threshold: int) -> None:
    everyone = [
        _named(_pod("p", phase="Succeeded" if ended else "Running", age=age), f"p{number:02}")
        for number, (ended, age) in enumerate(ages)
    ]
    gone = {one.pod.metadata.name for one in pod_garbage_collector.excess_terminated(everyone, threshold)}
    ended = [one for one in everyone if one.status.phase == "Succeeded"]
    assert len(gone) == (max(0, len(ended) - threshold) if threshold else 0)
    oldest = sorted(ended, key=lambda one: (str(one.metadata.creation_timestamp), one.metadata.name))
    assert gone == {one.metadata.name for one in oldest[: len(gone)]}


@given(st.lists(st.sampled_from(["running", "ended", "absent", "other"]), max_size=6))
def test_a_claim_is_reserved_for_pods_that_run_and_for_what_is_no_pod(consumers: list[str]) -> None:
    references, held = [], []
    for number, state in enumerate(consumers):
        kind = "things" if state == "other" else "pods"
        references.append(ResourceClaimConsumerReference(resource=kind, name=f"p{number}", uid=f"p{number}"))
        if state in ("running", "ended"):
            held.append(_named(READY if state == "running" else ENDED, f"p{number}"))
    claim = ResourceClaim(metadata=ObjectMeta(name="c"), status=ResourceClaimStatus(reserved_for=tuple(references)))
    by_name = {one.metadata.name: one for one in held}
    staying = resource_claims.still_reserved(claim, by_name.get)
    assert [one.name for one in staying] == [
        f"p{number}" for number, state in enumerate(consumers) if state in ("running", "other")
    ]


@given(st.booleans(), st.booleans(), st.lists(st.sampled_from(["f", "g"]), unique=True))
def test_what_is_protected_is_so_until_it_is_deleted_and_not_used(
    is_deleting: bool, is_used: bool, held: list[str]
) -> None:
    wanted = volume_protection.finalizers_wanted(held, "f", is_deleting=is_deleting, is_used=is_used)
    assert ("g" in wanted) == ("g" in held)
    if not is_deleting:
        assert "f" in wanted
    elif not is_used:
        assert "f" not in wanted
    again = volume_protection.finalizers_wanted(wanted, "f", is_deleting=is_deleting, is_used=is_used)
    assert tuple(again) == tuple(wanted)


networks = st.sampled_from(["10.0.0.0/24", "10.0.0.0/16", "10.1.0.0/16"])


@given(
    networks,
    st.lists(networks, max_size=2),
    st.lists(st.sampled_from(["10.0.0.5", "10.0.9.9", "10.1.0.1"]), max_size=3),
)
def test_a_range_of_addresses_goes_when_others_hold_all_that_it_has(
    own: str, others: list[str], addresses: list[str]
) -> None:
    cidr = ServiceCIDR(
        metadata=ObjectMeta(name="own", deletion_timestamp=NOW, finalizers=(servicecidrs.FINALIZER,)),
        spec=ServiceCIDRSpec(cidrs=(own,)),
    )
    staying = [
        ServiceCIDR(metadata=ObjectMeta(name=f"o{number}"), spec=ServiceCIDRSpec(cidrs=(text,)))
        for number, text in enumerate(others)
    ]
    key, manager = servicecidrs._MANAGED_BY
    held = [servicecidrs.IPAddressView(metadata=HeldMeta(name=one, labels={key: manager})) for one in addresses]
    decided = servicecidrs.plan(cidr, [cidr, *staying], held, NOW)
    covered = [ipaddress.ip_network(text) for text in others]
    needed = any(
        ipaddress.ip_address(one) in ipaddress.ip_network(own)
        and not any(ipaddress.ip_address(one) in network for network in covered)
        for one in addresses
    )
    assert (servicecidrs.FINALIZER in decided.finalizers) == needed
