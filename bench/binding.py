"""Create, schedule and bind pods on simulated nodes: pods per second, and CPU per pod of each part.

    python bench/binding.py [pods] [nodes]

Everything runs in one process, on a SQLite store; the clients that create the pods are in it too, and counted.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from scheduler_perf import CREATORS, cluster

from keelback.api.core_v1 import Container, Node, NodeCondition, NodeStatus, Pod, PodSpec, ResourceRequirements
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Client
from keelback.component import event_loop


def node(number: int) -> Node:
    amounts = {"cpu": "32", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    name = f"node-{number}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 3}"}
    ready = NodeCondition(type="Ready", status="True", reason="KubeletReady")
    status = NodeStatus(capacity=amounts, allocatable=amounts, conditions=(ready,))
    return Node(metadata=ObjectMeta(name=name, labels=labels), status=status)


def pod(number: int) -> Pod:
    resources = ResourceRequirements(requests={"cpu": "100m", "memory": "128Mi"})
    container = Container(name="main", image="example:1", resources=resources)
    metadata = ObjectMeta(name=f"pod-{number}", namespace="default", labels={"app": "bench"})
    return Pod(metadata=metadata, spec=PodSpec(containers=(container,)))


async def until_bound(client: Client, pods: int) -> None:
    bound: set[str] = set()
    async for event in client.watch(Pod, "default", resource_version="0", timeout_seconds=600):
        if event.object.spec.node_name:
            bound.add(event.object.metadata.name)
            if len(bound) == pods:
                return


async def main(pods: int, nodes: int, folder: Path) -> None:
    async with cluster(folder) as client:
        for number in range(nodes):
            await client.create(node(number))
            await asyncio.sleep(0)

        async def create(numbers: range) -> None:
            for number in numbers:
                await client.create(pod(number))
                await asyncio.sleep(0)

        started, cpu = time.perf_counter(), time.process_time()
        waiting = asyncio.ensure_future(until_bound(client, pods))
        await asyncio.gather(*(create(range(at, pods, CREATORS)) for at in range(CREATORS)))
        created = time.perf_counter() - started
        await asyncio.wait_for(waiting, 300)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"{pods} pods on {nodes} nodes: created in {created:.2f} s, all bound after {seconds:.2f} s")
        print(f"{pods / seconds:.0f} pods/s   (kube-apiserver, etcd and kube-scheduler 1.36: 124 pods/s)")
        print(f"{cpu / pods * 1000:.2f} ms CPU a pod in all   (kube-*: 11.2 ms)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        pods = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
        nodes = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
        event_loop.run(main(pods, nodes, Path(folder)))
