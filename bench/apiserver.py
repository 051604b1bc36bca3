"""CPU per request of the API server process over TLS: writes, reads, watch delivery, start-up, memory.

    python bench/apiserver.py [pods] [watchers]

The server runs in a process of its own on a SQLite store; figures are its CPU seconds divided by requests, so that
other load on the machine matters little. The last column is how many times cheaper that is than the original.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLIENTS = 16
PROTOBUF = "application/vnd.kubernetes.protobuf"
BASE = "/api/v1/namespaces/default/pods"


def cpu_seconds(pid: int) -> float:
    """Of all threads, in nanoseconds rounded by nobody: the ticks of /proc/pid/stat are too coarse for one list."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def pod(number: int) -> bytes:
    """A pod of 2.9 KB once it is stored, as a Deployment makes them."""
    return json.dumps(
        {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {
                "name": f"web-74b97b66ff-{number:05d}",
                "labels": {"app": "web", "pod-template-hash": "74b97b66ff", "group": str(number % 50)},
            },
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "registry.example.com/team/web:1.2.3",
                        "ports": [{"containerPort": 8080, "name": "http"}],
                        "env": [{"name": f"SETTING_{n}", "value": f"value-{n}"} for n in range(6)],
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                    }
                ]
            },
        }
    ).encode()


def deployment(number: int, image: int) -> bytes:
    """A Deployment as `kubectl apply --server-side` sends it."""
    labels = {"app": f"web-{number}", "team": "bench"}
    container = {
        "name": "web",
        "image": f"registry.example.com/team/web:1.2.{image}",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "env": [{"name": f"SETTING_{n}", "value": f"value-{n}"} for n in range(6)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
    }
    tree = {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": f"web-{number}", "namespace": "default", "labels": labels},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    return json.dumps(tree, separators=(",", ":")).encode()


class Connection:
    """A kept HTTP/1.1 connection: as little client as possible."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str = "bench-token") -> None:
        self._port = port
        self._context = context
        self._token = token

    async def open(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname="localhost", limit=1 << 26
        )
        return self

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> tuple[int, bytes]:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
            f"Accept: {accept}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line.split(":")[1]) for line in answer.split("\r\n") if line.startswith("content-length"))
        return int(answer.split(" ", 2)[1]), await self._reader.readexactly(length)


async def measure(pid: int, work: Any, count: int) -> float:
    """CPU milliseconds of the server per unit of work."""
    before = cpu_seconds(pid)
    await work
    return (cpu_seconds(pid) - before) / count * 1000


def report(what: str, milliseconds: float, original: float, aim: float) -> None:
    ratio = f"{original / milliseconds:5.0f} x" if original else ""
    print(f"{what:<46} {milliseconds:8.3f} ms CPU   aim {aim:<6} {ratio}")


async def run(pods: int, watchers: int, port: int, ca: str, context: ssl.SSLContext, pid: int) -> None:
    connections = [await Connection(port, context).open() for _ in range(CLIENTS)]
    idle = resident_mb(pid)
    print(f"idle: {idle:.0f} MB resident   (kube-apiserver 1.36: 278, etcd 43)")

    async def create(connection: Connection, numbers: range) -> None:
        for number in numbers:
            status, body = await connection.ask("POST", BASE, pod(number))
            assert status == 201, body

    async def get(connection: Connection, count: int, accept: str = "application/json") -> None:
        for _ in range(count):
            path = f"{BASE}/web-74b97b66ff-{random.randrange(pods):05d}"
            status, _ = await connection.ask("GET", path, accept=accept)
            assert status == 200

    async def repeat(query: str, count: int, accept: str = "application/json") -> None:
        for _ in range(count):
            status, body = await connections[0].ask("GET", BASE + query, accept=accept)
            assert status == 200, body[:300]

    parts = [range(at, pods, CLIENTS) for at in range(CLIENTS)]
    started = time.perf_counter()
    spent = await measure(pid, asyncio.gather(*map(create, connections, parts)), pods)
    report(f"create a pod ({pods / (time.perf_counter() - started):.0f}/s, store included)", spent, 3.0, 0.6)
    await filling(connections, pid, 10_000 - pods)
    reads = asyncio.gather(*(get(one, 500) for one in connections))
    report("get a pod", await measure(pid, reads, 500 * CLIENTS), 0.5, 0.06)
    await repeat("?limit=500", 3)
    report("list 500 (limit=500)", await measure(pid, repeat("?limit=500", 40), 40), 25, 1.5)
    report("list 500 in protobuf, first", await measure(pid, repeat("?limit=500", 1, PROTOBUF), 1), 0, 60)
    report("list 500 in protobuf", await measure(pid, repeat("?limit=500", 40, PROTOBUF), 40), 0, 1.5)
    reads = asyncio.gather(*(get(one, 500, PROTOBUF) for one in connections))
    report("get a pod in protobuf", await measure(pid, reads, 500 * CLIENTS), 0, 0.1)
    report(f"list all {pods}", await measure(pid, repeat("", 10), 10), 180 * pods / 5000, 12 * pods / 5000)
    await repeat("?labelSelector=no%3Done", 1)  # the index is made when it is first needed
    absent = await measure(pid, repeat("?labelSelector=no%3Done", 200), 200)
    report("list by a label that none has", absent, 10.8, 0.3)
    await applying(connections, pid)
    await watching(connections, port, ca, pid, watchers)
    print(f"after {watchers} watchers: {resident_mb(pid):.0f} MB resident")


async def applying(connections: list[Connection], pid: int) -> None:
    """Server-side apply: creating, changing one field, and saying again what is so already."""

    async def apply(connection: Connection, numbers: range, image: int) -> None:
        for number in numbers:
            path = f"/apis/apps/v1/namespaces/default/deployments/web-{number}?fieldManager=bench"
            body = deployment(number, image)
            status, answer = await connection.ask("PATCH", path, body, "application/apply-patch+yaml")
            assert status in (200, 201), answer

    count = 640
    parts = [range(at, count, CLIENTS) for at in range(CLIENTS)]
    for what, image in (("creating", 0), ("changing its image", 1), ("changing nothing", 1)):
        spent = await measure(pid, asyncio.gather(*(map(apply, connections, parts, [image] * CLIENTS))), count)
        report(f"server-side apply of a Deployment, {what}", spent, 0, 1.5)


async def watching(connections: list[Connection], port: int, ca: str, pid: int, watchers: int) -> None:
    """One client, then several, create pods while the watchers, in a process of their own, listen."""
    for writers, events in ((1, 200), (CLIENTS, 400)):
        _, body = await connections[0].ask("GET", f"{BASE}?limit=1")
        version = json.loads(body)["metadata"]["resourceVersion"]
        script = str(Path(__file__).with_name("watchers_process.py"))
        listening = await asyncio.create_subprocess_exec(
            sys.executable, script, str(port), ca, str(watchers), str(events), version, stdout=subprocess.PIPE
        )
        assert listening.stdout is not None
        assert await listening.stdout.readline(), "the watchers did not begin"
        first = 20_000 * writers

        async def create(connection: Connection, numbers: range) -> None:
            for number in numbers:
                await connection.ask("POST", BASE, pod(number))
            for number in numbers:
                await connection.ask("DELETE", f"{BASE}/web-74b97b66ff-{number:05d}?gracePeriodSeconds=0")

        numbers = [range(first + at, first + events // 2, writers) for at in range(writers)]
        writing = asyncio.gather(*map(create, connections[:writers], numbers))
        spent = await measure(pid, asyncio.gather(writing, listening.stdout.readline()), watchers * events)
        await listening.wait()
        what = f"watch, each delivery, {watchers} watchers, {writers} writer{'s' * (writers > 1)}"
        report(what, spent, 0.040, 0.012)


async def filling(connections: list[Connection], pid: int, count: int) -> None:
    """Resident memory with 10,000 pods: those that are missing go to another namespace, which lists leave out."""

    async def create(connection: Connection, numbers: range) -> None:
        for number in numbers:
            status, body = await connection.ask("POST", BASE.replace("default", "kube-system"), pod(number))
            assert status == 201, body

    await asyncio.gather(*map(create, connections, [range(at, count, CLIENTS) for at in range(CLIENTS)]))
    print(f"10,000 pods stored: {resident_mb(pid):.0f} MB resident   aim 100")


def main() -> None:
    pods = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    watchers = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("apiserver_process.py")), folder], stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        port = int(server.stdout.readline())
        print(f"start to ready: {time.perf_counter() - started:.2f} s   (kube-apiserver 1.36 with etcd: 3.4-3.5 s)")
        ca = str(Path(folder) / "pki" / "ca.crt")
        context = ssl.create_default_context(cafile=ca)
        try:
            asyncio.run(run(pods, watchers, port, ca, context, server.pid))
        finally:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
