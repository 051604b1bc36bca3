"""The workloads of Kubernetes' scheduler_perf suite: pods a second from the first create to a watch that saw all bound.

    python bench/scheduler_perf.py [--scale 0.2] [workload ...]

The whole path: pods are created through the API, scheduled, and bound in a SQLite store. API server, store, scheduler
and the clients share one process.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from scheduler_workloads import WORKLOADS, Churn, Make, Tree, Workload, node, pod, roomy

import scheduling as decisions
from keelback.api import core_v1
from keelback.apimachinery.meta import Object
from keelback.apiserver import assembly
from keelback.auth.users import MASTERS_GROUP, UserInfo
from keelback.bootstrap import pki
from keelback.client import Client
from keelback.component import event_loop
from keelback.component.metrics import Registry
from keelback.concurrency.clock import SystemClock
from keelback.controllers.config import Config
from keelback.controllers.manager import run as run_controllers
from keelback.scheduler.config import SchedulerConfig
from keelback.scheduler.run import run as run_scheduler
from keelback.storage import sqlite

CREATORS = 16
DEADLINE_SECONDS = 180
DELETED_A_SECOND = 50
SINGLE_PODS = 200
ADMINISTRATOR = UserInfo("bench", groups=(MASTERS_GROUP,))
SCHEDULER = UserInfo("system:kube-scheduler", groups=("system:authenticated",))


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    node_name: str = ""


class BoundPod(Object):
    """Of a pod only where it is."""

    __kind__: ClassVar = core_v1.Pod.__kind__
    spec: _Spec = _Spec()


@asynccontextmanager
async def cluster(folder: Path, controllers: Sequence[str] = ()) -> AsyncIterator[Client]:
    """An API server, a scheduler and those controllers; the client of whoever measures."""
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
    works = [run_scheduler(its, SchedulerConfig(leader_elect=False), clock, random.Random(0))]
    if controllers:
        manager = api.client(ADMINISTRATOR, "kube-controller-manager")
        works.append(run_controllers(manager, Config(controllers=tuple(controllers)), clock, random.Random(0)))
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield api.client(ADMINISTRATOR, "bench")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await api.close()
        await store.close()


def _path(tree: Tree) -> str:
    api_version, metadata = tree["apiVersion"], tree["metadata"]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    namespace = metadata.get("namespace", "")
    plural = tree["kind"].lower() + ("es" if tree["kind"].endswith("Class") else "s")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


async def create(client: Client, trees: Iterator[Tree]) -> None:
    """Create them all, several at a time."""

    async def one_after_another() -> None:
        for tree in trees:
            await client.request(
                "POST", _path(tree), body=msgspec.json.encode(tree), headers={"content-type": "application/json"}
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


def _renamed(make: Make, prefix: str, numbers: Iterable[object]) -> Iterator[Tree]:
    for position, number in enumerate(numbers):
        tree = make(number if isinstance(number, int) else position)
        tree["metadata"]["name"] = f"{prefix}-{number}"
        yield tree


async def churn(client: Client, what: Churn) -> None:
    """Have things come, and go where they are to, until cancelled."""
    number = 0
    while True:
        trees = [make(10**6 + number) for make in what.makes]
        for tree in trees:
            tree["metadata"]["name"] = f"churn-{number}"
        await create(client, iter(trees))
        await asyncio.sleep(what.seconds)
        if what.recreates:
            await delete(client, trees)
        number += 1


async def delete(client: Client, trees: Iterable[Tree], each_seconds: float = 0.0) -> None:
    """Delete objects for good, one after the other."""
    for tree in trees:
        await client.request("DELETE", f"{_path(tree)}/{tree['metadata']['name']}", "gracePeriodSeconds=0")
        await asyncio.sleep(each_seconds)


@asynccontextmanager
async def meanwhile(works: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Have others work while something is measured."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


@dataclass(frozen=True)
class Result:
    pods: int
    seconds: float
    cpu_seconds: float
    resident_bytes: int


async def carry_out(work: Workload, scale: float, folder: Path) -> Result:
    nodes, first, measured = (max(1, round(count * scale)) for count in (work.nodes, work.first or 1, work.measured))
    first = first if work.first else 0
    async with cluster(folder, work.controllers) as client:
        await create(client, map(work.node, range(nodes)))
        if work.name == "SchedulingDaemonset":
            await create(client, _renamed(roomy, "node", ["roomy"]))
        await create(client, work.before(first + measured))
        if first:
            await place(client, work.first_pod, "first", range(measured, measured + first))
        if work.held is not None:
            await create(client, _renamed(work.held, "held", range(measured // (2 if work.node is roomy else 1))))
        others = [churn(client, work.churn)] if work.churn is not None else []
        if work.deletes is not None:
            await place(client, work.deletes, "deleted", range(measured))
            others.append(delete(client, _renamed(work.deletes, "deleted", range(measured)), 1 / DELETED_A_SECOND))
        async with meanwhile(others):
            cpu = time.process_time()
            seconds = await place(client, work.measured_pod, "measured", range(measured))
            cpu = time.process_time() - cpu
    return Result(measured, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


async def latencies(scale: float, folder: Path) -> list[float]:
    """Seconds from the create of a single pod to the event of an open watch that shows it bound, in an idle cluster."""
    async with cluster(folder) as client:
        await create(client, map(node, range(max(1, round(5000 * scale)))))
        await place(client, pod, "first", range(10))
        arrivals: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        async with meanwhile([_note_bound(client, arrivals)]):
            return [await _placed_after(client, arrivals, f"single-{number}") for number in range(SINGLE_PODS)]


async def _placed_after(client: Client, arrivals: asyncio.Queue[tuple[str, float]], name: str) -> float:
    await asyncio.sleep(0.01)
    started = time.perf_counter()
    await create(client, _renamed(pod, name, range(1)))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            bound, at = await arrivals.get()
            if bound == f"{name}-0":
                return at - started


async def _note_bound(client: Client, arrivals: asyncio.Queue[tuple[str, float]]) -> None:
    async for event in client.watch(BoundPod, resource_version="0", timeout_seconds=2 * DEADLINE_SECONDS):
        if event.object.spec.node_name:
            arrivals.put_nowait((event.object.metadata.name, time.perf_counter()))


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


def measure_decisions(scale: float) -> None:
    """Print how many pods a second are decided where nothing is written."""
    for line in decisions.lines(max(1, round(5000 * scale)), max(1, round(5000 * scale))):
        print(line, flush=True)


def main() -> None:
    """Print one line a workload, each measured in a process that no other has filled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="how their names begin, or latency, decisions; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes; 1 is the suite's own")
    given = parser.parse_args()
    print(
        f"{'workload':<50}{'nodes':>6}{'pods':>7}{'pods/s':>8}{'aim':>6}{'1.36':>9}{'CPU ms':>8}{'MB':>6}", flush=True
    )
    tasks: list[tuple[str, Callable[..., None], tuple[Any, ...]]] = [
        *((one.name, measure, (one, given.scale)) for one in WORKLOADS),
        ("latency", measure_latency, (given.scale,)),
        ("decisions", measure_decisions, (given.scale,)),
    ]
    for name, task, arguments in tasks:
        if not given.workloads or any(name.startswith(one) for one in given.workloads):
            process = multiprocessing.get_context("fork").Process(target=task, args=arguments)
            process.start()
            process.join()


if __name__ == "__main__":
    main()
