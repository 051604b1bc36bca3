"""More than a cluster can hold, and less of it: a burst, capacity that appears, a drain, a zone that is cut off.

    python bench/outage.py [--scale 0.1] [--start SECONDS] [burst] [drain] [outage]

The whole control plane and 1,000 simulated nodes in one process. A burst and a drain run in real time; an outage in
virtual time, since nodes are given up and their pods evicted over an hour: its seconds are the cluster's. A pod starts
two seconds after it was bound, unless said otherwise: kubelets, which elsewhere have machines of their own, do not work
in the same instant as the control plane.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from scheduler_perf import create

from keelback.api import core_v1
from keelback.apimachinery.meta import Object
from keelback.client import Client
from keelback.client.patches import MergePatch
from keelback.component import event_loop, logs
from keelback.simulation.config import SimulatedNode, nodes
from keelback.testing.cluster import Cluster

CREATORS = 16
DEPLOYMENTS = 10
MOST_SECONDS = 4 * 3600
QUIET_SECONDS = 15
"""So that pods that were rejected are in no back-off."""
NODES = 1_000
PLACES = 10
"""How many pods a node takes."""
ZONE = "topology.kubernetes.io/zone"

Tree = dict[str, Any]


class _Condition(msgspec.Struct, rename="camel", frozen=True):
    type: str = ""
    status: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    node_name: str = ""


class _Status(msgspec.Struct, rename="camel", frozen=True):
    conditions: tuple[_Condition, ...] = ()


class PodSeen(Object):
    """Of a pod where it is, and why it is nowhere."""

    __kind__: ClassVar = core_v1.Pod.__kind__
    spec: _Spec = _Spec()
    status: _Status = _Status()

    @property
    def scheduled(self) -> _Condition:
        """What the scheduler says of it."""
        return next((one for one in self.status.conditions if one.type == "PodScheduled"), _Condition())


def in_three_zones(count: int) -> tuple[SimulatedNode, ...]:
    """Nodes for ten pods each."""
    capacity = {"cpu": str(PLACES), "memory": "64Gi", "pods": "110"}
    made = nodes(count, capacity=capacity)
    return tuple(replace(one, labels={ZONE: f"zone-{number % 3}"}) for number, one in enumerate(made))


def pod_spec(**more: Any) -> Tree:
    """A pod that takes a place."""
    requests = {"cpu": "1", "memory": "500Mi"}
    return {"containers": [{"name": "main", "image": "example:1", "resources": {"requests": requests}}], **more}


def pod(number: int) -> Tree:
    """One of a burst."""
    metadata = {"name": f"burst-{number}", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec()}


def deployment(number: int, replicas: int, **more: Any) -> Tree:
    """One of those that are to survive."""
    labels = {"app": f"app-{number}"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(**more)}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": f"app-{number}", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def resident_megabytes() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def at_once(work: Iterable[Callable[[], Awaitable[Any]]]) -> None:
    """Carry out requests, sixteen at a time."""
    waiting = iter(work)

    async def carry_out() -> None:
        for one in waiting:
            await one()
            await asyncio.sleep(0)

    await asyncio.gather(*(carry_out() for _ in range(CREATORS)))


class Pods:
    """What a watch has said of all pods so far."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._changed = asyncio.Condition()
        self.placed: dict[str, str] = {}
        """By pod, its node."""
        self.waiting: dict[str, str] = {}
        """Why each pod without a node has none; empty where nobody has said so yet."""

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            async for event in self._client.watch(PodSeen, "default", resource_version="0", timeout_seconds=3600):
                if event.type == "BOOKMARK":
                    continue
                name = event.object.metadata.name
                self.placed.pop(name, None)
                self.waiting.pop(name, None)
                if event.type != "DELETED" and event.object.spec.node_name:
                    self.placed[name] = event.object.spec.node_name
                elif event.type != "DELETED":
                    self.waiting[name] = event.object.scheduled.message
                async with self._changed:
                    self._changed.notify_all()

    async def until(self, holds: Callable[[], bool], seconds: float = 600) -> float:
        """When that came to hold."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)
        return time.perf_counter()


@asynccontextmanager
async def followed(client: Client) -> AsyncIterator[Pods]:
    """A watch of pods for as long as it is needed."""
    found = Pods(client)
    task = asyncio.ensure_future(found.follow())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def cordon(client: Client, name: str, cordoned: bool) -> Callable[[], Awaitable[Any]]:
    """What cordons a node, or takes that back."""
    change = MergePatch({"spec": {"unschedulable": cordoned or None}})
    return lambda: client.patch(core_v1.Node, name, "", change)


def burst(scale: float, start: float) -> None:
    """Twice as many pods as there is room for; then room for a tenth of the rest."""
    count, late = round(NODES * scale), round(NODES * scale / 10)
    places, wanted = (count - late) * PLACES, 2 * count * PLACES
    with Cluster(nodes=in_three_zones(count), real_time=True, heartbeat_seconds=60, pod_start_seconds=start) as cluster:
        client = cluster._parts.administrator()
        spare = [f"node-{number}" for number in range(late)]

        async def play() -> None:
            await at_once(cordon(client, name, True) for name in spare)
            async with followed(client) as pods:
                before, began, cpu = resident_megabytes(), time.perf_counter(), time.process_time()
                await create(client, map(pod, range(wanted)))
                created = time.perf_counter() - began
                filled = await pods.until(lambda: len(pods.placed) == places) - began
                told = await pods.until(lambda: says_why(pods, wanted - places)) - began
                print(f"{wanted} pods for {places} places: created in {created:.1f} s, full after {filled:.1f} s,")
                texts = Counter(pods.waiting.values())
                used = time.process_time() - cpu
                print(f"  all others say why after {told:.1f} s, in {len(texts)} texts; {used:.1f} s CPU;")
                print(f"  memory {before:.0f} MB before, {resident_megabytes():.0f} MB after")
                print(f"  {texts.most_common(1)[0][0]}")
                await asyncio.sleep(QUIET_SECONDS)
                began, cpu = time.perf_counter(), time.process_time()
                await at_once(cordon(client, name, False) for name in spare)
                there = time.perf_counter()
                after = await pods.until(lambda: len(pods.placed) == places + late * PLACES) - there
                print(f"{late} nodes uncordoned in {there - began:.2f} s: {late * PLACES} more pods placed")
                print(f"  {after:.2f} s later, {time.process_time() - cpu:.1f} s CPU")
                await pods.until(lambda: says_why(pods, wanted - places - late * PLACES))
                text = f"0/{count} nodes are available: {count} Insufficient cpu."
                await pods.until(lambda: all(one.startswith(text) for one in pods.waiting.values()))
                print(f"  {len(pods.waiting)} others have said why again {time.perf_counter() - there:.1f} s later,")
                print(f"  {time.process_time() - cpu:.1f} s CPU, memory {resident_megabytes():.0f} MB")

        cluster._run(play)


def drain(scale: float, start: float) -> None:
    """A third of the nodes emptied by evictions, with room enough for all in the rest."""
    count = round(NODES * scale)
    drained, replicas = count // 3, count // 2
    with Cluster(nodes=in_three_zones(count), real_time=True, heartbeat_seconds=60, pod_start_seconds=start) as cluster:
        client = cluster._parts.administrator()

        async def play() -> None:
            wanted = DEPLOYMENTS * replicas
            async with followed(client) as pods:
                await create(client, (deployment(number, replicas) for number in range(DEPLOYMENTS)))
                await pods.until(lambda: len(pods.placed) == wanted)
                gone = [f"node-{number}" for number in range(drained)]
                went = {name for name, node in pods.placed.items() if node in set(gone)}
                before, began, cpu = resident_megabytes(), time.perf_counter(), time.process_time()
                await at_once(cordon(client, name, True) for name in gone)
                await at_once(evict(client, name) for name in sorted(went))
                evicted = time.perf_counter()

                def is_over() -> bool:
                    return not went & pods.placed.keys() and len(pods.placed) == wanted

                after = await pods.until(is_over) - evicted
                assert not set(gone) & set(pods.placed.values())
                print(f"{wanted} pods on {count} nodes: {drained} drained of {len(went)} in {evicted - began:.1f} s;")
                print(f"  all have a node again {after:.2f} s later, {time.process_time() - cpu:.1f} s CPU")
                print(f"  memory {before:.0f} MB before, {resident_megabytes():.0f} MB after")

        cluster._run(play)


def outage(scale: float, start: float) -> None:
    """A zone cut off, while the others have not room for all; then the zone comes back."""
    count = round(NODES * scale)
    lost = [f"node-{number}" for number in range(count) if number % 3 == 2]
    replicas = count * PLACES * 8 // 10 // DEPLOYMENTS
    with Cluster(nodes=in_three_zones(count), heartbeat_seconds=60, pod_start_seconds=start) as cluster:
        cpu = time.process_time()
        for number in range(DEPLOYMENTS):
            cluster.apply(deployment(number, replicas))
        wanted = DEPLOYMENTS * replicas
        passes_until(cluster, lambda: sum(map(bool, placed(cluster).values())) == wanted, step=5)
        before = resident_megabytes()
        print(f"{wanted} pods on {count} nodes; memory {before:.0f} MB, {time.process_time() - cpu:.0f} s CPU")
        cpu = time.process_time()
        for name in lost:
            cluster.disconnect(name)
        fits = (count - len(lost)) * PLACES

        def is_over() -> bool:
            found = placed(cluster)
            return sum(not node for node in found.values()) == wanted - fits and len(found) == wanted

        seconds = passes_until(cluster, is_over, step=60)
        texts = Counter(waiting_texts(cluster).values())
        used, memory = time.process_time() - cpu, resident_megabytes()
        minutes = seconds / 60
        print(f"{len(lost)} nodes cut off: {minutes:.0f} min later their pods are elsewhere or wait ({wanted - fits});")
        print(f"  {used:.0f} s CPU, memory {memory:.0f} MB; those that wait say, in {len(texts)} texts")
        print(f"  {texts.most_common(1)[0][0]}")
        for name in lost:
            cluster.connect(name)
        cpu = time.process_time()
        seconds = passes_until(cluster, lambda: all(placed(cluster).values()), step=1)
        print(f"The zone is back: all pods have a node {seconds:.0f} s later, {time.process_time() - cpu:.0f} s CPU,")
        print(f"  memory {resident_megabytes():.0f} MB")


def placed(cluster: Cluster) -> dict[str, str]:
    """Where each pod is that is not on its way out; empty for nowhere."""
    found = cluster._run(lambda: cluster._parts.administrator().list(PodSeen, "default"))
    return {one.metadata.name: one.spec.node_name for one in found.items if one.metadata.deletion_timestamp is None}


def waiting_texts(cluster: Cluster) -> dict[str, str]:
    """Why each pod without a node has none."""
    found = cluster._run(lambda: cluster._parts.administrator().list(PodSeen, "default"))
    return {one.metadata.name: one.scheduled.message for one in found.items if not one.spec.node_name}


def passes_until(cluster: Cluster, holds: Callable[[], bool], *, step: float) -> float:
    """Let the cluster's time pass until that holds; how many of its seconds."""
    passed = 0.0
    while not holds():
        if passed > MOST_SECONDS:
            raise TimeoutError
        cluster.advance(step)
        passed += step
    return passed


def evict(client: Client, name: str) -> Callable[[], Awaitable[Any]]:
    """What evicts a pod, as `kubectl drain` does."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    path = f"/api/v1/namespaces/default/pods/{name}/eviction"
    headers = {"content-type": "application/json"}
    return lambda: client.request("POST", path, body=msgspec.json.encode(body), headers=headers)


def says_why(pods: Pods, waiting: int) -> bool:
    """Whether so many pods wait and each says why."""
    return len(pods.waiting) == waiting and all(pods.waiting.values())


def main() -> None:
    """Play what is asked for, or all."""
    # As the processes of a cluster that is no test's.
    event_loop.tune_garbage_collection()
    # What a node that is cut off cannot do is no news here.
    logs.configure(level=logs.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--start", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("scenes", nargs="*")
    options = parser.parse_args()
    scenes = {"burst": burst, "drain": drain, "outage": outage}
    for name in options.scenes or scenes:
        print(f"== {name}", flush=True)
        scenes[name](options.scale, options.start)


if __name__ == "__main__":
    main()
