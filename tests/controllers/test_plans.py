"""Pure plans: that carrying them out reaches what was asked for, and the examples people know."""

from __future__ import annotations

import importlib.util
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.api import job_indexes
from keelback.api.apps_v1 import (
    DaemonSet,
    DaemonSetSpec,
    RollingUpdateDaemonSet,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from keelback.api.batch_v1 import (
    CronJob,
    CronJobSpec,
    CronJobStatus,
    Job,
    JobSpec,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
)
from keelback.api.core_v1 import (
    Container,
    ContainerPort,
    ContainerState,
    ContainerStateTerminated,
    NodeCondition,
    PodSpec,
    PodTemplateSpec,
    Service,
    ServicePort,
    ServiceSpec,
    Taint,
    Toleration,
)
from keelback.api.discovery_v1 import EndpointSlice
from keelback.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from keelback.apimachinery.meta import ObjectMeta, OwnerReference, make_kind, replace
from keelback.controllers import (
    cron_schedule,
    cronjobs,
    daemon_placement,
    disruptions,
    endpointslices,
    job_accounting,
    jobs,
    node_ipam,
    node_lifecycle,
    ownership,
    pod_endpoints,
    replicas,
    statefulset_plan,
    taint_eviction,
)
from keelback.controllers.config import Config
from keelback.controllers.manager import is_enabled, unknown_names
from keelback.controllers.observed import (
    ContainerStatusView,
    ContainerView,
    HeldMeta,
    NodeSpecView,
    NodeStatusView,
    NodeView,
    PodView,
)
from keelback.controllers.ownership import Graph, Node, Work
from keelback.controllers.revisions import HASH_LABEL


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


builders = _load("builders")
NOW = builders.NOW
pod = builders.pod


# Replicas


@given(st.integers(0, 30), st.integers(0, 30))
def test_carrying_out_the_plan_reaches_the_wanted_count(wanted: int, held: int) -> None:
    active = [pod(f"p{number}", node="a") for number in range(held)]
    decided = replicas.plan(wanted, active, NOW)
    assert held + decided.create - len(decided.delete) == wanted
    assert len({one.metadata.uid for one in decided.delete}) == len(decided.delete)


def test_what_is_missed_least_goes_first() -> None:
    unassigned = pod("unassigned", phase="Pending", ready=False)
    pending = pod("pending", node="a", phase="Pending", ready=False)
    unready = pod("unready", node="b", ready=False)
    cheap = pod("cheap", node="c", annotations={"controller.kubernetes.io/pod-deletion-cost": "-1"})
    young = pod("young", node="d", ready_for=10, age=20)
    old = pod("old", node="e")
    everyone = [old, cheap, young, pending, unready, unassigned]
    ordered = sorted(everyone, key=replicas.deletion_rank(everyone, NOW))
    assert [one.metadata.name for one in ordered] == ["unassigned", "pending", "unready", "cheap", "young", "old"]


# Endpoint slices

SERVICE = Service(
    metadata=ObjectMeta(name="web", namespace="default", uid="s"),
    spec=ServiceSpec(selector={"app": "web"}, ports=(ServicePort(name="http", port=80),), cluster_ip="10.0.0.1"),
)


@given(
    st.sets(st.integers(0, 400), max_size=320),
    st.sets(st.integers(0, 400), max_size=320),
    st.sampled_from([7, endpointslices.MAX_ENDPOINTS]),
)
def test_slices_hold_each_wanted_endpoint_once_and_change_no_more_than_needed(
    before: set[int], after: set[int], most: int
) -> None:
    existing = apply([], endpointslices.plan(SERVICE, endpoints(before), [], most))
    decided = endpointslices.plan(SERVICE, endpoints(after), existing, most)
    result = apply(existing, decided)
    held = [one.target_ref.uid for each in result for one in each.endpoints if one.target_ref]
    assert sorted(held) == sorted(f"uid-p{number}" for number in after)
    assert all(len(one.endpoints) <= most for one in result)
    assert result  # an empty Service has an empty slice
    again = endpointslices.plan(SERVICE, endpoints(after), result, most)
    assert not again.create
    assert not again.update
    assert not again.delete


def endpoints(numbers: set[int]) -> endpointslices.Wanted:
    made = [
        endpointslices.make_endpoint(pod(f"p{n}", node="a", ip=str(ipaddress.ip_address(n + 1))), SERVICE, "IPv4", "")
        for n in sorted(numbers)
    ]
    ports = endpointslices.endpoint_ports(SERVICE, pod("any")) if made else ()
    return {("IPv4", ports): made}


def apply(existing: list[EndpointSlice], decided: endpointslices.Plan) -> list[EndpointSlice]:
    changed = {old.metadata.name: new for old, new in decided.update}
    gone = {one.metadata.name for one in decided.delete}
    kept = [changed.get(one.metadata.name, one) for one in existing if one.metadata.name not in gone]
    names = (
        f"slice-{number}" for number in range(1000) if f"slice-{number}" not in {k.metadata.name for k in existing}
    )
    made = [
        replace(one, metadata=replace(one.metadata, name=name))
        for one, name in zip(decided.create, names, strict=False)
    ]
    return [*kept, *made]


def test_an_empty_slice_that_came_back_without_lists_is_left_alone() -> None:
    (made,) = endpointslices.plan(SERVICE, {("IPv4", ()): []}, []).create
    held = replace(made, endpoints=None, ports=None, metadata=replace(made.metadata, name="web-1"))
    again = endpointslices.plan(SERVICE, {("IPv4", ()): []}, [held])
    assert (again.create, again.update, again.delete) == ([], [], [])


def test_slices_of_a_service_that_had_the_name_before_are_not_taken_over() -> None:
    (made,) = endpointslices.plan(SERVICE, endpoints({1}), []).create
    held = replace(made, metadata=replace(made.metadata, name="web-1"))
    newer = replace(SERVICE, metadata=replace(SERVICE.metadata, uid="s2"))
    nobody: endpointslices.Wanted = {("IPv4", ()): []}
    for wanted in (endpoints({1}), nobody):
        decided = endpointslices.plan(newer, wanted, [held])
        assert (len(decided.create), decided.update, decided.delete) == (1, [], [held])
        assert decided.create[0].metadata.owner_references[0].uid == "s2"


def test_a_service_that_is_being_deleted_still_loses_endpoints_and_gets_no_new_slice() -> None:
    existing = apply([], endpointslices.plan(SERVICE, endpoints({1, 2}), []))
    going = replace(SERVICE, metadata=replace(SERVICE.metadata, deletion_timestamp=NOW))
    ((_, left),) = endpointslices.plan(going, endpoints({1}), existing).update
    assert len(left.endpoints or ()) == 1
    assert endpointslices.plan(going, endpoints({1}), []).create == []


def test_a_named_port_is_looked_for_in_containers_before_sidecars() -> None:
    sidecar = ContainerView(name="s", restart_policy="Always", ports=(ContainerPort(name="http", container_port=1),))
    main = ContainerView(name="c", ports=(ContainerPort(name="http", container_port=2),))
    one = pod("p", containers=(main,))
    one = replace(one, spec=replace(one.spec, init_containers=(sidecar,)))
    assert pod_endpoints.resolve_port(one, ServicePort(port=80, target_port="http")) == 2


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    endpoint = endpointslices.make_endpoint(pod("p", deleting=True, ip="10.1.0.1"), SERVICE, "IPv4", "z")
    conditions = endpoint.conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True)


# Jobs


def job(**spec: Any) -> Job:
    return Job(metadata=ObjectMeta(name="sum", namespace="default"), spec=JobSpec(**spec))


@given(st.integers(1, 20), st.integers(1, 8), st.data())
def test_an_indexed_job_runs_each_index_until_it_succeeds(
    completions: int, parallelism: int, data: st.DataObject
) -> None:
    asked = job(completions=completions, parallelism=parallelism, completion_mode="Indexed")
    done: set[int] = set()
    running: list[PodView] = []
    for _ in range(10 * completions):
        tally = jobs.Tally(len(done), 0, frozenset(done), frozenset())
        decided = jobs.plan(asked, tally, running, 0, 0.0, NOW)
        running += [pod(f"i{index}", annotations={job_accounting.INDEX: str(index)}) for index in decided.indexes]
        indexes = [job_accounting.index_of(one) for one in running]
        assert len(set(indexes)) == len(indexes) <= parallelism
        assert not done & set(indexes)
        if not running:
            break
        ended = data.draw(st.sampled_from(running))
        running.remove(ended)
        if data.draw(st.booleans()) or _ > 5 * completions:
            done.add(job_accounting.index_of(ended) or 0)
    assert done == set(range(completions))


def test_indexes_that_fail_for_themselves_wait_for_themselves() -> None:
    asked = job(completions=3, parallelism=3, completion_mode="Indexed", backoff_limit_per_index=2)
    notes = {job_accounting.INDEX: "0", job_accounting.INDEX_FAILURES: "1"}
    ended = NOW - timedelta(seconds=5)
    failed = pod("p", phase="Failed", annotations=notes)
    terminated = ContainerState(terminated=ContainerStateTerminated(exit_code=1, finished_at=ended))
    status = replace(failed.status, container_statuses=(ContainerStatusView(name="c", state=terminated),))
    waits = job_accounting.index_backoffs(asked, [replace(failed, status=status)], NOW)
    assert waits == {0: 15.0}
    nothing = jobs.Tally(0, 2, frozenset(), frozenset())
    decided = jobs.plan(asked, nothing, [], 0, 0.0, NOW, waits)
    assert (decided.indexes, decided.wait_seconds) == ((1, 2), 15.0)


@given(st.sets(st.integers(0, 60)))
def test_indexes_read_back_as_they_were_written(indexes: set[int]) -> None:
    assert job_indexes.parse(job_indexes.written(indexes), 61) == indexes


def test_indexes_are_written_as_ranges() -> None:
    assert job_indexes.written({1, 3, 4, 5, 7}) == "1,3-5,7"


def test_the_failure_policy_decides_by_exit_code() -> None:
    codes = PodFailurePolicyOnExitCodesRequirement(operator="In", values=(42,))
    policy = PodFailurePolicy(rules=(PodFailurePolicyRule(action="FailJob", on_exit_codes=codes),))
    asked = job(pod_failure_policy=policy)
    failed = pod("p", phase="Failed", finalizers=(job_accounting.FINALIZER,))
    terminated = ContainerState(terminated=ContainerStateTerminated(exit_code=42))
    statuses = (ContainerStatusView(name="c", state=terminated),)
    failed = replace(failed, status=replace(failed.status, container_statuses=statuses))
    ended = job_accounting.newly_ended(asked, [failed])
    failure = job_accounting.find_failure(asked, 1, ended, [failed], set(), NOW)
    assert failure is not None
    assert failure.reason == "PodFailurePolicy"
    assert failure.message == (
        "Container c for pod default/p failed with exit code 42 matching FailJob rule at index 0"
    )


# Nodes


def node(name: str, *taints: Taint, ready: str = "True", labels: dict[str, str] | None = None) -> NodeView:
    return NodeView(
        metadata=HeldMeta(name=name, labels=labels or {}),
        spec=NodeSpecView(taints=taints),
        status=NodeStatusView(conditions=(NodeCondition(type="Ready", status=ready),)),
    )


def test_a_node_that_stops_reporting_is_unknown_in_every_respect() -> None:
    changed = node_lifecycle.unknown_conditions(node("a"), NOW)
    assert [one.type for one in changed] == ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"]
    assert {one.status for one in changed} == {"Unknown"}
    assert changed[0].message == "Kubelet stopped posting node status."
    assert changed[1].reason == "NodeStatusNeverUpdated"


def test_taints_of_others_stay_and_ours_follow_the_conditions() -> None:
    theirs = Taint(key="dedicated", effect="NoSchedule")
    lost = node("a", theirs, ready="Unknown")
    keys = node_lifecycle.no_schedule_taints(lost)
    taints = node_lifecycle.with_taints(lost.spec.taints, keys, node_lifecycle.no_execute_taint(lost), NOW)
    assert [(one.key, one.effect) for one in taints] == [
        ("dedicated", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoSchedule"),
    ]
    assert node_lifecycle.with_taints(taints, (), "", NOW) == (theirs,)


def test_a_zone_that_is_mostly_gone_is_emptied_slowly_or_not_at_all() -> None:
    state = node_lifecycle.zone_state(2, 8, 0.55)
    assert state is node_lifecycle.ZoneState.PARTIAL_DISRUPTION
    assert node_lifecycle.eviction_rate(state, 10, Config()) == 0.0
    assert node_lifecycle.eviction_rate(state, 100, Config()) == 0.01
    assert node_lifecycle.zone_state(0, 3, 0.55) is node_lifecycle.ZoneState.FULL_DISRUPTION
    assert node_lifecycle.zone_state(9, 1, 0.55) is node_lifecycle.ZoneState.NORMAL


def test_a_pod_is_evicted_when_its_shortest_toleration_ends() -> None:
    taint = Taint(key="k", effect="NoExecute", time_added=NOW)
    since = NOW - timedelta(hours=1)
    assert taint_eviction.eviction_time((taint,), (), since, NOW) == NOW
    for_ever = Toleration(key="k", operator="Exists")
    assert taint_eviction.eviction_time((taint,), (for_ever,), since, NOW) is None
    five = Toleration(key="k", operator="Exists", toleration_seconds=300)
    assert taint_eviction.eviction_time((taint,), (for_ever, five), since, NOW) == NOW + timedelta(seconds=300)


@given(st.integers(0, 40))
def test_nodes_get_ranges_that_do_not_overlap(count: int) -> None:
    cluster = ipaddress.ip_network("10.244.0.0/19")
    taken: list[Any] = []
    for _ in range(count):
        found = node_ipam.free_range(cluster, 24, taken)
        assert (found is None) == (len(taken) == 32)
        if found is not None:
            assert found.subnet_of(cluster)
            assert not any(found.overlaps(one) for one in taken)
            taken.append(found)


# Daemons

DAEMON = DaemonSet(
    metadata=ObjectMeta(name="log", namespace="default"),
    spec=DaemonSetSpec(template=PodTemplateSpec(spec=PodSpec(containers=(Container(name="c"),)))),
)


def test_daemons_run_where_taints_allow_and_stay_where_only_new_ones_are_kept_away() -> None:
    nodes = [
        node("plain"),
        node("cordoned", Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")),
        node("dedicated", Taint(key="gpu", effect="NoSchedule")),
        node("expelling", Taint(key="gpu", effect="NoExecute")),
    ]
    assert [daemon_placement.should_run(DAEMON, one) for one in nodes] == [
        (True, True),
        (True, True),
        (False, True),
        (False, False),
    ]


@given(st.integers(1, 10), st.integers(1, 4), st.data())
def test_a_daemon_rolling_update_keeps_enough_nodes_served_and_ends(
    count: int, unavailable: int, data: st.DataObject
) -> None:
    strategy = replace(DAEMON.spec.update_strategy, rolling_update=RollingUpdateDaemonSet(max_unavailable=unavailable))
    daemon_set = replace(DAEMON, spec=replace(DAEMON.spec, update_strategy=strategy))
    nodes = [node(f"n{number}") for number in range(count)]
    held = {one.metadata.name: [pod(f"old-{one.metadata.name}", node=one.metadata.name)] for one in nodes}
    for _ in range(200):
        available = sum(any(one.status.conditions[0].status == "True" for one in each) for each in held.values())
        assert available >= count - unavailable
        if all(each and daemon_placement.is_current(each[0], "new") for each in held.values()) and available == count:
            return
        decided = daemon_placement.plan(daemon_set, nodes, held, "new", NOW)
        if not decided.create:
            decided = daemon_placement.rolling_update(daemon_set, nodes, held, "new", NOW)
        for gone in decided.delete:
            held[gone.spec.node_name] = []
        for name in decided.create:
            held[name] = [pod(f"new-{name}", node=name, ready=False, labels={HASH_LABEL: "new"})]
        waiting = [name for name, each in held.items() if each and each[0].status.conditions[0].status != "True"]
        for name in waiting:
            if data.draw(st.booleans()) or _ > 150:
                held[name] = [pod(f"new-{name}", node=name, labels={HASH_LABEL: "new"})]
    raise AssertionError("the update does not end")


# What upstream's controller does where some nodes take no daemons (daemon/update.go).
NEW = {HASH_LABEL: "new"}
LOST = node("lost", Taint(key="node.kubernetes.io/unreachable", effect="NoSchedule"))
"""Keeps the daemon that it has, and takes no other."""


def _rolled(nodes: list[NodeView], *mine: PodView, surge: int = 0) -> daemon_placement.Plan:
    limits = RollingUpdateDaemonSet(max_surge=surge, max_unavailable=0 if surge else 1)
    strategy = replace(DAEMON.spec.update_strategy, rolling_update=limits)
    daemon_set = replace(DAEMON, spec=replace(DAEMON.spec, update_strategy=strategy))
    by_node: dict[str, list[PodView]] = {}
    for one in mine:
        by_node.setdefault(one.spec.node_name, []).append(one)
    return daemon_placement.rolling_update(daemon_set, nodes, by_node, "new", NOW)


def _names(found: list[PodView]) -> list[str]:
    return [one.metadata.name for one in found]


def test_a_new_daemon_that_does_not_come_up_on_a_lost_node_counts_as_missing() -> None:
    decided = _rolled(
        [node("a"), node("b"), LOST],
        pod("updated", node="a", labels=NEW),
        pod("old", node="b"),
        pod("starting", node="lost", labels=NEW, ready=False),
    )
    assert decided == daemon_placement.Plan()


def test_an_old_daemon_that_no_longer_belongs_on_its_node_is_updated_away() -> None:
    decided = _rolled([node("a"), LOST], pod("updated", node="a", labels=NEW), pod("old", node="lost"))
    assert _names(decided.delete) == ["old"]


def test_a_daemon_that_is_going_counts_as_missing() -> None:
    decided = _rolled([node("a"), node("b")], pod("going", node="a", deleting=True), pod("old", node="b"))
    assert decided == daemon_placement.Plan()


def test_surge_waits_until_a_daemon_that_is_going_is_gone() -> None:
    decided = _rolled([node("a")], pod("going", node="a", deleting=True), surge=1)
    assert decided == daemon_placement.Plan()


def test_surge_ends_daemons_where_none_belong_as_others_serve_in_their_place() -> None:
    nodes = [node("a"), LOST]
    served = _rolled(nodes, pod("updated", node="a", labels=NEW), pod("old", node="lost"), surge=1)
    assert _names(served.delete) == ["old"]
    starting = pod("updated", node="a", labels=NEW, ready=False)
    assert _rolled(nodes, starting, pod("old", node="lost"), surge=1) == daemon_placement.Plan()
    useless = _rolled(nodes, starting, pod("old", node="lost", ready=False), surge=1)
    assert _names(useless.delete) == ["old"]


def test_daemons_on_nodes_that_are_gone_are_left_to_the_pod_collector() -> None:
    assert _rolled([node("a")], pod("old", node="gone", ready=False), surge=1) == daemon_placement.Plan()


def test_a_daemon_is_meant_for_the_node_it_is_pinned_to() -> None:
    spec = daemon_placement.pinned(DAEMON.spec.template.spec, "n1")
    view = pod("p")
    view = replace(view, spec=replace(view.spec, affinity=spec.affinity))
    assert daemon_placement.node_of(view) == "n1"


# Stateful sets


def stateful_set(replicas_wanted: int, policy: str = "OrderedReady") -> StatefulSet:
    spec = StatefulSetSpec(
        replicas=replicas_wanted,
        pod_management_policy=policy,
        update_strategy=StatefulSetUpdateStrategy(type="RollingUpdate"),
    )
    return StatefulSet(metadata=ObjectMeta(name="db", namespace="default"), spec=spec)


def member(ordinal: int, revision: str = "r1", **more: Any) -> PodView:
    return pod(f"db-{ordinal}", node="a", labels={HASH_LABEL: revision}, **more)


def test_ordered_pods_start_one_after_another_and_stop_from_the_end() -> None:
    wanted = stateful_set(3)
    assert statefulset_plan.plan(wanted, {}, "r1", "r1", NOW).create == [(0, "r1")]
    unready = {0: member(0, ready=False)}
    decided = statefulset_plan.plan(wanted, unready, "r1", "r1", NOW)
    assert not decided.create
    assert statefulset_plan.plan(wanted, {0: member(0)}, "r1", "r1", NOW).create == [(1, "r1")]
    five = {number: member(number) for number in range(5)}
    assert [one.metadata.name for one in statefulset_plan.plan(wanted, five, "r1", "r1", NOW).delete] == ["db-4"]


def test_scaling_down_in_order_halts_while_more_than_the_last_to_go_is_unwell() -> None:
    none_wanted = stateful_set(0)
    unwell = {number: member(number, ready=False) for number in range(3)}
    assert statefulset_plan.plan(none_wanted, unwell, "r1", "r1", NOW).delete == []
    only_the_last = {0: member(0), 1: member(1), 2: member(2, ready=False)}
    gone = statefulset_plan.plan(none_wanted, only_the_last, "r1", "r1", NOW).delete
    assert [one.metadata.name for one in gone] == ["db-2"]
    at_once = statefulset_plan.plan(stateful_set(0, "Parallel"), unwell, "r1", "r1", NOW).delete
    assert len(at_once) == 3


def test_an_update_waits_for_a_pod_that_is_going_even_if_another_is_unwell() -> None:
    held = {0: member(0), 1: member(1, ready=False), 2: member(2, deleting=True)}
    assert statefulset_plan.plan(stateful_set(3, "Parallel"), held, "r1", "r2", NOW).delete == []


def test_an_update_goes_from_the_last_to_the_partition_and_a_lost_pod_below_it_is_restored_as_it_was() -> None:
    wanted = stateful_set(3)
    strategy = StatefulSetUpdateStrategy(
        type="RollingUpdate", rolling_update=RollingUpdateStatefulSetStrategy(partition=1)
    )
    wanted = replace(wanted, spec=replace(wanted.spec, update_strategy=strategy))
    held = {number: member(number) for number in range(3)}
    assert [one.metadata.name for one in statefulset_plan.plan(wanted, held, "r1", "r2", NOW).delete] == ["db-2"]
    held[2] = member(2, "r2", ready=False)
    assert not statefulset_plan.plan(wanted, held, "r1", "r2", NOW).delete
    held[2] = member(2, "r2")
    assert [one.metadata.name for one in statefulset_plan.plan(wanted, held, "r1", "r2", NOW).delete] == ["db-1"]
    held[1] = member(1, "r2")
    assert not statefulset_plan.plan(wanted, held, "r1", "r2", NOW).delete
    del held[0]
    assert statefulset_plan.plan(wanted, held, "r1", "r2", NOW).create == [(0, "r1")]


# Cron


@given(
    st.integers(0, 126_000_000),
    st.sampled_from(["*/7 * * * *", "5 3 * * 1-5", "0 0 29 2 *", "@hourly", "30 2 * * *", "0 12 1,15 * 0"]),
    st.sampled_from([None, "Europe/Berlin", "America/New_York"]),
)
def test_the_next_time_lies_ahead_and_none_is_skipped(seconds: int, text: str, zone: str | None) -> None:
    schedule = cron_schedule.parse(text, zone)
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    found = schedule.next_after(moment)
    assert found is not None
    assert found > moment
    assert schedule.next_after(found - timedelta(seconds=1)) == found


@given(
    st.integers(0, 1_000_000),
    st.sets(st.integers(0, 23), min_size=1, max_size=4),
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]),
    st.sampled_from([(2026, 3, 6), (2026, 3, 27), (2026, 10, 2), (2026, 10, 23), (2026, 10, 30)]),
)
def test_each_minute_whose_local_time_fits_is_one_repeated_hours_and_all(
    seconds: int, hours: set[int], minutes: set[int], zone: str, day: tuple[int, int, int]
) -> None:
    text = f"{','.join(map(str, sorted(minutes)))} {','.join(map(str, sorted(hours)))} * * *"
    schedule = cron_schedule.parse(text, zone)
    moment = datetime(*day, tzinfo=UTC) + timedelta(seconds=seconds % 345_600)
    minute = moment.replace(second=0) + timedelta(minutes=1)
    local = minute.astimezone(schedule.zone)
    while local.hour not in hours or local.minute not in minutes:
        minute += timedelta(minutes=1)
        local = minute.astimezone(schedule.zone)
    assert schedule.next_after(moment) == minute


def test_a_repeated_hour_has_its_runs_and_a_skipped_one_none() -> None:
    hourly = cron_schedule.parse("0 * * * *", "America/New_York")
    times = [datetime(2026, 11, 1, 4, 30, tzinfo=UTC)]
    for _ in range(3):
        found = hourly.next_after(times[-1])
        assert found is not None
        times.append(found)
    assert [one.hour for one in times[1:]] == [5, 6, 7]
    nightly = cron_schedule.parse("30 2 * * *", "America/New_York")
    assert nightly.next_after(datetime(2026, 3, 8, 5, tzinfo=UTC)) == datetime(2026, 3, 9, 6, 30, tzinfo=UTC)


def test_a_schedule_means_what_cron_means_by_it() -> None:
    moment = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)  # a Friday
    assert cron_schedule.parse("0 0 * * sun").next_after(moment) == datetime(2026, 5, 3, tzinfo=UTC)
    assert cron_schedule.parse("0 9 * * *", "Europe/Berlin").next_after(moment) == datetime(2026, 5, 2, 7, tzinfo=UTC)
    assert cron_schedule.parse("@every 1h30m").next_after(moment) == datetime(2026, 5, 1, 13, 30, tzinfo=UTC)
    assert cron_schedule.parse("0 0 13 * 5").next_after(moment) == datetime(2026, 5, 8, tzinfo=UTC)


def test_only_the_latest_missed_time_is_made_up_for() -> None:
    status = CronJobStatus(last_schedule_time=NOW - timedelta(minutes=5))
    cron_job = CronJob(metadata=ObjectMeta(name="tick"), spec=CronJobSpec(schedule="* * * * *"), status=status)
    found = cronjobs.due(cron_job, cron_schedule.parse("* * * * *"), NOW + timedelta(seconds=30))
    assert found.scheduled == NOW
    assert found.missed == 4
    assert found.next == NOW + timedelta(minutes=1)


def test_a_long_absence_is_caught_up_with_at_once() -> None:
    status = CronJobStatus(last_schedule_time=NOW - timedelta(days=400))
    cron_job = CronJob(metadata=ObjectMeta(name="tick"), spec=CronJobSpec(schedule="* * * * *"), status=status)
    found = cronjobs.due(cron_job, cron_schedule.parse("* * * * *"), NOW)
    assert found.scheduled == NOW


# Disruption budgets


@given(st.integers(0, 12), st.integers(0, 12), st.one_of(st.integers(0, 12), st.integers(0, 100).map("{}%".format)))
def test_evicting_as_many_as_allowed_leaves_enough(healthy: int, sick: int, least: int | str) -> None:
    spec = PodDisruptionBudgetSpec(min_available=least)
    budget = PodDisruptionBudget(metadata=ObjectMeta(name="b"), spec=spec)
    mine = [pod(f"h{n}") for n in range(healthy)] + [pod(f"s{n}", ready=False) for n in range(sick)]
    wanted = disruptions.expectation(budget, len(mine), {"rs": len(mine)})
    status = disruptions.compute_status(budget, mine, wanted, {}, NOW)
    assert status.current_healthy == healthy
    if status.disruptions_allowed:
        assert healthy - status.disruptions_allowed >= status.desired_healthy
    assert status.conditions[0].reason == ("SufficientPods" if status.disruptions_allowed else "InsufficientPods")


# Ownership

POD = make_kind("v1", "Pod", "pods")


def owned(uid: str, *owner_uids: str, **more: Any) -> Node:
    owners = tuple(
        OwnerReference(uid=one, name=one, kind="Pod", api_version="v1", block_owner_deletion=True) for one in owner_uids
    )
    return Node(uid, POD, "default", uid, owners, **more)


def test_dependents_are_looked_at_when_their_owner_goes() -> None:
    graph = Graph()
    graph.put(owned("owner"))
    assert graph.put(owned("dependent", "owner")) == []
    assert graph.remove("owner") == [(Work.DELETE, "dependent")]


def test_an_owner_in_foreground_deletion_waits_for_what_blocks_it() -> None:
    graph = Graph()
    graph.put(owned("owner"))
    graph.put(owned("dependent", "owner"))
    work = graph.put(owned("owner", is_deleting=True, is_deleting_dependents=True))
    assert work == [(Work.DELETE, "owner"), (Work.DELETE, "dependent")]
    assert [one.uid for one in graph.blocking_dependents("owner")] == ["dependent"]
    assert graph.remove("dependent") == [(Work.DELETE, "owner")]


def test_one_solid_owner_keeps_an_object() -> None:
    node = owned("dependent", "a", "b")
    verdict = ownership.judge(["a"], ["b"], [], node, Graph(), ())
    assert verdict == ownership.Verdict(drop=("b",))
    assert ownership.judge([], ["a", "b"], [], node, Graph(), ()) == ownership.Verdict(delete="Background")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sets(st.sampled_from("abcd"), max_size=2), st.booleans())))
def test_the_graph_agrees_with_a_list_of_what_is_there(steps: list[tuple[str, set[str], bool]]) -> None:
    graph = Graph()
    there: dict[str, set[str]] = {}
    for uid, owner_uids, is_there in steps:
        if is_there:
            graph.put(owned(uid, *sorted(owner_uids)))
            there[uid] = owner_uids
        else:
            graph.remove(uid)
            there.pop(uid, None)
    for uid in "abcd":
        assert {one.uid for one in graph.dependents(uid)} == {one for one, held in there.items() if uid in held}


# Which controllers run


def test_controllers_are_switched_by_upstreams_names() -> None:
    assert is_enabled("job-controller", ("*",))
    assert not is_enabled("job-controller", ("*", "-job-controller"))
    assert is_enabled("job-controller", ("job-controller",))
    assert not is_enabled("job-controller", ("deployment-controller",))
    assert not is_enabled("token-cleaner-controller", ("*",))
    assert unknown_names(("*", "-job-controller", "nonsense")) == ["nonsense"]
