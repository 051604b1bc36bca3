"""Controllers at work on a small world: the state it comes to, whatever the order of steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keelback.api.apps_v1 import DaemonSet, DaemonSetSpec, ReplicaSet, ReplicaSetSpec, StatefulSet, StatefulSetSpec
from keelback.api.batch_v1 import Job, JobSpec
from keelback.api.core_v1 import (
    ConfigMap,
    Container,
    Namespace,
    NamespaceSpec,
    Node,
    NodeSpec,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Service,
    ServicePort,
    ServiceSpec,
    Taint,
    Toleration,
)
from keelback.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from keelback.apimachinery.meta import LabelSelector, ObjectMeta, OwnerReference
from keelback.client import MergePatch
from keelback.component.http import Response
from keelback.controllers.config import Config
from keelback.controllers.daemonsets import DaemonSetReconciler
from keelback.controllers.disruptions import DisruptionReconciler
from keelback.controllers.endpoints import EndpointsReconciler
from keelback.controllers.endpointslices import EndpointSliceReconciler
from keelback.controllers.garbage_collector import GarbageCollector
from keelback.controllers.job_accounting import FINALIZER
from keelback.controllers.jobs import JobReconciler
from keelback.controllers.namespaces import NamespaceReconciler
from keelback.controllers.node_lifecycle import NodeLifecycleReconciler
from keelback.controllers.replicasets import ReplicaSetReconciler
from keelback.controllers.revisions import HASH_LABEL
from keelback.controllers.serviceaccounts import ServiceAccountReconciler
from keelback.controllers.statefulsets import StatefulSetReconciler
from keelback.controllers.taint_eviction import TaintEvictionReconciler

LABELS = {"app": "web"}
TEMPLATE = PodTemplateSpec(
    metadata=ObjectMeta(labels=LABELS), spec=PodSpec(containers=(Container(name="c", image="one"),))
)
SELECTOR = LabelSelector(match_labels=LABELS)

Scenario = Callable[[Any], Awaitable[None]]


async def a_replica_set_replaces_a_pod_and_releases_one_that_no_longer_matches(cluster: Any) -> None:
    async with cluster.running(ReplicaSetReconciler):
        await cluster.client.create(replica_set(2))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 2)
        path = next(path for path in cluster.server.objects if "/pods/" in path)
        old = cluster.server.objects[path]
        await cluster.server._put(path, old, merge(old, {"metadata": {"labels": {"app": "other"}}}), "")
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 3)
        await cluster.until(lambda: not cluster.server.objects[path]["metadata"].get("ownerReferences"))
        await cluster.until(lambda: next(cluster.all("replicasets")).get("status", {}).get("replicas") == 2)


async def nothing_is_made_twice_while_the_cache_is_behind(cluster: Any) -> None:
    async with cluster.running(ReplicaSetReconciler):
        cluster.server.held_back.add("pods")
        await cluster.client.create(replica_set(3))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 3)
        for number in range(5):
            patch = MergePatch({"metadata": {"annotations": {"poke": str(number)}}})
            await cluster.client.patch(ReplicaSet, "web", "default", patch)
            for _ in range(50):
                await asyncio.sleep(0)
        assert len(list(cluster.all("pods"))) == 3
        cluster.server.held_back.clear()
        await cluster.client.patch(ReplicaSet, "web", "default", MergePatch({"spec": {"replicas": 4}}))
        await cluster.until(lambda: next(cluster.all("replicasets")).get("status", {}).get("replicas") == 4)
        assert len(list(cluster.all("pods"))) == 4


async def a_stateful_set_starts_in_order_with_its_claims(cluster: Any) -> None:
    async with cluster.running(StatefulSetReconciler):
        claim = PersistentVolumeClaim(metadata=ObjectMeta(name="data"))
        spec = StatefulSetSpec(
            replicas=2, selector=SELECTOR, template=TEMPLATE, service_name="db", volume_claim_templates=(claim,)
        )
        await cluster.client.create(StatefulSet(metadata=ObjectMeta(name="db", namespace="default"), spec=spec))
        await cluster.until(lambda: names(cluster, "pods") == ["db-0"])
        await cluster.make_pods_ready()
        await cluster.until(lambda: names(cluster, "pods") == ["db-0", "db-1"])
        await cluster.make_pods_ready()
        await cluster.until(lambda: next(cluster.all("statefulsets"))["status"].get("availableReplicas") == 2)
        assert names(cluster, "persistentvolumeclaims") == ["data-db-0", "data-db-1"]
        pod = next(cluster.all("pods"))
        assert pod["spec"]["hostname"] == "db-0"
        assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "data-db-0"
        status = next(cluster.all("statefulsets"))["status"]
        assert status["currentRevision"] == status["updateRevision"] == pod["metadata"]["labels"][HASH_LABEL]
        assert (status["collisionCount"], pod["metadata"]["generateName"]) == (0, "db-")
    assert ("Normal", "SuccessfulCreate", "create Pod db-0 in StatefulSet db successful") in cluster.events.said


async def a_budget_counts_what_may_be_evicted(cluster: Any) -> None:
    async with cluster.running(ReplicaSetReconciler, DisruptionReconciler):
        spec = PodDisruptionBudgetSpec(selector=SELECTOR, max_unavailable=1)
        budget = PodDisruptionBudget(metadata=ObjectMeta(name="web", namespace="default"), spec=spec)
        await cluster.client.create(budget)
        await cluster.client.create(replica_set(3))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 3)
        await cluster.until(lambda: budget_status(cluster).get("expectedPods") == 3)
        assert budget_status(cluster).get("disruptionsAllowed", 0) == 0
        await cluster.make_pods_ready()
        await cluster.until(lambda: budget_status(cluster).get("disruptionsAllowed") == 1)
        assert budget_status(cluster)["desiredHealthy"] == 2


async def a_pod_that_was_to_go_stays_when_the_taint_goes(cluster: Any) -> None:
    taint = Taint(key="k", effect="NoExecute")
    later = Toleration(key="k", operator="Exists", toleration_seconds=3600)
    async with cluster.running(TaintEvictionReconciler):
        await cluster.client.create(Node(metadata=ObjectMeta(name="a"), spec=NodeSpec(taints=(taint,))))
        spec = PodSpec(node_name="a", tolerations=(later,))
        await cluster.client.create(Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=spec))
        for _ in range(500):
            await asyncio.sleep(0)
        await cluster.client.patch(Node, "a", "", MergePatch({"spec": {"taints": None}}))
        for _ in range(500):
            await asyncio.sleep(0)
    assert cluster.events.said == [("Normal", "TaintManagerEviction", "Cancelling deletion of Pod default/p")]


async def a_node_that_is_ready_loses_its_taint_and_one_that_is_not_gets_one(cluster: Any) -> None:
    not_ready = Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")
    async with cluster.running(with_config(NodeLifecycleReconciler), TaintEvictionReconciler):
        for name in ("a", "b"):
            await cluster.client.create(Node(metadata=ObjectMeta(name=name), spec=NodeSpec(taints=(not_ready,))))
            await cluster.set_status(f"/api/v1/nodes/{name}", readiness("True"))
        await cluster.until(lambda: not any(taints(cluster, name) for name in ("a", "b")))
        await cluster.client.create(
            Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=PodSpec(node_name="b"))
        )
        await cluster.make_pods_ready()
        await cluster.set_status("/api/v1/nodes/b", readiness("False"))
        await cluster.until(lambda: taints(cluster, "b") == {"NoSchedule", "NoExecute"})
        await cluster.until(lambda: not list(cluster.all("pods")))
        await cluster.set_status("/api/v1/nodes/b", readiness("True"))
        await cluster.until(lambda: not taints(cluster, "b"))
    assert ("Normal", "TaintManagerEviction", "Marking for deletion Pod default/p") in cluster.events.said


async def a_namespace_is_emptied_pods_first_and_then_let_go(cluster: Any) -> None:
    discovery = {"/api": [("", "v1", "configmaps", "ConfigMap"), ("", "v1", "pods", "Pod")], "/apis": []}
    serve_discovery(cluster, discovery)
    spec = NamespaceSpec(finalizers=("kubernetes",))
    await cluster.client.create(Namespace(metadata=ObjectMeta(name="blue", finalizers=("guard",)), spec=spec))
    metadata = ObjectMeta(name="p", namespace="blue", finalizers=("example.com/hold",))
    await cluster.client.create(Pod(metadata=metadata))
    await cluster.client.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="blue")))
    async with cluster.running(NamespaceReconciler):
        await cluster.client.delete(Namespace, "blue")
        await cluster.until(lambda: namespace_condition(cluster, "NamespaceFinalizersRemaining") == "True")
        condition = namespace_conditions(cluster)["NamespaceFinalizersRemaining"]
        assert condition["message"].endswith("example.com/hold in 1 resource instances")
        assert list(cluster.all("configmaps"))
        path = "/api/v1/namespaces/blue/pods/p"
        old = cluster.server.objects[path]
        await cluster.server._put(path, old, {**old, "metadata": {**old["metadata"], "finalizers": []}}, "")
        await cluster.until(lambda: not next(cluster.all("namespaces"))["spec"].get("finalizers"))
        assert not list(cluster.all("configmaps"))


async def a_quota_shows_as_replica_failure(cluster: Any) -> None:
    refusal = {"kind": "Status", "reason": "Forbidden", "code": 403, "message": "exceeded quota: small"}
    cluster.server.refuse = lambda method, obj: refusal if "containers" in obj.get("spec", {}) else None
    async with cluster.running(ReplicaSetReconciler):
        await cluster.client.create(replica_set(2))
        await cluster.until(lambda: next(cluster.all("replicasets")).get("status", {}).get("conditions"))
    condition = next(cluster.all("replicasets"))["status"]["conditions"][0]
    assert (condition["type"], condition["reason"], condition["status"]) == ("ReplicaFailure", "FailedCreate", "True")
    assert ("Warning", "FailedCreate", "Error creating: exceeded quota: small") in cluster.events.said


async def a_job_completes_and_each_end_is_counted_once(cluster: Any) -> None:
    async with cluster.running(JobReconciler):
        spec = JobSpec(completions=3, parallelism=2, selector=SELECTOR, template=TEMPLATE)
        await cluster.client.create(Job(metadata=ObjectMeta(name="sum", namespace="default"), spec=spec))
        for _ in range(10):
            await cluster.until(lambda: finished(cluster) or unended(cluster))
            if finished(cluster):
                break
            for path in unended(cluster):
                await cluster.set_status(path, {"phase": "Succeeded"})
        status = next(cluster.all("jobs"))["status"]
        assert status["succeeded"] == 3
        assert {one["type"] for one in status["conditions"]} == {"SuccessCriteriaMet", "Complete"}
        assert not [pod for pod in cluster.all("pods") if pod["metadata"].get("finalizers")]
    assert ("Normal", "Completed", "Job completed") in cluster.events.said


async def pods_orphaned_by_their_job_are_not_held_back(cluster: Any) -> None:
    async with cluster.running(JobReconciler):
        spec = JobSpec(completions=1, parallelism=1, selector=SELECTOR, template=TEMPLATE)
        await cluster.client.create(Job(metadata=ObjectMeta(name="sum", namespace="default"), spec=spec))
        await cluster.until(lambda: unended(cluster))
        path = unended(cluster)[0]
        assert cluster.server.objects[path]["metadata"]["finalizers"] == [FINALIZER]
        await cluster.client.delete(Job, "sum", "default")
        old = cluster.server.objects[path]
        metadata = {**old["metadata"], "ownerReferences": []}
        await cluster.server._put(path, old, {**old, "metadata": metadata}, "")
        await cluster.until(lambda: not cluster.server.objects[path]["metadata"].get("finalizers"))


async def pods_of_a_job_that_had_the_name_before_are_let_go(cluster: Any) -> None:
    owner = OwnerReference(api_version="batch/v1", kind="Job", name="sum", uid="another", controller=True)
    metadata = ObjectMeta(name="old", namespace="default", finalizers=(FINALIZER,), owner_references=(owner,))
    await cluster.client.create(Pod(metadata=metadata))
    spec = JobSpec(completions=1, template=TEMPLATE, selector=SELECTOR)
    await cluster.client.create(Job(metadata=ObjectMeta(name="sum", namespace="default"), spec=spec))
    async with cluster.running(JobReconciler):
        path = "/api/v1/namespaces/default/pods/old"
        await cluster.until(lambda: not cluster.server.objects[path]["metadata"].get("finalizers"))


async def a_failing_job_stops_at_its_backoff_limit(cluster: Any) -> None:
    async with cluster.running(JobReconciler):
        spec = JobSpec(completions=1, parallelism=1, backoff_limit=0, selector=SELECTOR, template=TEMPLATE)
        await cluster.client.create(Job(metadata=ObjectMeta(name="sum", namespace="default"), spec=spec))
        await cluster.until(lambda: unended(cluster))
        await cluster.set_status(unended(cluster)[0], {"phase": "Failed"})
        await cluster.until(lambda: finished(cluster))
    conditions = {one["type"]: one["reason"] for one in next(cluster.all("jobs"))["status"]["conditions"]}
    assert conditions == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert next(cluster.all("jobs"))["status"]["failed"] == 1


async def a_daemon_set_runs_on_each_node_and_rolls(cluster: Any) -> None:
    for name in ("a", "b"):
        await cluster.client.create(Node(metadata=ObjectMeta(name=name)))
    async with cluster.running(DaemonSetReconciler):
        spec = DaemonSetSpec(selector=SELECTOR, template=TEMPLATE)
        await cluster.client.create(DaemonSet(metadata=ObjectMeta(name="log", namespace="default"), spec=spec))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 2)
        await cluster.make_pods_ready()
        await cluster.until(lambda: next(cluster.all("daemonsets")).get("status", {}).get("numberAvailable") == 2)
        await cluster.client.create(Node(metadata=ObjectMeta(name="c")))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 3)
        await cluster.make_pods_ready()
        patch = MergePatch({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}})
        await cluster.client.patch(DaemonSet, "log", "default", patch)
        for _ in range(12):
            await cluster.until(lambda: images(cluster) == ["two"] * 3 or pending(cluster))
            if images(cluster) == ["two"] * 3:
                break
            await cluster.make_pods_ready()
        assert images(cluster) == ["two"] * 3
        assert len(list(cluster.all("controllerrevisions"))) == 2


async def a_daemon_that_fails_is_replaced_later_each_time(cluster: Any) -> None:
    await cluster.client.create(Node(metadata=ObjectMeta(name="a")))
    async with cluster.running(DaemonSetReconciler):
        spec = DaemonSetSpec(selector=SELECTOR, template=TEMPLATE)
        await cluster.client.create(DaemonSet(metadata=ObjectMeta(name="log", namespace="default"), spec=spec))
        await cluster.until(lambda: unended(cluster))
        first = unended(cluster)[0]
        await cluster.set_status(first, {"phase": "Failed"})
        await cluster.until(lambda: unended(cluster) and unended(cluster)[0] != first)
        second = unended(cluster)[0]
        await cluster.set_status(second, {"phase": "Failed"})
        for _ in range(200):
            await asyncio.sleep(0)
        assert second in cluster.server.objects


async def a_daemon_that_has_ended_well_is_replaced_too(cluster: Any) -> None:
    await cluster.client.create(Node(metadata=ObjectMeta(name="a")))
    async with cluster.running(DaemonSetReconciler):
        spec = DaemonSetSpec(selector=SELECTOR, template=TEMPLATE)
        await cluster.client.create(DaemonSet(metadata=ObjectMeta(name="log", namespace="default"), spec=spec))
        await cluster.until(lambda: unended(cluster))
        first = unended(cluster)[0]
        await cluster.set_status(first, {"phase": "Succeeded"})
        await cluster.until(lambda: unended(cluster) and unended(cluster)[0] != first)
    [said] = [message for _, reason, message in cluster.events.said if reason == "SucceededDaemonPod"]
    assert said.startswith(f"Found succeeded daemon pod default/{first.rpartition('/')[2]} on node ")


async def endpoints_follow_ready_pods(cluster: Any) -> None:
    await cluster.client.create(Node(metadata=ObjectMeta(name="a", labels={"topology.kubernetes.io/zone": "z1"})))
    async with cluster.running(ReplicaSetReconciler, EndpointSliceReconciler, EndpointsReconciler):
        port = ServicePort(name="http", port=80, target_port=8080)
        spec = ServiceSpec(selector=LABELS, ports=(port,), cluster_ip="10.0.0.1", ip_families=("IPv4",))
        await cluster.client.create(Service(metadata=ObjectMeta(name="web", namespace="default"), spec=spec))
        await cluster.until(lambda: [one.get("endpoints", []) for one in cluster.all("endpointslices")] == [[]])
        await cluster.client.create(replica_set(2))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 2)
        for number, path in enumerate([path for path in cluster.server.objects if "/pods/" in path]):
            old = cluster.server.objects[path]
            await cluster.server._put(path, old, merge(old, {"spec": {"nodeName": "a"}}), "")
            await cluster.set_status(path, {"podIP": f"10.1.0.{number + 1}", "phase": "Pending"})
        await cluster.make_pods_ready()
        await cluster.until(lambda: ready_addresses(cluster) == ["10.1.0.1", "10.1.0.2"])
        await cluster.until(lambda: next(cluster.all("endpoints"), {}).get("subsets"))
        subset = next(cluster.all("endpoints"))["subsets"][0]
        assert subset["ports"][0]["port"] == 8080
        endpoint = next(cluster.all("endpointslices"))["endpoints"][0]
        assert (endpoint["zone"], endpoint["nodeName"]) == ("z1", "a")
        assert len(list(cluster.all("endpointslices"))) == 1
        for kind in ("endpoints", "endpointslices"):
            assert (
                "endpoints.kubernetes.io/last-change-trigger-time" in next(cluster.all(kind))["metadata"]["annotations"]
            )


async def the_garbage_collector_deletes_pods_after_their_replica_set(cluster: Any) -> None:
    discovery = {
        "/api": [("", "v1", "pods", "Pod")],
        "/apis": [("apps", "v1", "replicasets", "ReplicaSet")],
    }
    serve_discovery(cluster, discovery)
    async with cluster.running(ReplicaSetReconciler):
        await cluster.client.create(replica_set(2))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 2)
        collecting = asyncio.get_running_loop().create_task(GarbageCollector(cluster.context).run())
        await cluster.client.delete(ReplicaSet, "web", "default")
        await cluster.until(lambda: not list(cluster.all("pods")))
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)


async def every_namespace_gets_its_default_account(cluster: Any) -> None:
    async with cluster.running(ServiceAccountReconciler):
        await cluster.client.create(Namespace(metadata=ObjectMeta(name="blue")))
        await cluster.until(lambda: "/api/v1/namespaces/blue/serviceaccounts/default" in cluster.server.objects)


@pytest.mark.parametrize(
    "scenario",
    [
        a_replica_set_replaces_a_pod_and_releases_one_that_no_longer_matches,
        nothing_is_made_twice_while_the_cache_is_behind,
        a_stateful_set_starts_in_order_with_its_claims,
        a_budget_counts_what_may_be_evicted,
        a_node_that_is_ready_loses_its_taint_and_one_that_is_not_gets_one,
        a_pod_that_was_to_go_stays_when_the_taint_goes,
        a_namespace_is_emptied_pods_first_and_then_let_go,
        a_quota_shows_as_replica_failure,
        a_job_completes_and_each_end_is_counted_once,
        pods_orphaned_by_their_job_are_not_held_back,
        pods_of_a_job_that_had_the_name_before_are_let_go,
        a_failing_job_stops_at_its_backoff_limit,
        a_daemon_set_runs_on_each_node_and_rolls,
        a_daemon_that_fails_is_replaced_later_each_time,
        a_daemon_that_has_ended_well_is_replaced_too,
        endpoints_follow_ready_pods,
        the_garbage_collector_deletes_pods_after_their_replica_set,
        every_namespace_gets_its_default_account,
    ],
)
def test_it_comes_to_the_state_that_was_asked_for(scenario: Scenario, world: Any) -> None:
    async def play() -> None:
        await scenario(world())

    asyncio.run(play())


def replica_set(replicas: int) -> ReplicaSet:
    spec = ReplicaSetSpec(replicas=replicas, selector=SELECTOR, template=TEMPLATE)
    return ReplicaSet(metadata=ObjectMeta(name="web", namespace="default"), spec=spec)


def names(cluster: Any, plural: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in cluster.all(plural))


def budget_status(cluster: Any) -> Any:
    return next(cluster.all("poddisruptionbudgets")).get("status", {})


def readiness(status: str) -> Any:
    return {"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}


def taints(cluster: Any, name: str) -> set[str]:
    return {taint["effect"] for taint in cluster.server.objects[f"/api/v1/nodes/{name}"]["spec"].get("taints", [])}


def with_config(cls: Any) -> Any:
    return lambda context: cls(context, Config())


def namespace_conditions(cluster: Any) -> Any:
    status = next(cluster.all("namespaces")).get("status", {})
    return {one["type"]: one for one in status.get("conditions", [])}


def namespace_condition(cluster: Any, type: str) -> str:
    return namespace_conditions(cluster).get(type, {}).get("status", "")


def unended(cluster: Any) -> list[str]:
    objects = cluster.server.objects
    ended = ("Succeeded", "Failed")
    return [path for path in objects if "/pods/" in path and objects[path].get("status", {}).get("phase") not in ended]


def finished(cluster: Any) -> bool:
    job = next(cluster.all("jobs"), {})
    return any(one["type"] in ("Complete", "Failed") for one in job.get("status", {}).get("conditions", []))


def images(cluster: Any) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in cluster.all("pods")]


def pending(cluster: Any) -> bool:
    return any(pod.get("status", {}).get("phase") != "Running" for pod in cluster.all("pods"))


def ready_addresses(cluster: Any) -> list[str]:
    return sorted(
        endpoint["addresses"][0]
        for one in cluster.all("endpointslices")
        for endpoint in one.get("endpoints", [])
        if endpoint["conditions"].get("ready")
    )


def merge(old: Any, patch: Any) -> Any:
    result = dict(old)
    for key, value in patch.items():
        result[key] = merge(old.get(key, {}), value) if isinstance(value, dict) else value
    return result


def serve_discovery(cluster: Any, discovery: dict[str, list[tuple[str, str, str, str]]]) -> None:
    handle = cluster.server.handle

    async def handler(request: Any) -> Any:
        if request.path not in discovery:
            return await handle(request)
        items = [
            {
                "metadata": {"name": group},
                "versions": [
                    {
                        "version": version,
                        "resources": [
                            {
                                "resource": plural,
                                "scope": "Namespaced",
                                "responseKind": {"group": group, "version": version, "kind": kind},
                                "verbs": ["delete", "list", "watch", "get"],
                            }
                        ],
                    }
                ],
            }
            for group, version, plural, kind in discovery[request.path]
        ]
        return Response(200, {}, json.dumps({"items": items}).encode())

    cluster.client.transport._handler = handler
