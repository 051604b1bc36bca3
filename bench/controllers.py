"""What controllers do at scale, in a whole cluster with simulated nodes as `keelback up` makes it.

    python bench/controllers.py [part ...]

Seconds are wall time, the client that asks and counts included; CPU is that of the control plane's process, in which
API server, store, controllers, scheduler and simulated nodes are.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from cluster import CREATORS, Cluster, cpu_seconds, resident_mb

from keelback.api.apps_v1 import Deployment, ReplicaSet
from keelback.api.core_v1 import ConfigMap, Namespace, Pod, Service
from keelback.api.discovery_v1 import EndpointSlice
from keelback.api.storage_v1 import CSIDriver
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Object
from keelback.client import Client, MergePatch
from keelback.client.store import Store
from keelback.concurrency.clock import SystemClock
from keelback.controllers.observed import NodeView, PodView
from keelback.reconcile.caches import SharedCaches

T = TypeVar("T", bound=Object)

NODES = 30
LIMIT_SECONDS = 300.0
IDLE_SECONDS = 20.0
SLICE = 100
PODS = 1000
REPLICA_SETS = 200


class Meter:
    """Prints what a piece of work took."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @contextmanager
    def measured(self, what: str, aim_seconds: float = 0.0) -> Iterator[None]:
        """The seconds of the block, and the control plane's CPU seconds in it."""
        cpu, began = cpu_seconds(self.pid), time.monotonic()
        yield
        seconds, cpu = time.monotonic() - began, cpu_seconds(self.pid) - cpu
        aim = f", aim {aim_seconds:g} s" if aim_seconds else ""
        print(f"{what:52} {seconds:7.2f} s, {cpu:6.2f} s CPU{aim}", flush=True)


def deployment(name: str, replicas: int) -> Deployment:
    """So many pods that ask for nothing."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "one:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return decoded(Deployment, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})


def config_map(name: str, namespace: str = "default", owner: ConfigMap | None = None) -> ConfigMap:
    """A small object, of an owner or of nobody."""
    references: list[dict[str, str]] = []
    if owner is not None:
        references = [{"apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid}]
    metadata = {"name": name, "namespace": namespace, "ownerReferences": references}
    return decoded(ConfigMap, {"metadata": metadata, "data": {"key": "value"}})


def decoded(cls: type[T], tree: dict[str, Any]) -> T:
    return codecs.decode(cls, json.dumps(tree).encode())


async def all_of(work: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Do it all, some at a time."""
    left = iter(work)

    async def worker() -> None:
        for one in left:
            await one()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CREATORS):
            tasks.create_task(worker())


async def until(client: Client, cls: type[T], reached: Callable[[dict[str, T]], bool], namespace: str) -> None:
    """Watch a kind until its objects are as wanted."""
    listed = await client.list(cls, namespace)
    held = {one.metadata.name: one for one in listed.items}
    if reached(held):
        return
    async for event in client.watch(cls, namespace, resource_version=listed.resource_version):
        if event.type == "DELETED":
            held.pop(event.object.metadata.name, None)
        elif event.type != "BOOKMARK":
            held[event.object.metadata.name] = event.object
        if reached(held):
            return


async def until_available(client: Client, *names: str) -> None:
    """All replicas of these Deployments are of the newest template, and available."""
    wanted = set(names)

    def reached(held: dict[str, Deployment]) -> bool:
        # What is reached once stays so: each is looked at until then only.
        wanted.difference_update([name for name in wanted if name in held and _is_done(held[name])])
        return not wanted

    await until(client, Deployment, reached, "default")


def _is_done(one: Deployment) -> bool:
    status, replicas = one.status, one.spec.replicas
    counts = (status.replicas, status.updated_replicas, status.available_replicas)
    return status.observed_generation == one.metadata.generation and counts == (replicas,) * 3


async def until_no_pods(client: Client) -> None:
    await until(client, Pod, lambda held: not held, "default")


async def patch(client: Client, name: str, spec: dict[str, Any]) -> None:
    await client.patch(Deployment, name, "default", MergePatch({"spec": spec}))


def image(name: str) -> dict[str, Any]:
    """The change of a Deployment's spec that rolls it."""
    return {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}


# The parts.


async def scale(client: Client, meter: Meter) -> None:
    """One Deployment up to a thousand pods, and down."""
    await client.create(deployment("large", 0))
    with meter.measured(f"Deployment scaled to {PODS}, all available", 6):
        await patch(client, "large", {"replicas": PODS})
        await until_available(client, "large")
    with meter.measured(f"Deployment scaled from {PODS} to 0, all gone", 6):
        await patch(client, "large", {"replicas": 0})
        await until_no_pods(client)
    await client.delete(Deployment, "large", "default")


async def roll(client: Client, meter: Meter) -> None:
    """Many Deployments rolled in one moment."""
    names = [f"rolled-{number}" for number in range(500)]
    with meter.measured("500 Deployments of 2 made, all available"):
        await all_of(lambda name=name: client.create(deployment(name, 2)) for name in names)
        await until_available(client, *names)
    with meter.measured("500 Deployments rolled at once"):
        await all_of(lambda name=name: patch(client, name, image("one:2")) for name in names)
        await until_available(client, *names)
    with meter.measured("500 Deployments deleted, all pods gone"):
        await all_of(lambda name=name: client.delete(Deployment, name, "default") for name in names)
        await until_no_pods(client)


async def namespace(client: Client, meter: Meter) -> None:
    """A namespace with many objects."""
    await client.create(decoded(Namespace, {"metadata": {"name": "full"}}))
    await all_of(lambda n=n: client.create(config_map(f"one-{n}", "full")) for n in range(5000))
    with meter.measured("namespace with 5,000 objects deleted", 10):
        await client.delete(Namespace, "full")
        await until(client, Namespace, lambda held: "full" not in held, "")


async def garbage(client: Client, meter: Meter) -> None:
    """What an owner leaves behind."""
    owner = await client.create(config_map("owner"))
    await all_of(lambda n=n: client.create(config_map(f"owned-{n}", owner=owner)) for n in range(10000))
    with meter.measured("10,000 dependents collected", 20):
        await client.delete(ConfigMap, "owner", "default")
        await until(client, ConfigMap, lambda held: len(held) == 1, "default")


async def slices(client: Client, meter: Meter) -> None:
    """How often the slices of a Service are written while all its pods are replaced.

    Each pod comes, begins to end, and goes: three changes of an endpoint, of which a write carries a hundred at most.
    """
    ports = {"ports": [{"port": 80}], "selector": {"app": "served"}}
    await client.create(decoded(Service, {"metadata": {"name": "served", "namespace": "default"}, "spec": ports}))
    await client.create(deployment("served", PODS))
    await until_available(client, "served")
    await until(client, EndpointSlice, lambda held: sum(map(_ready, held.values())) == PODS, "default")
    async with counted(client) as writes:
        with meter.measured(f"a Service's {PODS} pods rolled"):
            await patch(client, "served", image("one:2"))
            await until_available(client, "served")
            await until(client, EndpointSlice, lambda held: sum(map(_ready, held.values())) == PODS, "default")
    fewest = 3 * PODS // SLICE
    total = writes.total()
    print(f"{'writes of its slices meanwhile':52} {total:7} ({dict(writes)}), fewest {fewest}, aim {2 * fewest}")
    await client.delete(Service, "served", "default")
    await client.delete(Deployment, "served", "default")
    await until_no_pods(client)


def _ready(one: EndpointSlice) -> int:
    if one.metadata.labels.get("kubernetes.io/service-name") != "served":
        return 0
    return sum(bool(endpoint.conditions.ready) for endpoint in one.endpoints or ())


@asynccontextmanager
async def counted(client: Client) -> AsyncIterator[Counter[str]]:
    """The events of all EndpointSlices while the block lasts, by their type."""
    listed = await client.list(EndpointSlice, "default")
    found: Counter[str] = Counter()

    async def count() -> None:
        async for event in client.watch(EndpointSlice, "default", resource_version=listed.resource_version):
            found[event.type] += event.type != "BOOKMARK"

    counting = asyncio.create_task(count())
    try:
        yield found
        await asyncio.sleep(1)
    finally:
        counting.cancel()


async def idle(client: Client, meter: Meter) -> None:
    """What a control plane with many objects needs when nothing happens, and what its controllers hold."""
    await all_of(lambda n=n: client.create(deployment(f"idle-{n}", 1)) for n in range(1000))
    await until_available(client, *(f"idle-{n}" for n in range(1000)))
    await all_of(lambda n=n: client.create(config_map(f"idle-{n}")) for n in range(2000))
    await asyncio.sleep(5)
    cpu, began = cpu_seconds(meter.pid), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    share = (cpu_seconds(meter.pid) - cpu) / (time.monotonic() - began)
    print(f"{f'idle with 5,000 objects and {NODES} nodes, all of it':52} {share:7.2%} of a core")


async def caches(client: Client, meter: Meter) -> None:
    """What the controllers' caches need for an object of the types that they hold, keys and indexes included."""
    await client.create(deployment("cached", PODS))
    await until_available(client, "cached")
    await all_of(lambda n=n: client.create(deployment(f"cached-{n}", 0)) for n in range(REPLICA_SETS))
    await until(client, ReplicaSet, lambda held: len(held) > REPLICA_SETS, "default")
    empty, _ = await memory_of(client, CSIDriver)
    for cls in (PodView, ReplicaSet, NodeView):
        size, number = await memory_of(client, cls)
        each = (size - empty) / 1024 / number
        print(f"{f'cache of {number} {cls.__kind__.kind}s':52} {each:7.2f} KB an object, aim 4")
    await client.delete(Deployment, "cached", "default")
    await until_no_pods(client)


async def memory_of(client: Client, cls: type[Object]) -> tuple[int, int]:
    """The bytes of a cache of all objects of a type, and how many they are."""
    await held(client, cls)  # what is made once for a type is made
    gc.collect()
    tracemalloc.start()
    kept = await held(client, cls)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size, len(kept)


async def held(client: Client, cls: type[T]) -> Store[T]:
    """A store with all objects of a type, found by owner, namespace and node as those of the controllers are."""
    caches = SharedCaches(client, SystemClock(), random.Random(1))
    store = caches.index_by_controller(cls)
    caches.index(cls, "by-namespace", lambda one: [one.metadata.namespace])
    if cls is PodView:
        caches.index(PodView, "by-node", lambda pod: [pod.spec.node_name])
    task = asyncio.ensure_future(caches.run())
    await caches.informer(cls).wait_synced()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return store


PARTS = {one.__name__: one for one in (scale, roll, namespace, garbage, slices, caches, idle)}


async def measure(cluster: Cluster, asked: list[str]) -> None:
    client, meter = cluster.client(), Meter(cluster.pid())
    for name in asked:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await PARTS[name](client, meter)
        except TimeoutError:
            print(f"{name}: not done after {LIMIT_SECONDS:g} s")
    print(f"{'resident memory at the end':52} {resident_mb(meter.pid):7.0f} MB")


def main() -> None:
    """Print one line for each piece of work."""
    asked = sys.argv[1:] or list(PARTS)
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), "--simulated", "--nodes", str(NODES)) as cluster,
    ):
        uvloop.run(measure(cluster, asked))


if __name__ == "__main__":
    main()
