"""The workloads of Kubernetes' scheduler_perf suite: pods a second from the first create to a watch that saw all bound.

    python bench/scheduler_perf.py [--scale 0.2] [workload ...]

The whole path: pods are created through the API, scheduled, and bound in a SQLite store. API server, store, scheduler
and the clients share one process. Nodes have 4 CPUs, 32Gi and 110 pods; pods ask for 100m and 500Mi unless said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from keelback.api import core_v1
from keelback.apimachinery.meta import Object
from keelback.apiserver import assembly
from keelback.auth.users import MASTERS_GROUP, UserInfo
from keelback.bootstrap import pki
from keelback.client import Client
from keelback.component import event_loop
from keelback.component.metrics import Registry
from keelback.concurrency.clock import SystemClock
from keelback.scheduler.config import SchedulerConfig
from keelback.scheduler.run import run as run_scheduler
from keelback.storage import sqlite

CREATORS = 16
DEADLINE_SECONDS = 180
ADMINISTRATOR = UserInfo("bench", groups=(MASTERS_GROUP,))
SCHEDULER = UserInfo("system:kube-scheduler", groups=("system:authenticated",))
ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"

Tree = dict[str, Any]
Make = Callable[[int], Tree]


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    node_name: str = ""


class BoundPod(Object):
    """Of a pod only where it is."""

    __kind__: ClassVar = core_v1.Pod.__kind__
    spec: _Spec = _Spec()


# What there is to place, and where.


def node(number: int, zones: Sequence[str] = ("zone-0", "zone-1", "zone-2"), **capacity: str) -> Tree:
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110", **capacity}
    labels = {HOST: f"node-{number}", ZONE: zones[number % len(zones)]}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
    metadata = {"name": f"node-{number}", "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}


def in_one_zone(number: int) -> Tree:
    return node(number, ("zone-0",))


def pod(number: int, prefix: str = "pod", namespace: str = "default", **more: Any) -> Tree:
    labels = more.pop("labels", {"app": "bench"})
    requests = more.pop("requests", {"cpu": "100m", "memory": "500Mi"})
    container = {"name": "main", "image": "registry.example/pause:1", "resources": {"requests": requests}}
    metadata = {"name": f"{prefix}-{number}", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **more}}


def colored(number: int, color: str, how: str, key: str, namespace: str, **term: Any) -> Tree:
    """A pod that wants, or does not want, pods of its color near; `how` says which and how much."""
    wanted = {"labelSelector": {"matchLabels": {"color": color}}, "topologyKey": key, **term}
    kind, _, strength = how.partition(" ")
    rule = (
        {"requiredDuringSchedulingIgnoredDuringExecution": [wanted]}
        if strength == "required"
        else {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": wanted}]}
    )
    return pod(number, color, namespace, labels={"color": color}, affinity={kind: rule})


def near(strength: str, namespace: str) -> Make:
    color, key = ("blue", ZONE) if strength == "required" else ("red", HOST)
    return lambda number: colored(number, color, f"podAffinity {strength}", key, namespace)


def apart(strength: str, namespace: str) -> Make:
    color = "green" if strength == "required" else "yellow"
    return lambda number: colored(number, color, f"podAntiAffinity {strength}", HOST, namespace)


def across_namespaces(how: str, key: str) -> Make:
    """One pod of many namespaces, which are told apart by a label."""
    selector = {"matchLabels": {"team": "devops"}}
    return lambda number: colored(number, "teal", how, key, f"team-{number % 100}", namespaceSelector=selector)


def spread(when: str) -> Make:
    constraint = {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": when}
    constraint["labelSelector"] = {"matchLabels": {"color": "blue"}}
    return lambda number: pod(number, "spread", labels={"color": "blue"}, topologySpreadConstraints=[constraint])


def in_zones(number: int) -> Tree:
    term = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["zone-0", "zone-9"]}]}
    required = {"nodeSelectorTerms": [term]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return pod(number, "zonal", affinity=affinity)


def daemon(number: int) -> Tree:
    """Two on each node, as the daemon set controller pins them."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [f"node-{number // 2}"]}]}
    required = {"nodeSelectorTerms": [term]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return pod(number, "daemon", affinity=affinity)


def with_secret(number: int) -> Tree:
    made = pod(number, "secretive", volumes=[{"name": "secret", "secret": {"secretName": "secret"}}])
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "secret", "mountPath": "/etc/secret"}]
    return made


def with_claim(number: int) -> Tree:
    return pod(number, "stateful", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": f"c-{number}"}}])


def bound_volume(number: int, source: Tree) -> list[Tree]:
    """A volume and a claim that are bound to each other, as the volume controller leaves them."""
    claim = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": f"c-{number}", "apiVersion": "v1"}
    size, modes = {"storage": "1Gi"}, ["ReadOnlyMany"]
    done = {"pv.kubernetes.io/bind-completed": "true"}
    volume_spec = {"accessModes": modes, "capacity": size, "claimRef": claim, **source}
    claim_spec = {"accessModes": modes, "resources": {"requests": size}, "volumeName": f"v-{number}"}
    claim_spec["storageClassName"] = ""
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"v-{number}"}, "spec": volume_spec},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"c-{number}", "namespace": "default", "annotations": done},
            "spec": claim_spec,
        },
    ]


def large(number: int) -> Tree:
    """Larger than any node."""
    return pod(number, "large", requests={"cpu": "9", "memory": "500Mi"})


def gated(number: int) -> Tree:
    return pod(number, "gated", schedulingGates=[{"name": "bench.example/wait"}])


def low(number: int) -> Tree:
    # There are no kubelets: what is preempted must be gone at once.
    return pod(number, "low", requests={"cpu": "900m", "memory": "500Mi"}, terminationGracePeriodSeconds=0)


def high(number: int) -> Tree:
    return pod(number, "high", requests={"cpu": "3000m", "memory": "500Mi"}, priorityClassName="high")


def namespaces(count: int) -> Iterator[Tree]:
    for number in range(count):
        metadata = {"name": f"team-{number}", "labels": {"team": "devops"}}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


# The workloads.


@dataclass(frozen=True)
class Workload:
    """`aim` is what this project wants to reach, `original` what kube-scheduler's own CI demands, in pods a second."""

    name: str
    nodes: int
    first: int
    """Pods that are there and bound before anything is measured."""
    measured: int
    aim: int
    original: str
    first_pod: Make = pod
    measured_pod: Make = pod
    node: Make = node
    before: Callable[[int], Iterator[Tree]] = lambda pods: iter(())
    """What else there must be, given how many pods there will be in all."""
    held: Make | None = None
    """Pods that wait for ever meanwhile, as many as are measured."""
    churns: bool = False
    """Whether nodes, pods and services come and go meanwhile."""


def high_class(pods: int) -> Iterator[Tree]:
    meta = {"name": "high"}
    yield {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta, "value": 1000}


def secret(pods: int) -> Iterator[Tree]:
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret", "namespace": "default"}}


def disks(pods: int) -> Iterator[Tree]:
    for number in range(pods):
        yield from bound_volume(number, {"awsElasticBlockStore": {"volumeID": f"vol-{number}"}})


def csi_volumes(pods: int) -> Iterator[Tree]:
    for number in range(pods):
        yield from bound_volume(number, {"csi": {"driver": "csi.example", "volumeHandle": f"vol-{number}"}})


REQUIRED, PREFERRED = "required", "preferred"
WORKLOADS = (
    Workload("SchedulingBasic", 5000, 1000, 10000, 1500, "270"),
    Workload("SchedulingNodeAffinity", 5000, 5000, 10000, 1500, "220", in_zones, in_zones, in_one_zone),
    Workload("SchedulingDaemonset", 15000, 0, 30000, 1000, "390", measured_pod=daemon),
    Workload(
        "SchedulingPodAntiAffinity",
        5000,
        1000,
        2000,
        800,
        "60",
        apart(REQUIRED, "team-1"),
        apart(REQUIRED, "team-0"),
        before=lambda pods: namespaces(2),
    ),
    Workload(
        "SchedulingPodAffinity",
        5000,
        5000,
        5000,
        800,
        "35",
        near(REQUIRED, "team-0"),
        near(REQUIRED, "team-1"),
        in_one_zone,
        lambda pods: namespaces(2),
    ),
    Workload(
        "SchedulingPreferredPodAffinity",
        5000,
        5000,
        5000,
        800,
        "90",
        measured_pod=near(PREFERRED, "team-1"),
        before=lambda pods: namespaces(2),
    ),
    Workload(
        "SchedulingPreferredPodAntiAffinity",
        5000,
        5000,
        5000,
        800,
        "90",
        measured_pod=apart(PREFERRED, "team-1"),
        before=lambda pods: namespaces(2),
    ),
    Workload("TopologySpreading", 5000, 5000, 5000, 800, "85", measured_pod=spread("DoNotSchedule")),
    Workload("PreferredTopologySpreading", 5000, 5000, 5000, 800, "125", measured_pod=spread("ScheduleAnyway")),
    Workload(
        "SchedulingRequiredPodAntiAffinityWithNSSelector",
        6000,
        4000,
        1000,
        400,
        "24",
        across_namespaces("podAntiAffinity required", HOST),
        across_namespaces("podAntiAffinity required", HOST),
        before=lambda pods: namespaces(100),
    ),
    Workload(
        "SchedulingPreferredAntiAffinityWithNSSelector",
        5000,
        4000,
        1000,
        400,
        "55",
        across_namespaces("podAntiAffinity preferred", HOST),
        across_namespaces("podAntiAffinity preferred", HOST),
        before=lambda pods: namespaces(100),
    ),
    Workload(
        "SchedulingRequiredPodAffinityWithNSSelector",
        5000,
        4000,
        1000,
        400,
        "35",
        across_namespaces("podAffinity required", ZONE),
        across_namespaces("podAffinity required", ZONE),
        in_one_zone,
        lambda pods: namespaces(100),
    ),
    Workload(
        "SchedulingPreferredAffinityWithNSSelector",
        5000,
        4000,
        1000,
        400,
        "90",
        across_namespaces("podAffinity preferred", HOST),
        across_namespaces("podAffinity preferred", HOST),
        before=lambda pods: namespaces(100),
    ),
    Workload("Unschedulable", 5000, 0, 10000, 1000, "140", held=large),
    Workload("SchedulingWithMixedChurn", 5000, 0, 10000, 1000, "265", churns=True),
    Workload("PreemptionAsync", 5000, 20000, 5000, 600, "160", low, high, before=high_class),
    Workload("PreemptionBasic", 500, 2000, 500, 0, "18", low, high, before=high_class),
    Workload("SchedulingSecrets", 5000, 5000, 5000, 600, "260", with_secret, with_secret, before=secret),
    Workload("SchedulingInTreePVs", 5000, 1000, 1000, 600, "90", measured_pod=with_claim, before=disks),
    Workload("SchedulingCSIPVs", 5000, 1000, 1000, 600, "48", measured_pod=with_claim, before=csi_volumes),
    Workload("SchedulingGatedPods", 5000, 0, 10000, 1000, "110", held=gated),
)


# Carrying one out.


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Client]:
    """An API server and a scheduler; the client of whoever measures."""
    clock = SystemClock()
    keys = pki.ensure_cluster_pki(folder / "pki", clock.now())
    store = await sqlite.open_store(folder / "store.db", clock)
    config = assembly.APIServerConfig(
        client_ca_pem=keys.ca.certificate_pem,
        service_account_key_pem=keys.service_account.key_pem,
        kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
        kubelet_client_key=keys.apiserver_kubelet_client.key_path,
        kubelet_ca_pem=keys.ca.certificate_pem,
        endpoint=("192.0.2.1", 6443),
        # Nothing makes service accounts here, and nothing takes the taint of a new node away.
        disable_admission_plugins=("ServiceAccount", "TaintNodesByCondition"),
    )
    api = await assembly.start(store, config, clock, random.Random(), Registry())
    its = api.client(SCHEDULER, "kube-scheduler")
    scheduler = asyncio.ensure_future(run_scheduler(its, SchedulerConfig(leader_elect=False), clock, random.Random(0)))
    try:
        yield api.client(ADMINISTRATOR, "bench")
    finally:
        scheduler.cancel()
        await asyncio.gather(scheduler, return_exceptions=True)
        await api.close()
        await store.close()


def _path(tree: Tree) -> str:
    api_version, metadata = tree["apiVersion"], tree["metadata"]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    namespace = metadata.get("namespace", "")
    plural = "priorityclasses" if tree["kind"] == "PriorityClass" else f"{tree['kind'].lower()}s"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


async def create(client: Client, trees: Iterator[Tree]) -> None:
    """Create them all, several at a time."""

    async def one_after_another() -> None:
        for tree in trees:
            await client.request(
                "POST", _path(tree), body=json.dumps(tree).encode(), headers={"content-type": "application/json"}
            )
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CREATORS):
            tasks.create_task(one_after_another())


async def until_bound(client: Client, prefix: str, pods: int) -> None:
    bound: set[str] = set()
    async for event in client.watch(BoundPod, resource_version="0", timeout_seconds=DEADLINE_SECONDS):
        if event.object.spec.node_name and event.object.metadata.name.startswith(prefix):
            bound.add(event.object.metadata.name)
            if len(bound) == pods:
                return


async def place(client: Client, make: Make, prefix: str, numbers: range) -> float:
    """Create the pods, and wait until a watch has shown them bound; the seconds it took."""
    started = time.perf_counter()
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(until_bound(client, prefix, len(numbers)))
        tasks.create_task(create(client, _renamed(make, prefix, numbers)))
    return time.perf_counter() - started


def _renamed(make: Make, prefix: str, numbers: range) -> Iterator[Tree]:
    for number in numbers:
        tree = make(number)
        tree["metadata"]["name"] = f"{prefix}-{number}"
        yield tree


async def churn(client: Client) -> None:
    """A node, a pod that fits nowhere and a service a second, each deleted when the next comes."""
    number = 0
    while True:
        name = f"churn-{number}"
        trees = [node(10**6 + number), large(number)]
        trees[0]["metadata"]["name"] = trees[1]["metadata"]["name"] = name
        metadata = {"name": name, "namespace": "default"}
        spec = {"selector": {"app": "churn"}, "ports": [{"port": 80}]}
        trees.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        await create(client, iter(trees))
        await asyncio.sleep(1)
        for tree in trees:
            await client.request("DELETE", f"{_path(tree)}/{name}", "gracePeriodSeconds=0")
        number += 1


@dataclass(frozen=True)
class Result:
    pods: int
    seconds: float
    cpu_seconds: float
    resident_bytes: int


async def carry_out(work: Workload, scale: float, folder: Path) -> Result:
    nodes, first, measured = (max(1, round(count * scale)) for count in (work.nodes, work.first or 1, work.measured))
    first = first if work.first else 0
    async with cluster(folder) as client:
        await create(client, map(work.node, range(nodes)))
        await create(client, work.before(first + measured))
        if first:
            await place(client, work.first_pod, "first", range(measured, measured + first))
        if work.held is not None:
            await create(client, _renamed(work.held, "held", range(measured)))
        churning = asyncio.ensure_future(churn(client)) if work.churns else None
        cpu = time.process_time()
        seconds = await place(client, work.measured_pod, "measured", range(measured))
        cpu = time.process_time() - cpu
        if churning is not None:
            churning.cancel()
            await asyncio.gather(churning, return_exceptions=True)
    return Result(measured, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


async def latencies(scale: float, folder: Path) -> list[float]:
    """Seconds from the create of a single pod to the watch event that shows it bound, in an idle cluster."""
    async with cluster(folder) as client:
        await create(client, map(node, range(max(1, round(5000 * scale)))))
        await place(client, pod, "first", range(10))
        found = []
        for number in range(200):
            found.append(await place(client, pod, f"single-{number}", range(1)))
            await asyncio.sleep(0.01)
    return found


async def in_a_folder(work: Callable[[Path], Awaitable[Any]]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return await work(Path(folder))


def measure(work: Workload, scale: float) -> None:
    """Carry a workload out and print its line."""
    head = f"{work.name:<50}{round(work.nodes * scale):>6}{round(work.measured * scale):>7}"
    try:
        done = event_loop.run(in_a_folder(lambda folder: carry_out(work, scale, folder)))
    except TimeoutError:
        print(f"{head}  not all bound after {DEADLINE_SECONDS} s", flush=True)
        return
    print(
        f"{head}{done.pods / done.seconds:>8.0f}{work.aim or '':>6}{work.original:>9}"
        f"{done.cpu_seconds / done.pods * 1000:>8.2f}{done.resident_bytes >> 20:>6}",
        flush=True,
    )


def measure_latency(scale: float) -> None:
    """Print how long a single pod takes."""
    found = sorted(event_loop.run(in_a_folder(lambda folder: latencies(scale, folder))))
    middle, late = statistics.median(found) * 1000, found[int(len(found) * 0.99)] * 1000
    print(f"one pod in an idle cluster, from its create to the watch: p50 {middle:.1f} ms, p99 {late:.1f} ms")


def main() -> None:
    """Print one line a workload, each measured in a process that no other has filled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="how their names begin, or latency; all of them by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes; 1 is the suite's own")
    given = parser.parse_args()
    print(
        f"{'workload':<50}{'nodes':>6}{'pods':>7}{'pods/s':>8}{'aim':>6}{'1.36':>9}{'CPU ms':>8}{'MB':>6}", flush=True
    )
    tasks: list[tuple[Callable[..., None], tuple[Any, ...]]] = [(measure, (one, given.scale)) for one in WORKLOADS]
    names = [*(one.name for one in WORKLOADS), "latency"]
    for name, (task, arguments) in zip(names, [*tasks, (measure_latency, (given.scale,))], strict=True):
        if not given.workloads or any(name.startswith(one) for one in given.workloads):
            process = multiprocessing.get_context("fork").Process(target=task, args=arguments)
            process.start()
            process.join()


if __name__ == "__main__":
    main()
