"""What the conformance suite asks of workloads, on a whole cluster in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.simulation.manners import EXIT_CODE
from keelback.simulation.pods import READY
from keelback.testing.cluster import Cluster

FAILS_INDEX = {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [5]}}]}


@pytest.fixture(scope="module")
def calm() -> Iterator[Cluster]:
    with Cluster(nodes=2) as cluster:
        yield cluster


def workload(kind: str, name: str, image: str = "one", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    selected = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": selected | spec}


def job(name: str, code: int, **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "one"}]}
    template = {"metadata": {"annotations": {EXIT_CODE: str(code)}}, "spec": pod}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec | {"template": template}}


def pods(cluster: Cluster, app: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in cluster.list("pods", label_selector=f"app={app}"))


def test_a_stateful_set_halts_while_its_pods_are_unwell_and_goes_on_when_they_are_well(calm: Cluster) -> None:
    three = ["ss-0", "ss-1", "ss-2"]
    calm.apply(workload("StatefulSet", "ss", replicas=3, serviceName="ss"))
    calm.advance(20)
    assert pods(calm, "ss") == three
    for name in three:
        calm.patch(f"pod/{name}", {"metadata": {"annotations": {READY: "false"}}})
    calm.advance(10)
    calm.apply(workload("StatefulSet", "ss", replicas=0, serviceName="ss"))
    calm.advance(30)
    assert pods(calm, "ss") == three
    for name in three:
        calm.patch(f"pod/{name}", {"metadata": {"annotations": {READY: "true"}}})
    calm.advance(30)
    assert pods(calm, "ss") == []


def test_a_daemon_set_goes_back_to_a_revision_that_was_written_by_hand(calm: Cluster) -> None:
    calm.apply(workload("DaemonSet", "ds", "one"))
    calm.advance(10)
    first = calm.list("controllerrevisions", label_selector="app=ds")[0]
    metadata = {key: first["metadata"][key] for key in ("labels", "ownerReferences")}
    path = "/apis/apps/v1/namespaces/default/controllerrevisions"
    body = first | {"metadata": metadata | {"name": "ds-by-hand"}, "revision": 2}
    calm.request("POST", path, body=body)
    calm.delete(f"controllerrevisions/{first['metadata']['name']}")
    for image in ("two", "one"):
        calm.apply(workload("DaemonSet", "ds", image))
        calm.advance(30)
    assert calm.get("controllerrevisions/ds-by-hand")["revision"] == 4
    images = {one["spec"]["containers"][0]["image"] for one in calm.list("pods", label_selector="app=ds")}
    assert images == {"one"}


@pytest.mark.parametrize(
    ("tree", "end", "reason", "counts"),
    [
        (
            job("per-index", 1, completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=1),
            "Failed",
            "FailedIndexes",
            {"failed": 4, "failedIndexes": "0,1"},
        ),
        (
            job(
                "fail-index",
                5,
                completions=2,
                parallelism=2,
                completionMode="Indexed",
                backoffLimitPerIndex=2,
                podFailurePolicy=FAILS_INDEX,
            ),
            "Failed",
            "FailedIndexes",
            {"failed": 2, "failedIndexes": "0,1"},
        ),
        (
            job("enough", 0, completions=3, completionMode="Indexed", successPolicy={"rules": [{"succeededCount": 1}]}),
            "Complete",
            "SuccessPolicy",
            {"succeeded": 1, "completedIndexes": "0"},
        ),
        (job("limit", 5, completions=2, backoffLimit=1), "Failed", "BackoffLimitExceeded", {"failed": 2}),
    ],
)
def test_a_job_ends_as_its_policies_say(
    calm: Cluster, tree: dict[str, Any], end: str, reason: str, counts: dict[str, Any]
) -> None:
    calm.apply(tree)
    ended = calm.wait(f"job/{tree['metadata']['name']}", end)["status"]
    assert [one["reason"] for one in ended["conditions"] if one["type"] == end] == [reason]
    assert {key: ended.get(key) for key in counts} == counts
    assert not ended.get("active")
