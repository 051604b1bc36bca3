"""A simulated cluster of thousands of nodes, as `keelback up` makes it: `python bench/simulated.py [nodes] [pods]`.

How long until the nodes are Ready, until Deployments with that many pods have all of them Ready, how many small
Deployments become available in a second, and what the cluster takes when nothing happens. Wall time of everything
together, the client included; processor and memory are the control plane's.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from cluster import Cluster, cpu_seconds, deployment, resident_mb

from keelback.api.apps_v1 import Deployment
from keelback.client import Client

REPLICAS = 100
SMALL = 500
AT_ONCE = 32
REST_SECONDS = 30.0
LIMIT_SECONDS = 600.0


class Meter:
    """Prints what some work took."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.began, self._cpu = time.monotonic(), cpu_seconds(pid)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def say(self, what: str, more: str = "") -> None:
        cpu = cpu_seconds(self._pid) - self._cpu
        took = f"{self.seconds():8.1f} s, {cpu:6.1f} s of the processor, {resident_mb(self._pid):5.0f} MB"
        print(f"{what:52} {took} {more}", flush=True)


async def available(client: Client, names: set[str], replicas: int) -> None:
    """Create these Deployments, and return when each has all its replicas available, and so Ready."""
    listed = await client.list(Deployment, "default", limit=1)
    left, waiting = iter(sorted(names)), set(names)

    async def create() -> None:
        for name in left:
            await client.create(deployment(name, replicas))

    async def watch() -> None:
        async for event in client.watch(Deployment, "default", resource_version=listed.resource_version):
            if event.object.status.available_replicas == replicas:
                waiting.discard(event.object.metadata.name)
            if not waiting:
                return

    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        for _ in range(AT_ONCE):
            tasks.create_task(create())


async def measure(cluster: Cluster, pods: int) -> None:
    client, pid = cluster.client(), cluster.pid()
    meter = Meter(pid)
    count = max(1, pods // REPLICAS)
    await available(client, {f"large-{number}" for number in range(count)}, min(pods, REPLICAS))
    meter.say(f"{count} Deployments, {count * min(pods, REPLICAS)} pods Ready")
    meter = Meter(pid)
    await available(client, {f"small-{number}" for number in range(SMALL)}, 1)
    meter.say(f"{SMALL} Deployments of one pod available", f"{SMALL / meter.seconds():.0f} a second")
    await asyncio.sleep(5)
    meter = Meter(pid)
    await asyncio.sleep(REST_SECONDS)
    meter.say("at rest")


def main() -> None:
    """Print a line for each."""
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    pods = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with Cluster(Path(folder), "--simulated", "--nodes", str(nodes)) as cluster:
            print(f"{f'{nodes} nodes Ready':52} {time.monotonic() - began:8.1f} s", flush=True)
            uvloop.run(measure(cluster, pods))


if __name__ == "__main__":
    main()
