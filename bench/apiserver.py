"""CPU per request of the API server process over TLS: writes, reads, watch delivery, start-up, memory.

    python bench/apiserver.py [pods]

The server runs in a process of its own on a SQLite store; figures are its CPU seconds divided by requests, so that
other load on the machine matters little.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLIENTS = 16
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def pod(number: int) -> bytes:
    """A pod of about 2 KB once it is stored, as a Deployment makes them."""
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


class Connection:
    """A kept HTTP/1.1 connection: as little client as possible."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context

    async def open(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname="localhost", limit=1 << 26
        )
        return self

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bench-token\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line.split(":")[1]) for line in answer.split("\r\n") if line.startswith("content-length"))
        return int(answer.split(" ", 2)[1]), await self._reader.readexactly(length)

    async def watch(self, path: str, events: int) -> None:
        """Begin a watch and return once it has delivered so many events."""
        self._writer.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bench-token\r\n\r\n".encode()
        )
        seen = 0
        while seen < events:
            data = await self._reader.read(1 << 20)
            if not data:
                raise ConnectionError(f"the watch ended after {seen} of {events} events")
            seen += data.count(b'{"type":"')


async def measure(pid: int, work: Any, count: int) -> float:
    """CPU milliseconds of the server per unit of work."""
    before = cpu_seconds(pid)
    await work
    return (cpu_seconds(pid) - before) / count * 1000


async def run(pods: int, port: int, context: ssl.SSLContext, pid: int) -> None:
    connections = [await Connection(port, context).open() for _ in range(CLIENTS)]
    path = "/api/v1/namespaces/default/pods"

    async def create(connection: Connection, numbers: range) -> None:
        for number in numbers:
            status, body = await connection.ask("POST", path, pod(number))
            assert status == 201, body

    async def get(connection: Connection, count: int) -> None:
        for _ in range(count):
            status, _ = await connection.ask("GET", f"{path}/web-74b97b66ff-{random.randrange(pods):05d}")
            assert status == 200

    async def repeat(query: str, count: int) -> None:
        for _ in range(count):
            status, body = await connections[0].ask("GET", path + query)
            assert status == 200, body[:300]

    def report(what: str, milliseconds: float, original: str) -> None:
        print(f"{what:<42} {milliseconds:9.3f} ms CPU   (kube-apiserver 1.36: {original})")

    print(f"idle: {resident_mb(pid):.0f} MB resident")
    parts = [range(at, pods, CLIENTS) for at in range(CLIENTS)]
    started = time.perf_counter()
    spent = await measure(pid, asyncio.gather(*map(create, connections, parts)), pods)
    report(f"create a pod ({pods / (time.perf_counter() - started):.0f}/s)", spent, "1.9-2.2, etcd 0.9")
    report(
        "get a pod", await measure(pid, asyncio.gather(*(get(one, 500) for one in connections)), 500 * CLIENTS), "0.5"
    )
    report("list 500 (limit=500)", await measure(pid, repeat("?limit=500", 40), 40), "25")
    report(f"list all {pods}", await measure(pid, repeat("", 10), 10), "180 for 5,000")
    report("list by a label that none has", await measure(pid, repeat("?labelSelector=no%3Done", 200), 200), "10.8")
    await watching(port, context, pid, pods, report)
    print(f"after: {resident_mb(pid):.0f} MB resident")


async def watching(port: int, context: ssl.SSLContext, pid: int, pods: int, report: Any) -> None:
    watchers, events = 300, 200
    _, body = await (await Connection(port, context).open()).ask("GET", "/api/v1/namespaces/default/pods?limit=1")
    version = json.loads(body)["metadata"]["resourceVersion"]
    path = f"/api/v1/namespaces/default/pods?watch=true&resourceVersion={version}"
    opened = [await Connection(port, context).open() for _ in range(watchers)]
    reading = asyncio.gather(*(one.watch(path, events) for one in opened))
    writer = await Connection(port, context).open()

    async def deliver() -> None:
        for number in range(pods, pods + events):
            await writer.ask("POST", "/api/v1/namespaces/default/pods", pod(number))
        await reading

    spent = await measure(pid, deliver(), watchers * events)
    report("watch, per delivered event (300 watchers)", spent, "0.040")


def main() -> None:
    pods = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("apiserver_process.py")), folder], stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        port = int(server.stdout.readline())
        print(f"start to ready: {time.perf_counter() - started:.2f} s   (kube-apiserver 1.36 with etcd: 3.4-3.5 s)")
        context = ssl.create_default_context(cafile=str(Path(folder) / "pki" / "ca.crt"))
        try:
            asyncio.run(run(pods, port, context, server.pid))
        finally:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
