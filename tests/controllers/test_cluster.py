"""All controllers on the real API server, in one process, each as its own service account: what people do with it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from keelback.api.apps_v1 import (
    DaemonSet,
    DaemonSetSpec,
    Deployment,
    DeploymentSpec,
    ReplicaSet,
    StatefulSet,
    StatefulSetSpec,
)
from keelback.api.batch_v1 import Job, JobSpec
from keelback.api.core_v1 import (
    Binding,
    ConfigMap,
    Container,
    ContainerPort,
    Endpoints,
    Namespace,
    Node,
    ObjectReference,
    Pod,
    PodSpec,
    PodTemplateSpec,
    ResourceQuota,
    ResourceQuotaSpec,
    Service,
    ServiceAccount,
    ServicePort,
    ServiceSpec,
)
from keelback.api.discovery_v1 import EndpointSlice
from keelback.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import LabelSelector, Object, ObjectMeta, Status
from keelback.apiserver import assembly
from keelback.auth.users import MASTERS_GROUP, UserInfo
from keelback.bootstrap import pki
from keelback.client import Client, MergePatch, StrategicMergePatch
from keelback.component.metrics import Registry
from keelback.concurrency.clock import SystemClock
from keelback.controllers import manager
from keelback.controllers.config import Config
from keelback.reconcile.caches import SharedCaches
from keelback.storage import memory

T = TypeVar("T", bound=Object)

LABELS = {"app": "web"}
WORKER = PodSpec(restart_policy="Never", containers=(Container(name="c", image="one"),))
SERVER = PodSpec(
    containers=(Container(name="c", image="one", ports=(ContainerPort(name="http", container_port=8080),)),)
)
WATCHED = (
    ConfigMap,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Endpoints,
    Job,
    Namespace,
    Node,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ResourceQuota,
    ServiceAccount,
    StatefulSet,
)


class Cluster:
    """What a test sees of the cluster, and the kubelets it plays."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.caches = SharedCaches(client, SystemClock(), random.Random(2))
        self._changed = asyncio.Event()
        self._pods_changed = asyncio.Event()
        self._count = 0
        for cls in WATCHED:
            self.caches.subscribe(cls, self._wake)

    def _wake(self, change: Any) -> None:
        self._changed.set()
        self._pods_changed.set()

    async def until(self, holds: Callable[[], Any]) -> None:
        """Return when `holds` does; looked at whenever anything changes."""
        async with asyncio.timeout(20):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def get(self, cls: type[T], name: str, namespace: str = "default") -> T | None:
        return self.caches.store(cls).get(namespace if cls.__kind__.namespaced else "", name)

    def pods(self, **labels: str) -> list[Pod]:
        pods = self.caches.store(Pod).list()
        return [pod for pod in pods if labels.items() <= dict(pod.metadata.labels).items()]

    async def play_kubelets(self) -> None:
        """Bind pods that have no node, run those that have one, and finish the deletion of those that are to go."""
        while True:
            self._pods_changed.clear()
            for pod in self.caches.store(Pod).list():
                try:
                    await self._advance(pod)
                except (errors.NotFound, errors.Conflict):
                    continue
            await self._pods_changed.wait()

    async def _advance(self, pod: Pod) -> None:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        self._count += 1
        if pod.metadata.deletion_timestamp is not None:
            await self.client.delete(Pod, name, namespace, grace_period_seconds=0)
        elif not pod.spec.node_name:
            target = ObjectReference(kind="Node", name=f"n{self._count % 2}")
            binding = Binding(metadata=ObjectMeta(name=name, namespace=namespace), target=target)
            await self.client.create_subresource(Pod, name, namespace, "binding", binding, Status)
        elif pod.status.phase in ("", "Pending"):
            ends = pod.spec.restart_policy == "Never"
            ready = {"type": "Ready", "status": "False" if ends else "True"}
            ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
            status = {"phase": "Succeeded" if ends else "Running", "conditions": [ready]}
            status["podIP"] = f"10.244.1.{self._count % 250}"
            status["podIPs"] = [{"ip": status["podIP"]}]
            await self.client.patch(Pod, name, namespace, MergePatch({"status": status}), "status")


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Cluster]:
    clock, chance = SystemClock(), random.Random(5)
    keys = pki.ensure_cluster_pki(folder, clock.now())
    config = assembly.APIServerConfig(
        client_ca_pem=keys.ca.certificate_pem,
        service_account_key_pem=keys.service_account.key_pem,
        kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
        kubelet_client_key=keys.apiserver_kubelet_client.key_path,
        kubelet_ca_pem=keys.ca.certificate_pem,
        endpoint=("10.0.0.1", 6443),
    )
    server = await assembly.start(memory.open_store(clock), config, clock, chance, Registry())

    def client_for(name: str) -> Client:
        if name == manager.COMPONENT:
            return server.client(UserInfo("system:kube-controller-manager", groups=("system:authenticated",)), name)
        groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
        return server.client(UserInfo(f"system:serviceaccount:kube-system:{name}", groups=groups), name)

    cluster = Cluster(server.client(UserInfo("admin", groups=(MASTERS_GROUP, "system:authenticated")), "kubectl"))
    flags = Config(root_ca="PEM", allocate_node_cidrs=True, cluster_cidrs=("10.244.0.0/16",))
    works = (manager.run(client_for, flags, clock, chance), cluster.caches.run(), cluster.play_kubelets())
    tasks = [asyncio.get_running_loop().create_task(work) for work in works]
    try:
        await make_nodes(cluster)
        yield cluster
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.close()


async def make_nodes(cluster: Cluster) -> None:
    for name in ("n0", "n1"):
        await cluster.client.create(Node(metadata=ObjectMeta(name=name, labels={"topology.kubernetes.io/zone": "z"})))
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        await cluster.client.patch(Node, name, "", MergePatch({"status": {"conditions": [ready]}}), "status")


def play(folder: Path, scenario: Callable[[Cluster], Any]) -> None:
    async def run() -> None:
        async with running(folder) as cluster:
            await scenario(cluster)

    asyncio.run(run())


def metadata(name: str, namespace: str = "default") -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace)


def template(**labels: str) -> PodTemplateSpec:
    return PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=SERVER)


def deployment(replicas: int, namespace: str = "default") -> Deployment:
    selector = LabelSelector(match_labels=LABELS)
    spec = DeploymentSpec(replicas=replicas, selector=selector, template=template(**LABELS))
    return Deployment(metadata=metadata("web", namespace), spec=spec)


def is_rolled_out(cluster: Cluster, replicas: int, image: str = "one", namespace: str = "default") -> bool:
    found = cluster.get(Deployment, "web", namespace)
    pods = [pod for pod in cluster.pods(**LABELS) if pod.metadata.namespace == namespace]
    return (
        found is not None
        and found.status.observed_generation == found.metadata.generation
        and found.status.available_replicas == found.status.updated_replicas == found.status.replicas == replicas
        and len(pods) == replicas
        and all(pod.spec.containers[0].image == image for pod in pods)
    )


def test_every_namespace_and_node_gets_what_it_needs(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.get(ServiceAccount, "default"))
        await cluster.until(lambda: cluster.get(ConfigMap, "kube-root-ca.crt"))
        nodes = cluster.caches.store(Node)
        await cluster.until(lambda: all(not one.spec.taints and one.spec.pod_cidr for one in nodes.list()))
        assert {one.spec.pod_cidr for one in nodes.list()} == {"10.244.0.0/24", "10.244.1.0/24"}

    play(tmp_path, scenario)


def test_a_deployment_serves_rolls_scales_and_heals(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        client = cluster.client
        port = ServicePort(name="http", port=80, target_port="http")
        await client.create(Service(metadata=metadata("web"), spec=ServiceSpec(selector=LABELS, ports=(port,))))
        await client.create(deployment(3))
        await cluster.until(lambda: is_rolled_out(cluster, 3))
        await cluster.until(lambda: len(ready_endpoints(cluster)) == 3)
        await cluster.until(lambda: older_addresses(cluster) == 3)
        new = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
        await client.patch(Deployment, "web", "default", StrategicMergePatch(new))
        await cluster.until(lambda: is_rolled_out(cluster, 3, "two"))
        await cluster.until(lambda: progress(cluster) == "NewReplicaSetAvailable")
        await client.patch(Deployment, "web", "default", MergePatch({"spec": {"replicas": 5}}))
        await cluster.until(lambda: is_rolled_out(cluster, 5, "two"))
        lost = cluster.pods(**LABELS)[0]
        await client.delete(Pod, lost.metadata.name, "default")
        await cluster.until(lambda: cluster.get(Pod, lost.metadata.name) is None and is_rolled_out(cluster, 5, "two"))

    play(tmp_path, scenario)


def test_each_workload_comes_to_what_it_asks_for(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        client = cluster.client
        work = PodTemplateSpec(spec=WORKER)
        await client.create(Job(metadata=metadata("sum"), spec=JobSpec(completions=3, parallelism=2, template=work)))
        selector = LabelSelector(match_labels={"d": "s"})
        daemons = DaemonSetSpec(selector=selector, template=template(d="s"))
        await client.create(DaemonSet(metadata=metadata("log"), spec=daemons))
        selector = LabelSelector(match_labels={"s": "s"})
        members = StatefulSetSpec(replicas=2, service_name="db", selector=selector, template=template(s="s"))
        await client.create(StatefulSet(metadata=metadata("db"), spec=members))
        await cluster.until(lambda: (job := cluster.get(Job, "sum")) and job.status.completion_time)
        job = cluster.get(Job, "sum")
        assert job is not None
        assert job.status.succeeded == 3
        await cluster.until(lambda: (ds := cluster.get(DaemonSet, "log")) and ds.status.number_available == 2)
        await cluster.until(lambda: (db := cluster.get(StatefulSet, "db")) and db.status.available_replicas == 2)

    play(tmp_path, scenario)


def test_budgets_and_quotas_count(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        client = cluster.client
        budget = PodDisruptionBudgetSpec(min_available=2, selector=LabelSelector(match_labels=LABELS))
        await client.create(PodDisruptionBudget(metadata=metadata("web"), spec=budget))
        await client.create(deployment(3))
        await cluster.until(
            lambda: (found := cluster.get(PodDisruptionBudget, "web")) and found.status.disruptions_allowed == 1
        )
        quota = ResourceQuotaSpec(hard={"pods": "10", "count/deployments.apps": "2"})
        await client.create(ResourceQuota(metadata=metadata("q"), spec=quota))
        await cluster.until(lambda: used(cluster) == {"pods": "3", "count/deployments.apps": "1"})
        await client.patch(Deployment, "web", "default", MergePatch({"spec": {"replicas": 1}}))
        await cluster.until(lambda: used(cluster) == {"pods": "1", "count/deployments.apps": "1"})

    play(tmp_path, scenario)


def test_every_cascade_ends_as_it_was_asked_to(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        client = cluster.client
        for policy, left in (("Foreground", 0), ("Background", 0), ("Orphan", 2)):
            await client.create(deployment(2))
            await cluster.until(lambda: is_rolled_out(cluster, 2))
            await client.delete(Deployment, "web", "default", propagation_policy=policy)
            await cluster.until(lambda: cluster.get(Deployment, "web") is None)
            await cluster.until(lambda left=left: len(cluster.pods(**LABELS)) == left)
        replica_sets = cluster.caches.store(ReplicaSet)
        await cluster.until(lambda: not any(one.metadata.owner_references for one in replica_sets.list()))
        assert len(replica_sets.list()) == 1

    play(tmp_path, scenario)


def test_a_namespace_goes_with_everything_in_it(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        client = cluster.client
        await client.create(Namespace(metadata=ObjectMeta(name="blue")))
        await cluster.until(lambda: cluster.get(ServiceAccount, "default", "blue"))
        await client.create(deployment(2, "blue"))
        await cluster.until(lambda: is_rolled_out(cluster, 2, namespace="blue"))
        await client.delete(Namespace, "blue")
        await cluster.until(lambda: cluster.get(Namespace, "blue") is None)
        await cluster.until(lambda: not cluster.caches.store(Pod).list("blue"))
        assert not cluster.caches.store(Deployment).list("blue")

    play(tmp_path, scenario)


def ready_endpoints(cluster: Cluster) -> list[Any]:
    return [
        endpoint
        for one in cluster.caches.store(EndpointSlice).list("default")
        if one.metadata.labels.get("kubernetes.io/service-name") == "web"
        for endpoint in one.endpoints
        if endpoint.conditions.ready and endpoint.zone == "z" and one.ports[0].port == 8080
    ]


def older_addresses(cluster: Cluster) -> int:
    found = cluster.get(Endpoints, "web")
    return sum(len(subset.addresses) for subset in found.subsets) if found is not None else 0


def progress(cluster: Cluster) -> str:
    found = cluster.get(Deployment, "web")
    assert found is not None
    return next((one.reason for one in found.status.conditions if one.type == "Progressing"), "")


def used(cluster: Cluster) -> dict[str, str]:
    found = cluster.get(ResourceQuota, "q")
    return dict(found.status.used) if found is not None else {}
