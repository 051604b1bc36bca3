"""Stateful sets: which pod starts, stops and is replaced next."""

from __future__ import annotations

from typing import Any

from keelback.api.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import (
    statefulset_plan,
)
from keelback.controllers.observed import (
    PodView,
)
from keelback.controllers.revisions import HASH_LABEL
from keelback.testing.views import NOW, pod


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
