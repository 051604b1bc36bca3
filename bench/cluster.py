"""A whole cluster, as `keelback up` makes it: start-up, rest, memory, pods scheduled and bound.

    python bench/cluster.py [nodes] [pods]

First with real nodes, where the machine can run containers; then with simulated ones, where pods are many.

Rates are wall time of everything together, the client that creates the pods included, on however many CPUs there are.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from keelback.api.apps_v1 import Deployment
from keelback.api.core_v1 import Pod
from keelback.apimachinery import codecs
from keelback.bootstrap import machine
from keelback.client import Client, kubeconfig

CREATORS = 16
LIMIT_SECONDS = 300.0
REST_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")
IMAGE = "localhost/keelback-sample:latest"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Cluster:
    """A cluster in a folder of its own, started and taken down by the command that users type."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._folder = folder
        self._name = f"bench-{os.getpid()}"
        self._arguments = arguments
        self._environment = {**os.environ, "KUBECONFIG": str(folder / "kubeconfig")}

    def _run(self, command: str, *arguments: str) -> str:
        where = ("--name", self._name, "--data-dir", str(self._folder / "data"))
        line = [sys.executable, "-m", "keelback.cli.main", command, *where, *arguments]
        done = subprocess.run(
            line,
            env=self._environment,
            check=False,
            timeout=LIMIT_SECONDS,
            capture_output=True,
        )
        said = done.stdout.decode() + done.stderr.decode()
        if done.returncode != 0:
            raise SystemExit(f"keelback {command} failed: {said}")
        return said

    def __enter__(self) -> Cluster:
        said = self._run("up", *self._arguments).splitlines()
        steps = [line for line in said if " s  " in line]
        for step in dict.fromkeys((steps[0], steps[-1])):
            print(step)
        return self

    def __exit__(self, *_: object) -> None:
        self._run("down")

    def pid(self) -> int:
        """The control plane's process."""
        words = self._run("status").split()
        return int(words[words.index("process") + 1].rstrip(","))

    def node_agents(self) -> list[int]:
        """The processes that are kubelet, proxy and DNS of the real nodes."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"node" in line and any(one.startswith(str(self._folder).encode()) for one in line):
                found.append(int(process.name))
        return found

    def client(self) -> Client:
        return Client(kubeconfig.transport(kubeconfig.load(self._folder / "kubeconfig")))


def deployment(name: str, replicas: int) -> Deployment:
    labels = {"app": name}
    tree = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": IMAGE, "resources": {"requests": {"cpu": "10m"}}}]},
            },
        },
    }
    return codecs.decode(Deployment, json.dumps(tree).encode())


def pod(number: int) -> Pod:
    tree = {
        "metadata": {"name": f"pod-{number}", "namespace": "default", "labels": {"app": "many"}},
        "spec": {"containers": [{"name": "web", "image": IMAGE, "resources": {"requests": {"cpu": "10m"}}}]},
    }
    return codecs.decode(Pod, json.dumps(tree).encode())


async def three_replicas(client: Client) -> None:
    """From the create of a Deployment until its three replicas are available."""
    began = time.monotonic()
    made = await client.create(deployment("three", 3))
    async for event in client.watch(Deployment, "default", resource_version=made.metadata.resource_version):
        if event.object.metadata.name == "three" and event.object.status.available_replicas == 3:
            break
    print(f"{'Deployment to three available replicas':46} {time.monotonic() - began:8.2f} s")


async def at_rest(processes: dict[int, str]) -> None:
    """What each process needs when nobody asks for anything."""
    await asyncio.sleep(2)
    before, began = {pid: cpu_seconds(pid) for pid in processes}, time.monotonic()
    await asyncio.sleep(REST_SECONDS)
    seconds = time.monotonic() - began
    for pid, what in processes.items():
        share = (cpu_seconds(pid) - before[pid]) / seconds
        print(f"{what + ' at rest':46} {resident_mb(pid):8.0f} MB resident, {share:.1%} of a core")


async def many_pods(client: Client, pid: int, pods: int) -> None:
    """Create pods through the API until each is bound, as a watch shows it."""
    listed = await client.list(Pod, "default", limit=1)
    before, began = cpu_seconds(pid), time.monotonic()
    numbers = iter(range(pods))

    async def creator() -> None:
        for number in numbers:
            await client.create(pod(number))

    async def watcher() -> None:
        bound: set[str] = set()
        async for event in client.watch(
            Pod, "default", resource_version=listed.resource_version, label_selector="app=many"
        ):
            if event.object.spec.node_name:
                bound.add(event.object.metadata.name)
            if len(bound) == pods:
                return

    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(watcher())
        for _ in range(CREATORS):
            tasks.create_task(creator())
    seconds, cpu = time.monotonic() - began, cpu_seconds(pid) - before
    what = f"create, schedule and bind {pods} pods"
    print(f"{what:46} {pods / seconds:8.0f} pods/s, {cpu / pods * 1e3:.2f} ms CPU a pod in the control plane")
    print(f"{'afterwards':46} {resident_mb(pid):8.0f} MB resident")


async def measure(cluster: Cluster, pods: int) -> None:
    client, pid = cluster.client(), cluster.pid()
    await three_replicas(client)
    await at_rest({pid: "control plane", **dict.fromkeys(cluster.node_agents(), "kubelet, proxy and DNS")})
    if pods:
        await many_pods(client, pid, pods)


def main() -> None:
    """Print one line for each kind of work: with real nodes, with a simulated one, and with many."""
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    pods = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    findings = machine.examine(machine.observe(Path(tempfile.gettempdir())))
    runs = [
        (f"{count} simulated node(s)", ("--simulated", "--nodes", str(count)), work)
        for count, work in ((1, 100), (nodes, pods))
    ]
    if machine.can_run_containers(findings):
        runs = [(f"{count} real node(s)", ("--nodes", str(count)), 0) for count in (1, 3)] + runs
    else:
        print(machine.why_simulated(findings))
    for title, arguments, work in runs:
        print(f"-- {title}", flush=True)
        with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), *arguments) as cluster:
            uvloop.run(measure(cluster, work))


if __name__ == "__main__":
    main()
