from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keelback.api.core_v1 import NodeCondition, Taint
from keelback.controllers import pod_garbage_collector as collector
from keelback.controllers.observed import (
    HeldMeta,
    NodeSpecView,
    NodeStatusView,
    NodeView,
    PodSpecView,
    PodStatusView,
    PodView,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def pod(name: str, *, node: str = "", phase: str = "Running", age: int = 0, deleting: bool = False) -> PodView:
    metadata = HeldMeta(
        name=name, creation_timestamp=NOW - timedelta(minutes=age), deletion_timestamp=NOW if deleting else None
    )
    return PodView(metadata=metadata, spec=PodSpecView(node_name=node), status=PodStatusView(phase=phase))


def names(doomed: list[collector.Doomed]) -> list[str]:
    return [one.pod.metadata.name for one in doomed]


def test_the_oldest_ended_pods_beyond_the_threshold_go() -> None:
    pods = [pod("a", phase="Failed", age=1), pod("b", phase="Succeeded", age=9), pod("c", age=99)]
    assert names(collector.excess_terminated(pods, 1)) == ["b"]
    assert collector.excess_terminated(pods, 2) == []
    assert collector.excess_terminated(pods, 0) == []


def test_pods_of_nodes_that_are_gone_go_and_say_why() -> None:
    doomed = collector.orphaned([pod("a", node="gone"), pod("b", node="there")], frozenset({"gone"}))
    assert names(doomed) == ["a"]
    assert doomed[0].message == "PodGC: node no longer exists"


def test_a_deleted_pod_without_a_node_has_no_kubelet_to_finish_it() -> None:
    pods = [pod("a", deleting=True), pod("b", deleting=True, node="n"), pod("c")]
    assert names(collector.unscheduled_terminating(pods)) == ["a"]


def test_an_administrator_can_give_up_a_node() -> None:
    lost = NodeView(
        metadata=HeldMeta(name="lost"),
        spec=NodeSpecView(taints=(Taint(key="node.kubernetes.io/out-of-service", effect="NoExecute"),)),
        status=NodeStatusView(conditions=(NodeCondition(type="Ready", status="Unknown"),)),
    )
    pods = [pod("a", node="lost", deleting=True), pod("b", node="lost"), pod("c", node="well", deleting=True)]
    assert names(collector.out_of_service(pods, [lost])) == ["a"]
