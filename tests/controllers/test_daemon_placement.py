"""Daemons: where they run, and how a rolling update goes from node to node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.apps_v1 import (
    DaemonSet,
    DaemonSetSpec,
    RollingUpdateDaemonSet,
)
from keelback.api.core_v1 import (
    Container,
    PodSpec,
    PodTemplateSpec,
    Taint,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import (
    daemon_placement,
)
from keelback.controllers.observed import (
    NodeView,
    PodView,
)
from keelback.controllers.revisions import HASH_LABEL
from keelback.testing.views import NOW, node, pod

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
