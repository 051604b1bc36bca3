"""Nodes: what is said of those that stop reporting, how fast they are emptied, and which addresses each has."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    Taint,
    Toleration,
)
from keelback.controllers import (
    node_ipam,
    node_lifecycle,
    taint_eviction,
)
from keelback.controllers.config import Config
from keelback.testing.views import NOW, node


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
