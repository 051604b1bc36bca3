"""What the conformance suite demands of StatefulSets and DaemonSets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.simulation.pods import READY
from keelback.testing.cluster import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3) as running:
        yield running


def workload(kind: str, name: str, image: str = "one", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    given = {"selector": {"matchLabels": {"app": name}}, "template": template} | spec
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": {"app": name}}, "spec": given}


def stateful(name: str, image: str = "one", replicas: int = 3, **spec: Any) -> dict[str, Any]:
    return workload("StatefulSet", name, image, replicas=replicas, serviceName=name, **spec)


def pods(cluster: Cluster, app: str) -> dict[str, str]:
    """The images of the pods that are not on their way out, by name."""
    return {
        one["metadata"]["name"]: one["spec"]["containers"][0]["image"]
        for one in cluster.list("pods", label_selector=f"app={app}")
        if "deletionTimestamp" not in one["metadata"]
    }


def comings_and_goings(cluster: Cluster, app: str, since: str) -> list[str]:
    found = cluster.changes("pods", since, label_selector=f"app={app}")
    signs = {"ADDED": "+", "DELETED": "-"}
    return [signs[one["type"]] + one["object"]["metadata"]["name"][-1] for one in found if one["type"] in signs]


def ready(cluster: Cluster, names: list[str], yes: bool) -> None:
    for name in names:
        cluster.patch(f"pod/{name}", {"metadata": {"annotations": {READY: str(yes).lower()}}})


def test_pods_come_and_go_in_order_and_wait_for_the_unwell(cluster: Cluster) -> None:
    start = cluster.apply(stateful("ordered"))[0]["metadata"]["resourceVersion"]
    cluster.wait("statefulset/ordered", "status.readyReplicas=3")
    assert comings_and_goings(cluster, "ordered", start) == ["+0", "+1", "+2"]
    unwell = ["ordered-0", "ordered-1", "ordered-2"]
    ready(cluster, unwell, False)
    cluster.advance(10)
    since = cluster.apply(stateful("ordered", replicas=0))[0]["metadata"]["resourceVersion"]
    cluster.advance(30)
    assert sorted(pods(cluster, "ordered")) == unwell
    ready(cluster, unwell, True)
    cluster.advance(30)
    assert comings_and_goings(cluster, "ordered", since) == ["-2", "-1", "-0"]


def test_in_parallel_nobody_waits_for_the_unwell(cluster: Cluster) -> None:
    cluster.apply(stateful("burst", replicas=1, podManagementPolicy="Parallel"))
    cluster.wait("statefulset/burst", "status.readyReplicas=1")
    ready(cluster, ["burst-0"], False)
    cluster.advance(5)
    cluster.apply(stateful("burst", replicas=3, podManagementPolicy="Parallel"))
    cluster.advance(5)
    assert sorted(pods(cluster, "burst")) == ["burst-0", "burst-1", "burst-2"]
    ready(cluster, ["burst-1"], False)
    cluster.apply(stateful("burst", replicas=0, podManagementPolicy="Parallel"))
    cluster.advance(40)
    assert pods(cluster, "burst") == {}


def test_updates_go_from_the_last_and_back_to_an_old_revision(cluster: Cluster) -> None:
    cluster.apply(stateful("rolled"))
    first = cluster.wait("statefulset/rolled", "status.readyReplicas=3")["status"]["currentRevision"]
    since = cluster.apply(stateful("rolled", "two"))[0]["metadata"]["resourceVersion"]
    cluster.advance(0.15)
    told = cluster.get("statefulset/rolled")["status"]
    assert (told["currentRevision"], told["updateRevision"] == first) == (first, False)
    second = cluster.wait(
        "statefulset/rolled", lambda tree: tree["status"]["currentRevision"] == tree["status"]["updateRevision"]
    )["status"]["updateRevision"]
    assert second != first
    assert comings_and_goings(cluster, "rolled", since) == ["-2", "+2", "-1", "+1", "-0", "+0"]
    cluster.apply(stateful("rolled", "one"))
    cluster.wait("statefulset/rolled", lambda tree: tree["status"]["currentRevision"] == first)
    assert set(pods(cluster, "rolled").values()) == {"one"}
    assert len(cluster.list("controllerrevisions", label_selector="app=rolled")) == 2


def test_a_partition_keeps_the_lower_ordinals_as_they_are_even_when_they_are_lost(cluster: Cluster) -> None:
    def partition(ordinal: int) -> dict[str, Any]:
        return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": ordinal}}}

    cluster.apply(stateful("phased", **partition(3)))
    cluster.wait("statefulset/phased", "status.readyReplicas=3")
    cluster.apply(stateful("phased", "two", **partition(3)))
    cluster.advance(20)
    assert set(pods(cluster, "phased").values()) == {"one"}
    cluster.apply(stateful("phased", "two", **partition(2)))
    cluster.advance(20)
    canary = {"phased-0": "one", "phased-1": "one", "phased-2": "two"}
    assert pods(cluster, "phased") == canary
    for name in canary:
        cluster.delete(f"pod/{name}")
    cluster.wait("statefulset/phased", "status.readyReplicas=3")
    cluster.advance(20)
    assert pods(cluster, "phased") == canary
    for ordinal in (1, 0):
        cluster.apply(stateful("phased", "two", **partition(ordinal)))
        cluster.advance(20)
    assert set(pods(cluster, "phased").values()) == {"two"}


def test_a_pod_that_failed_is_made_again(cluster: Cluster) -> None:
    cluster.apply(stateful("evicted", replicas=1))
    before = cluster.wait("statefulset/evicted", "status.readyReplicas=1") and cluster.get("pod/evicted-0")
    cluster.patch("pod/evicted-0", {"status": {"phase": "Failed", "reason": "Evicted"}}, subresource="status")
    again = cluster.wait("pod/evicted-0", lambda tree: tree["metadata"]["uid"] != before["metadata"]["uid"])
    assert again["metadata"]["name"] == "evicted-0"
    cluster.wait("statefulset/evicted", "status.readyReplicas=1")


def test_a_stateful_sets_scale_and_status_are_read_and_written(cluster: Cluster) -> None:
    cluster.apply(stateful("scaled", replicas=1))
    cluster.wait("statefulset/scaled", "status.readyReplicas=1")
    path = "/apis/apps/v1/namespaces/default/statefulsets/scaled/scale"
    scale = cluster.request("GET", path)
    scale["spec"]["replicas"] = 2
    assert cluster.request("PUT", path, body=scale)["spec"]["replicas"] == 2
    cluster.wait("statefulset/scaled", "status.readyReplicas=2")
    cluster.patch("statefulset/scaled", {"spec": {"replicas": 4}}, subresource="scale")
    assert cluster.wait("statefulset/scaled", "status.readyReplicas=4")["spec"]["replicas"] == 4
    condition = {"type": "StatusPatched", "status": "True", "lastTransitionTime": "2026-05-01T00:00:00Z"}
    written = cluster.patch("statefulset/scaled", {"status": {"conditions": [condition]}}, subresource="status")
    assert written["status"]["conditions"] == [condition]


def test_daemons_run_everywhere_and_come_back(cluster: Cluster) -> None:
    cluster.apply(workload("DaemonSet", "simple"))
    told = cluster.wait("daemonset/simple", "status.numberReady=3")["status"]
    assert (told["desiredNumberScheduled"], told["numberMisscheduled"]) == (3, 0)
    nodes = {one["spec"]["nodeName"] for one in cluster.list("pods", label_selector="app=simple")}
    assert nodes == {"node-0", "node-1", "node-2"}
    gone = cluster.list("pods", label_selector="app=simple")[0]
    cluster.delete(f"pod/{gone['metadata']['name']}")
    cluster.advance(40)
    assert cluster.wait("daemonset/simple", "status.numberReady=3")
    assert gone["metadata"]["name"] not in pods(cluster, "simple")


def test_a_daemon_that_failed_is_made_again(cluster: Cluster) -> None:
    cluster.apply(workload("DaemonSet", "failing"))
    cluster.wait("daemonset/failing", "status.numberReady=3")
    name = min(pods(cluster, "failing"))
    cluster.patch(f"pod/{name}", {"status": {"phase": "Failed"}}, subresource="status")
    cluster.wait(f"pod/{name}", "deleted")
    cluster.advance(5)
    cluster.wait("daemonset/failing", "status.numberReady=3")
    assert len(pods(cluster, "failing")) == 3


@pytest.mark.parametrize("how", ["nodeSelector", "affinity"])
def test_daemons_follow_the_labels_of_nodes(cluster: Cluster, how: str) -> None:
    terms = [{"matchExpressions": [{"key": "color", "operator": "In", "values": ["blue"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    chosen = {"nodeSelector": {"color": "blue"}} if how == "nodeSelector" else {"affinity": {"nodeAffinity": required}}
    name = f"complex-{how.lower()}"
    tree = workload("DaemonSet", name)
    tree["spec"]["template"]["spec"] |= chosen
    cluster.apply(tree)
    cluster.advance(5)
    assert pods(cluster, name) == {}
    cluster.patch("node/node-1", {"metadata": {"labels": {"color": "blue"}}})
    cluster.wait(f"daemonset/{name}", "status.numberReady=1")
    cluster.patch("node/node-1", {"metadata": {"labels": {"color": "green"}}})
    cluster.advance(40)
    assert pods(cluster, name) == {}
    cluster.patch("node/node-1", {"metadata": {"labels": {"color": None}}})


def test_a_daemon_set_rolls_and_goes_back_without_needless_restarts(cluster: Cluster) -> None:
    cluster.apply(workload("DaemonSet", "rolling"))
    cluster.wait("daemonset/rolling", "status.numberReady=3")
    cluster.apply(workload("DaemonSet", "rolling", "two"))
    cluster.wait("daemonset/rolling", lambda tree: tree["status"].get("updatedNumberScheduled") == 3)
    cluster.wait("daemonset/rolling", "status.numberAvailable=3")
    assert set(pods(cluster, "rolling").values()) == {"two"}
    stuck = workload("DaemonSet", "rolling", "three")
    stuck["spec"]["template"]["metadata"]["annotations"] = {READY: "false"}
    cluster.apply(stuck)
    cluster.advance(10)
    found = pods(cluster, "rolling")
    assert sorted(found.values()) == ["three", "two", "two"]
    kept = {name for name, image in found.items() if image == "two"}
    cluster.patch("daemonset/rolling", {"spec": {"template": {"metadata": {"annotations": None}}}})
    cluster.apply(workload("DaemonSet", "rolling", "two"))
    cluster.advance(60)
    cluster.wait("daemonset/rolling", "status.numberAvailable=3")
    assert set(pods(cluster, "rolling").values()) == {"two"}
    assert kept < pods(cluster, "rolling").keys()


def test_a_daemon_sets_status_is_written(cluster: Cluster) -> None:
    cluster.apply(workload("DaemonSet", "written"))
    cluster.wait("daemonset/written", "status.numberReady=3")
    condition = {"type": "StatusUpdate", "status": "True", "lastTransitionTime": "2026-05-01T00:00:00Z"}
    cluster.patch("daemonset/written", {"status": {"conditions": [condition]}}, subresource="status")
    cluster.advance(5)
    assert cluster.get("daemonset/written")["status"]["conditions"] == [condition]


def test_controller_revisions_are_made_listed_patched_and_deleted(cluster: Cluster) -> None:
    cluster.apply(workload("DaemonSet", "revised"))
    cluster.wait("daemonset/revised", "status.numberReady=3")
    [first] = cluster.list("controllerrevisions", label_selector="app=revised")
    name = first["metadata"]["name"]
    patched = cluster.patch(f"controllerrevisions/{name}", {"metadata": {"labels": {name: "patched"}}})
    assert patched["metadata"]["labels"][name] == "patched"
    metadata = {key: first["metadata"][key] for key in ("labels", "ownerReferences")} | {"name": "revised-by-hand"}
    path = "/apis/apps/v1/namespaces/default/controllerrevisions"
    cluster.request("POST", path, body=first | {"metadata": metadata, "revision": first["revision"] + 1})
    assert len(cluster.list("controllerrevisions", label_selector="app=revised")) == 2
    cluster.delete(f"controllerrevisions/{name}")
    cluster.wait(f"controllerrevisions/{name}", "deleted")
    cluster.patch("daemonset/revised", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}})
    cluster.advance(30)
    revisions = {
        one["metadata"]["name"]: one["revision"]
        for one in cluster.list("controllerrevisions", label_selector="app=revised")
    }
    assert len(revisions) == 2
    assert max(revisions, key=lambda one: revisions[one]) != "revised-by-hand"
    cluster.request("DELETE", path, query="labelSelector=app%3Drevised")
    assert "revised-by-hand" not in {one["metadata"]["name"] for one in cluster.list("controllerrevisions")}
