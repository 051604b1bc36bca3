"""Gangs on a whole cluster: all of a group's pods get a node, or none, whoever dies or comes in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keelback.apimachinery.meta import ObjectMeta
from keelback.cli import explain, simulate
from keelback.scheduler import simulation
from keelback.scheduler.snapshot import Snapshot
from keelback.scheduling.node_info import NodeStatusToPlaceOn, NodeToPlaceOn
from keelback.simulation.config import nodes
from keelback.testing.cluster import Cluster

DONGLE = "example.com/dongle"
CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110", DONGLE: "1"}
NOT_ENOUGH = "pod group is unschedulable, waiting for minCount pods from a gang to be scheduled"
NO_DONGLE = (
    "0/3 nodes are available: 3 Insufficient example.com/dongle. "
    "no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes with a dongle each."""
    gates = {"GenericWorkload": True, "GangScheduling": True}
    versions = (("scheduling.k8s.io", "v1alpha2"),)
    with Cluster(
        nodes=nodes(3, capacity=CAPACITY), heartbeat_seconds=300, feature_gates=gates, optional_versions=versions
    ) as running:
        for name, value in (("low", 1), ("high", 100)):
            running.apply(
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": name},
                    "value": value,
                }
            )
        yield running


def group(cluster: Cluster, name: str, min_count: int | None) -> None:
    policy = {"basic": {}} if min_count is None else {"gang": {"minCount": min_count}}
    cluster.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1alpha2",
            "kind": "PodGroup",
            "metadata": {"name": name},
            "spec": {"schedulingPolicy": policy},
        }
    )


def pods(cluster: Cluster, of: str, count: int, *, start: int = 0, grouped: bool = True, **spec: Any) -> None:
    """Pods that ask for a dongle each."""
    for name in (f"{of}-{number}" for number in range(start, start + count)):
        resources = {"requests": {DONGLE: "1"}, "limits": {DONGLE: "1"}}
        container = {"name": "c", "image": "one", "resources": resources}
        tree = {"containers": [container], "terminationGracePeriodSeconds": 5, **spec}
        if grouped:
            tree["schedulingGroup"] = {"podGroupName": of}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": tree})
    cluster.advance(3)


def placed(cluster: Cluster, of: str = "") -> set[str]:
    found = (one for one in cluster.list("pods") if one["spec"].get("nodeName"))
    return {one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith(of)}


def remove(cluster: Cluster, name: str) -> None:
    cluster.request("DELETE", f"/api/v1/namespaces/default/pods/{name}", query="gracePeriodSeconds=0")


def said(cluster: Cluster, name: str) -> str:
    conditions = cluster.get(f"pod/{name}")["status"].get("conditions", [])
    return next((str(one["message"]) for one in conditions if one["type"] == "PodScheduled"), "")


def group_condition(cluster: Cluster, name: str) -> tuple[str, str, str]:
    conditions = cluster.get(f"podgroup/{name}").get("status", {}).get("conditions", [])
    return next(
        ((one["status"], one["reason"], one["message"]) for one in conditions if one["type"] == "PodGroupScheduled"),
        ("", "", ""),
    )


def test_a_gang_of_four_gets_nothing_where_three_fit_and_all_when_a_fourth_node_comes(cluster: Cluster) -> None:
    group(cluster, "train", 4)
    pods(cluster, "train", 4)
    cluster.advance(60)
    assert placed(cluster) == set()
    assert sorted(said(cluster, f"train-{number}") for number in range(4)) == [NO_DONGLE, *(NOT_ENOUGH,) * 3]
    assert group_condition(cluster, "train") == ("False", "Unschedulable", "pod group is unschedulable")
    told = [one["message"] for one in cluster.events("pod/train-0") if one["reason"] == "FailedScheduling"]
    assert NOT_ENOUGH in told
    # What a gang cannot use is free for others.
    pods(cluster, "single", 1, grouped=False)
    assert placed(cluster) == {"single-0"}
    remove(cluster, "single-0")
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "late", "labels": {"kubernetes.io/hostname": "late"}},
        }
    )
    cluster.patch("node/late", {"status": {"capacity": CAPACITY, "allocatable": CAPACITY}}, subresource="status")
    cluster.advance(15)
    assert placed(cluster) == {f"train-{number}" for number in range(4)}
    assert group_condition(cluster, "train") == ("True", "Scheduled", "")


def test_pods_wait_for_their_group_and_for_each_other_before_they_are_tried(cluster: Cluster) -> None:
    pods(cluster, "train", 1)
    assert (placed(cluster), said(cluster, "train-0")) == (set(), "")
    group(cluster, "train", 2)
    cluster.advance(3)
    assert (placed(cluster), said(cluster, "train-0")) == (set(), "")
    pods(cluster, "train", 1, start=1)
    assert placed(cluster) == {"train-0", "train-1"}
    # One more than must be is welcome, as is any that comes later; one that has no room does no harm.
    pods(cluster, "train", 2, start=2)
    assert placed(cluster) == {"train-0", "train-1", "train-2"}
    assert said(cluster, "train-3") == NO_DONGLE
    assert group_condition(cluster, "train") == ("True", "Scheduled", "")


def test_a_basic_group_takes_what_it_gets(cluster: Cluster) -> None:
    group(cluster, "loose", None)
    pods(cluster, "loose", 4)
    assert len(placed(cluster)) == 3


def test_two_gangs_that_do_not_both_fit_do_not_wait_for_each_other(cluster: Cluster) -> None:
    for name in ("one", "other"):
        group(cluster, name, 2)
    # Their pods arrive in turn, as those of two jobs that begin together.
    for number in range(2):
        for name in ("one", "other"):
            pods(cluster, name, 1, start=number)
    cluster.advance(60)
    winner, loser = ("one", "other") if placed(cluster, "one") else ("other", "one")
    assert placed(cluster) == {f"{winner}-0", f"{winner}-1"}
    for number in range(2):
        remove(cluster, f"{winner}-{number}")
    cluster.advance(15)
    assert placed(cluster) == {f"{loser}-0", f"{loser}-1"}


def test_nobody_is_preempted_for_a_gang_that_has_not_enough_room_even_then(cluster: Cluster) -> None:
    pods(cluster, "victim", 3, grouped=False, priorityClassName="low")
    assert len(placed(cluster)) == 3
    group(cluster, "train", 4)
    pods(cluster, "train", 4, priorityClassName="high")
    cluster.advance(60)
    assert placed(cluster) == {"victim-0", "victim-1", "victim-2"}
    assert not any("deletionTimestamp" in one["metadata"] for one in cluster.list("pods"))
    assert group_condition(cluster, "train")[1] == "Unschedulable"


def test_a_gang_preempts_as_one_and_starts_when_all_victims_are_gone(cluster: Cluster) -> None:
    pods(cluster, "victim", 2, grouped=False, priorityClassName="low")
    kubelets = [f"kubelet/{cluster.get(f'pod/victim-{number}')['spec']['nodeName']}" for number in range(2)]
    for kubelet in kubelets:
        cluster.stop_component(kubelet)
    group(cluster, "train", 3)
    pods(cluster, "train", 3, priorityClassName="high")
    waits = "pod group is unschedulable, pod group is waiting for preemption to complete"
    for number, kubelet in enumerate(kubelets):
        cluster.advance(30)
        assert group_condition(cluster, "train") == ("False", "Unschedulable", waits)
        own = [one for one in cluster.list("pods") if one["metadata"]["name"].startswith("train")]
        assert {one["status"].get("nominatedNodeName") for one in own} == {"node-0", "node-1", "node-2"}
        # Nobody gets the room meanwhile, and who has a place already waits for the others.
        pods(cluster, "thief", 1, start=number, grouped=False, priorityClassName="low")
        assert placed(cluster) - {"victim-0", "victim-1"} == set()
        cluster.start_component(kubelet)
        cluster.wait(f"pod/victim-{number}", "deleted")
    cluster.advance(15)
    assert placed(cluster) == {"train-0", "train-1", "train-2"}


def test_a_scheduler_that_starts_anew_keeps_to_all_or_nothing(cluster: Cluster) -> None:
    group(cluster, "train", 4)
    pods(cluster, "train", 4)
    cluster.stop_component("scheduler")
    cluster.start_component("scheduler")
    cluster.advance(60)
    assert placed(cluster) == set()
    # Half of a gang was bound when the scheduler died: the rest follows, as they count.
    cluster.stop_component("scheduler")
    group(cluster, "half", 3)
    pods(cluster, "half", 3)
    for number in range(2):
        body = {"metadata": {"name": f"half-{number}"}, "target": {"kind": "Node", "name": f"node-{number}"}}
        cluster.request(
            "POST",
            f"/api/v1/namespaces/default/pods/half-{number}/binding",
            body={"apiVersion": "v1", "kind": "Binding", **body},
        )
    cluster.start_component("scheduler")
    cluster.advance(15)
    assert placed(cluster) == {"half-0", "half-1", "half-2"}


def taken(cluster: Cluster, folder: Path) -> Snapshot:
    """The cluster's objects as `keelback simulate` reads them from a file."""
    items = [one for kind in ("nodes", "podgroups", "pods") for one in cluster.list(kind, namespace="")]
    path = folder / "cluster.json"
    path.write_text(json.dumps({"kind": "List", "items": items}))
    snapshot = Snapshot()
    for obj in simulate.read(path):
        snapshot.put(obj)
    return snapshot


def test_an_explanation_says_how_it_stands_with_the_gang(cluster: Cluster, tmp_path: Path) -> None:
    group(cluster, "train", 4)
    pods(cluster, "train", 3)
    snapshot = taken(cluster, tmp_path)
    waiting = snapshot.pods["default", "train-0"]
    text = "\n".join(explain.written(snapshot.explain(waiting)))
    held = "waiting for minCount pods from a gang to appear in scheduling queue"
    assert f"Message:   {held}\nGroup:     train (gang, minCount 4): 3 pods, 0 with a node\n  {held}\n" in text
    assert [one.message for one in simulation.place_all(snapshot)] == [held] * 3
    pods(cluster, "train", 1, start=3)
    snapshot = taken(cluster, tmp_path)
    before = snapshot.observation.nodes.pod_count.tolist()
    outcomes = set()
    for number in range(4):
        explained = snapshot.explain(snapshot.pods["default", f"train-{number}"])
        outcomes.add((explained.node_name, explained.message))
        assert explained.group is not None
        assert (explained.group.pods, explained.group.message) == (4, "pod group is unschedulable")
        assert len(explained.group.outcomes) == 4
    assert outcomes == {("", NOT_ENOUGH), ("", NO_DONGLE)}
    assert snapshot.observation.nodes.pod_count.tolist() == before
    # What if there were a fourth node?
    snapshot.put(NodeToPlaceOn(metadata=ObjectMeta(name="more"), status=NodeStatusToPlaceOn(allocatable=CAPACITY)))
    explained = snapshot.explain(snapshot.pods["default", "train-0"])
    assert (bool(explained.node_name), explained.message) == (True, "")
    assert len({one.node_name for one in simulation.place_all(snapshot)}) == 4


def test_a_gang_of_two_schedulers_says_what_is_wrong(cluster: Cluster) -> None:
    group(cluster, "train", 2)
    pods(cluster, "train", 1)
    pods(cluster, "train", 1, start=1, schedulerName="other")
    # The other's pod counts as there, but is not this scheduler's to place.
    cluster.advance(10)
    assert said(cluster, "train-0") == NOT_ENOUGH


def test_without_the_gate_the_group_of_a_pod_is_dropped_and_does_not_matter() -> None:
    with Cluster(nodes=nodes(1, capacity=CAPACITY), heartbeat_seconds=300) as cluster:
        pods(cluster, "train", 1)
        assert "schedulingGroup" not in cluster.get("pod/train-0")["spec"]
        assert placed(cluster) == {"train-0"}


def test_a_group_that_an_extender_is_to_be_asked_about_says_that_it_cannot_be() -> None:
    gates = {"GenericWorkload": True, "GangScheduling": True}
    extender = {"urlPrefix": "http://127.0.0.1:9/", "filterVerb": "filter", "managedResources": [{"name": DONGLE}]}
    kind = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    with Cluster(
        nodes=nodes(1, capacity=CAPACITY),
        feature_gates=gates,
        optional_versions=(("scheduling.k8s.io", "v1alpha2"),),
        scheduler_configuration=json.dumps({**kind, "extenders": [extender]}),
    ) as cluster:
        group(cluster, "gang", 1)
        pods(cluster, "gang", 1)
        condition = next(
            one for one in cluster.get("pod/gang-0")["status"]["conditions"] if one["type"] == "PodScheduled"
        )
        assert condition["reason"] == "SchedulerError"
        assert condition["message"] == "extenders cannot be asked about the pods of a group, and one is to be"
