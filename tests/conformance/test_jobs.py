"""What the conformance suite demands of Jobs, CronJobs and disruption budgets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.simulation.manners import EXIT_CODE, RUN_SECONDS
from keelback.testing.cluster import Cluster

INDEX = "batch.kubernetes.io/job-completion-index"
FOREVER = {RUN_SECONDS: "forever"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=2, heartbeat_seconds=300) as running:
        yield running


def job(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "one"}]}
    template = {"metadata": {"labels": {"app": name}, "annotations": annotations or {}}, "spec": pod}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec | {"template": template}}


def cron_job(name: str, annotations: dict[str, str], **spec: Any) -> dict[str, Any]:
    given = {"schedule": "*/1 * * * *", "jobTemplate": {"spec": job(name, annotations)["spec"]}} | spec
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": given}


def pods(cluster: Cluster, app: str, phase: str = "") -> list[dict[str, Any]]:
    found = cluster.list("pods", label_selector=f"app={app}")
    return [one for one in found if phase in ("", one["status"]["phase"])]


def end(cluster: Cluster, pod: dict[str, Any], code: int) -> None:
    """Let a pod that runs for ever end with this code."""
    annotations = {EXIT_CODE: str(code), RUN_SECONDS: "0"}
    cluster.patch(f"pod/{pod['metadata']['name']}", {"metadata": {"annotations": annotations}})


def jobs_of(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    found = cluster.list("jobs")
    return [one for one in found if one["metadata"].get("ownerReferences", [{}])[0].get("name") == name]


def reasons(tree: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one.get("reason", "") for one in tree["status"]["conditions"]}


def test_an_indexed_job_names_its_pods_by_index(cluster: Cluster) -> None:
    cluster.apply(job("indexed", completions=4, parallelism=2, completionMode="Indexed"))
    assert cluster.wait("job/indexed", "Complete")["status"]["completedIndexes"] == "0-3"
    found = {one["metadata"]["annotations"][INDEX]: one for one in pods(cluster, "indexed", "Succeeded")}
    assert sorted(found) == ["0", "1", "2", "3"]
    for index, one in found.items():
        assert one["spec"]["hostname"] == f"indexed-{index}"
        assert one["metadata"]["labels"][INDEX] == index
        variables = {each["name"]: each for each in one["spec"]["containers"][0]["env"]}
        field = variables["JOB_COMPLETION_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
        assert field == f"metadata.labels['{INDEX}']"


def test_a_job_ends_though_some_of_its_pods_fail(cluster: Cluster) -> None:
    cluster.apply(job("sometimes", FOREVER, completions=2, parallelism=2, backoffLimit=6))
    cluster.advance(2)
    for one in pods(cluster, "sometimes"):
        end(cluster, one, 1)
    cluster.advance(60)
    for one in pods(cluster, "sometimes", "Running"):
        end(cluster, one, 0)
    ended = cluster.wait("job/sometimes", "Complete")["status"]
    assert (ended["succeeded"], ended["failed"]) == (2, 2)


def test_each_index_has_its_own_limit_of_failures(cluster: Cluster) -> None:
    cluster.apply(
        job("per-index", FOREVER, completions=4, parallelism=4, completionMode="Indexed", backoffLimitPerIndex=1)
    )
    for _ in range(2):
        cluster.advance(30)
        for one in pods(cluster, "per-index", "Running"):
            end(cluster, one, int(one["metadata"]["annotations"][INDEX]) % 2)
    ended = cluster.wait("job/per-index", "Failed")
    assert reasons(ended)["Failed"] == "FailedIndexes"
    told = ended["status"]
    assert (told["completedIndexes"], told["failedIndexes"]) == ("0,2", "1,3")
    assert (told["succeeded"], told["failed"]) == (2, 4)


def test_too_many_failed_indexes_end_a_job(cluster: Cluster) -> None:
    limits = {"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}
    cluster.apply(job("all-or-none", FOREVER, completions=4, parallelism=4, completionMode="Indexed", **limits))
    cluster.advance(2)
    end(cluster, pods(cluster, "all-or-none", "Running")[0], 1)
    ended = cluster.wait("job/all-or-none", "Failed")
    assert reasons(ended)["Failed"] == "MaxFailedIndexesExceeded"
    assert not ended["status"].get("active")


def test_an_exit_code_may_fail_an_index_or_the_job(cluster: Cluster) -> None:
    def policy(action: str) -> dict[str, Any]:
        on = {"operator": "In", "values": [42], "containerName": "c"}
        return {"podFailurePolicy": {"rules": [{"action": action, "onExitCodes": on}]}}

    cluster.apply(job("fails-early", FOREVER, completions=4, parallelism=2, backoffLimit=6, **policy("FailJob")))
    indexed = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 3}
    cluster.apply(job("fails-index", FOREVER, **indexed, **policy("FailIndex")))
    cluster.advance(2)
    end(cluster, pods(cluster, "fails-early", "Running")[0], 42)
    for one in pods(cluster, "fails-index", "Running"):
        end(cluster, one, 42 if one["metadata"]["annotations"][INDEX] == "0" else 0)
    early = cluster.wait("job/fails-early", "Failed")
    assert reasons(early) == {"FailureTarget": "PodFailurePolicy", "Failed": "PodFailurePolicy"}
    told = cluster.wait("job/fails-index", "Failed")["status"]
    assert (told["failedIndexes"], told["completedIndexes"], told["failed"]) == ("0", "1", 1)


def test_an_eviction_does_not_count_where_it_is_to_be_ignored(cluster: Cluster) -> None:
    on = [{"type": "DisruptionTarget", "status": "True"}]
    policy = {
        "rules": [
            {"action": "Ignore", "onPodConditions": on},
            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
        ]
    }
    cluster.apply(
        job(
            "evicted",
            FOREVER,
            completions=2,
            parallelism=2,
            completionMode="Indexed",
            backoffLimit=0,
            podFailurePolicy=policy,
        )
    )
    cluster.advance(2)
    first = pods(cluster, "evicted", "Running")
    for one in first:
        name = one["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
        cluster.request("POST", f"/api/v1/namespaces/default/pods/{name}/eviction", body=body)
    cluster.advance(60)
    again = pods(cluster, "evicted", "Running")
    assert len(again) == 2
    assert {one["metadata"]["uid"] for one in again}.isdisjoint({one["metadata"]["uid"] for one in first})
    for one in again:
        end(cluster, one, 0)
    assert not cluster.wait("job/evicted", "Complete")["status"].get("failed")


@pytest.mark.parametrize(
    ("name", "rule", "done"),
    [("all", {}, "0-1"), ("count", {"succeededCount": 1}, "0"), ("indexes", {"succeededIndexes": "0"}, "0")],
)
def test_success_is_what_the_policy_says(cluster: Cluster, name: str, rule: dict[str, Any], done: str) -> None:
    policy = {"rules": [rule or {"succeededIndexes": "0-1"}]}
    spec = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "successPolicy": policy}
    cluster.apply(job(f"success-{name}", FOREVER, **spec))
    cluster.advance(2)
    for one in pods(cluster, f"success-{name}", "Running"):
        if one["metadata"]["annotations"][INDEX] in done:
            end(cluster, one, 0)
    ended = cluster.wait(f"job/success-{name}", "Complete")
    assert reasons(ended) == {"SuccessCriteriaMet": "SuccessPolicy", "Complete": "SuccessPolicy"}
    assert ended["status"]["completedIndexes"] == done.replace("0-1", "0,1")


def test_orphans_are_adopted_and_strangers_released(cluster: Cluster) -> None:
    cluster.apply(job("adopting", FOREVER, parallelism=2, completions=2))
    cluster.advance(2)
    one, other = pods(cluster, "adopting", "Running")
    cluster.patch(f"pod/{one['metadata']['name']}", {"metadata": {"ownerReferences": None}})
    adopted = cluster.wait(f"pod/{one['metadata']['name']}", lambda tree: bool(tree["metadata"].get("ownerReferences")))
    assert adopted["metadata"]["ownerReferences"][0]["name"] == "adopting"
    labels = dict.fromkeys(other["metadata"]["labels"])
    cluster.patch(f"pod/{other['metadata']['name']}", {"metadata": {"labels": labels}})
    cluster.wait(f"pod/{other['metadata']['name']}", lambda tree: "ownerReferences" not in tree["metadata"])


def test_a_job_is_suspended_patched_listed_and_deleted(cluster: Cluster) -> None:
    cluster.apply(job("managed", FOREVER, parallelism=2, completions=4, suspend=True))
    cluster.wait("job/managed", "Suspended")
    assert pods(cluster, "managed") == []
    cluster.patch("job/managed", {"metadata": {"labels": {"e2e": "patched"}}, "spec": {"suspend": False}})
    cluster.wait("job/managed", "status.active=2")
    marked = cluster.patch("job/managed", {"metadata": {"annotations": {"patched": "yes"}}}, subresource="status")
    assert marked["metadata"]["annotations"]["patched"] == "yes"
    assert [one["metadata"]["name"] for one in cluster.list("jobs", namespace="", label_selector="e2e=patched")] == [
        "managed"
    ]
    cluster.request(
        "DELETE",
        "/apis/batch/v1/namespaces/default/jobs",
        query="labelSelector=e2e%3Dpatched&propagationPolicy=Background",
    )
    cluster.wait("job/managed", "deleted")
    cluster.advance(60)
    assert pods(cluster, "managed") == []


@pytest.mark.parametrize(("policy", "running"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
def test_what_becomes_of_a_job_that_still_runs_when_the_next_is_due(
    cluster: Cluster, policy: str, running: int
) -> None:
    name = policy.lower()
    cluster.apply(cron_job(name, FOREVER, concurrencyPolicy=policy))
    cluster.advance(minutes=1)
    [first] = jobs_of(cluster, name)
    cluster.advance(minutes=1)
    found = jobs_of(cluster, name)
    assert len(found) == len(cluster.get(f"cronjob/{name}")["status"]["active"]) == running
    same = first["metadata"]["uid"] in {one["metadata"]["uid"] for one in found}
    assert same == (policy != "Replace")
    cluster.delete(f"cronjob/{name}")


def test_a_suspended_cron_job_starts_nothing(cluster: Cluster) -> None:
    cluster.apply(cron_job("suspended", {}, suspend=True))
    cluster.advance(minutes=5)
    assert jobs_of(cluster, "suspended") == []
    assert "lastScheduleTime" not in cluster.get("cronjob/suspended")["status"]


def test_a_budget_counts_and_holds_evictions_back_until_it_allows_them(cluster: Cluster) -> None:
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "held"}}
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "held"}}}
    cluster.apply(budget | {"spec": spec})
    template = job("held")["spec"]["template"] | {"spec": {"containers": [{"name": "c", "image": "one"}]}}
    selector = {"matchLabels": {"app": "held"}}
    workload = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "held"}}
    cluster.apply(workload | {"spec": {"replicas": 2, "selector": selector, "template": template}})
    cluster.wait("deployment/held", "status.readyReplicas=2")
    told = cluster.wait("pdb/held", "status.currentHealthy=2")["status"]
    assert (told["desiredHealthy"], told["expectedPods"], told["disruptionsAllowed"]) == (2, 2, 0)
    name = pods(cluster, "held")[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    path = f"/api/v1/namespaces/default/pods/{name}/eviction"
    with pytest.raises(errors.TooManyRequests):
        cluster.request("POST", path, body=eviction)
    cluster.patch("pdb/held", {"spec": {"minAvailable": 1}})
    cluster.wait("pdb/held", "status.disruptionsAllowed=1")
    cluster.request("POST", path, body=eviction)
    cluster.wait(f"pod/{name}", "deleted")
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "E2E",
        "message": "",
        "lastTransitionTime": "2026-05-01T00:00:00Z",
    }
    written = cluster.patch("pdb/held", {"status": {"conditions": [condition]}}, subresource="status")
    assert written["status"]["conditions"] == [condition]
