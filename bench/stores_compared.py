"""SQLite and etcd side by side: durable writes, writes while compacting, start-up, and pods created through a server.

    python bench/stores_compared.py [writes] [compaction] [start] [server]

etcd is one member on the same disk (BENCH_DIR, else the system's temporary folder), which it writes to as SQLite does.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apiserver
from keelback.apiserver import assembly
from keelback.bootstrap import pki
from keelback.component import event_loop
from keelback.component.metrics import Registry
from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd, sqlite
from keelback.storage.protocol import Store
from keelback.testing.etcd import EtcdCluster, etcd_cluster

CLIENTS = (1, 16, 256)
OBJECTS = 100_000
SERVER_CLIENTS = 64
PODS = 6_400
VALUE = apiserver.pod(1)

Opened = Callable[[], Awaitable[Store]]


@asynccontextmanager
async def stores(folder: Path) -> AsyncIterator[dict[str, tuple[Opened, Callable[[], float]]]]:
    """Each kind of store: how it is opened, and the CPU seconds of what is not this process."""
    clock = SystemClock()
    async with etcd_cluster(folder / "etcd") as cluster:
        yield {
            "sqlite": (lambda: sqlite.open_store(folder / "store.db", clock), lambda: 0.0),
            "etcd": (lambda: etcd.open_store(cluster.servers, clock), lambda: member_seconds(cluster)),
        }


def member_seconds(cluster: EtcdCluster) -> float:
    process = cluster.members[0].process
    assert process is not None
    return apiserver.cpu_seconds(process.pid)


async def measure_writes(folder: Path) -> None:
    async with stores(folder) as kinds:
        for name, (opened, others) in kinds.items():
            async with await opened() as store:
                for clients in CLIENTS:
                    each = 500 if clients == 1 else 16_000 // clients
                    cpu, other, wall = time.process_time(), others(), time.perf_counter()
                    await asyncio.gather(*(write(store, f"{clients}-{at}", each) for at in range(clients)))
                    total, wall = each * clients, time.perf_counter() - wall
                    cpu, other = (time.process_time() - cpu) / total, (others() - other) / total
                    print(
                        f"{name}: durable put, {clients:>3} clients {total / wall:>9.0f}/s {cpu * 1e6:>7.0f} µs CPU"
                        + (f", etcd itself {other * 1e6:.0f} µs" if other else "")
                    )


async def write(store: Store, name: str, count: int) -> None:
    for number in range(count):
        await store.put(f"/registry/bench/{name}/{number}", VALUE, expected_revision=0)


async def measure_compaction(folder: Path) -> None:
    """16 clients write over and over; after a while, everything before is compacted: of 100,000 objects each but a few
    has been changed once, and a thousand of them sixty times."""
    async with stores(folder) as kinds:
        for name, (opened, _) in kinds.items():
            async with await opened() as store:
                for number in range(0, 2 * OBJECTS + 60_000, 500):
                    # The newer revisions lie as far from the older ones as they do after a day.
                    keys = OBJECTS if number < 2 * OBJECTS else 1_000
                    await asyncio.gather(
                        *(store.put(f"/registry/churn/{at % keys}", VALUE) for at in range(number, number + 500))
                    )
                churn = Churn(store)
                writers = [asyncio.create_task(churn.run(at)) for at in range(16)]
                await asyncio.sleep(3)
                churn.is_compacting = True
                began = time.perf_counter()
                await store.compact(await store.current_revision())
                took = time.perf_counter() - began
                # etcd answers at once and goes on behind it.
                await asyncio.sleep(max(0.0, 1 - took))
                churn.is_over = True
                await asyncio.gather(*writers)
                for during, what in ((False, "before"), (True, f"in the second of a compaction ({took:.2f} s)")):
                    ordered = sorted(churn.waits[during])
                    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
                    print(
                        f"{name}: a write {what}: p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, {len(ordered)} writes"
                    )


class Churn:
    """Writers, and how long each write took, before a compaction and from then on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.waits: dict[bool, list[float]] = {False: [], True: []}
        self.is_compacting = False
        self.is_over = False

    async def run(self, writer: int) -> None:
        while not self.is_over:
            began, during = time.perf_counter(), self.is_compacting
            await self._store.put(f"/registry/churn/{writer}", VALUE)
            self.waits[during].append(time.perf_counter() - began)
            await asyncio.sleep(0.002)


async def measure_start(folder: Path) -> None:
    """An API server that starts over 100,000 pods, each on one of 1,000 nodes: until it is ready."""
    keys = pki.ensure_cluster_pki(folder / "pki", SystemClock().now())
    stored = await stored_pod(folder / "one", keys)
    async with stores(folder) as kinds:
        for name, (opened, _) in kinds.items():
            async with await opened() as store:
                for start in range(0, OBJECTS, 1_000):
                    await asyncio.gather(
                        *(
                            store.put(
                                f"/registry/pods/n-{at % 50}/web-{at:06}",
                                stored.replace(b"web-74b97b66ff-00001", b"web-%06d" % at).replace(
                                    b'"spec":{',
                                    b'"spec":{"nodeName":"node-%d","serviceAccountName":"web",' % (at % 1_000),
                                ),
                            )
                            for at in range(start, start + 1_000)
                        )
                    )
            began, cpu = time.perf_counter(), time.process_time()
            with event_loop.taking_in():
                store = await opened()
                given = config(keys, name == "etcd")
                api = await assembly.start(store, given, SystemClock(), random.Random(), Registry())
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            print(f"{name}: start over {OBJECTS} pods of {len(stored)} bytes: {took:.2f} s, {cpu:.2f} s CPU")
            await api.close()
            await store.close()


async def stored_pod(path: Path, keys: pki.ClusterPKI) -> bytes:
    """A pod as it stands in a store."""
    async with await sqlite.open_store(path / "store.db", SystemClock()) as store:
        api = await assembly.start(store, config(keys, False), SystemClock(), random.Random(), Registry())
        from keelback.component.http import Request
        from keelback.testing.api import ADMINISTRATOR

        headers = {"content-type": "application/json"}
        made = await api.handle(Request("POST", apiserver.BASE, "", headers, VALUE, identity=ADMINISTRATOR))
        assert made.status == 201, made.content()
        found = await store.get("/registry/pods/default/web-74b97b66ff-00001")
        await api.close()
    assert found is not None
    return found.value


def config(keys: pki.ClusterPKI, is_shared: bool) -> assembly.APIServerConfig:
    return assembly.APIServerConfig(
        client_ca_pem=keys.ca.certificate_pem,
        service_account_key_pem=keys.service_account.key_pem,
        kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
        kubelet_client_key=keys.apiserver_kubelet_client.key_path,
        kubelet_ca_pem=keys.ca.certificate_pem,
        endpoint=("192.0.2.1", 6443),
        disable_admission_plugins=("ServiceAccount",),
        store_is_shared=is_shared,
    )


def begin(home: Path, servers: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], int]:
    """A server in a process of its own, and its port."""
    home.mkdir()
    script = Path(__file__).with_name("apiserver_process.py")
    server = subprocess.Popen([sys.executable, str(script), str(home), "true", *servers], stdout=subprocess.PIPE)
    assert server.stdout is not None
    return server, int(server.stdout.readline())


async def measure_server(folder: Path) -> None:
    """Pods created by 64 clients over TLS, as `bench/apiserver.py` does with 16."""
    async with etcd_cluster(folder / "etcd") as cluster:
        for name, servers in (("sqlite", ()), ("etcd", cluster.servers)):
            home = folder / f"server-on-{name}"
            server, port = begin(home, servers)
            context = ssl.create_default_context(cafile=str(home / "pki" / "ca.crt"))
            connections = [await apiserver.Connection(port, context).open() for _ in range(SERVER_CLIENTS)]

            for what, work in (("create", create), ("get", get)):
                before, other, wall = apiserver.cpu_seconds(server.pid), member_seconds(cluster), time.perf_counter()
                parts = [range(at, PODS, SERVER_CLIENTS) for at in range(SERVER_CLIENTS)]
                await asyncio.gather(*map(work, connections, parts))
                wall = time.perf_counter() - wall
                spent = (apiserver.cpu_seconds(server.pid) - before) / PODS
                other = (member_seconds(cluster) - other) / PODS
                print(
                    f"{name}: {what} a pod, {SERVER_CLIENTS} clients: {spent * 1e3:.3f} ms CPU of the server, "
                    f"{other * 1e3:.3f} ms of etcd, {PODS / wall:.0f}/s"
                )
            server.terminate()
            await asyncio.to_thread(server.wait)


async def create(connection: apiserver.Connection, numbers: range) -> None:
    for number in numbers:
        status, body = await connection.ask("POST", apiserver.BASE, apiserver.pod(number))
        assert status == 201, body


async def get(connection: apiserver.Connection, numbers: range) -> None:
    for number in numbers:
        status, body = await connection.ask("GET", f"{apiserver.BASE}/web-74b97b66ff-{number:05d}")
        assert status == 200, body


async def main() -> None:
    measures = {
        "writes": measure_writes,
        "compaction": measure_compaction,
        "start": measure_start,
        "server": measure_server,
    }
    for name in sys.argv[1:] or measures:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            await measures[name](Path(folder))


if __name__ == "__main__":
    event_loop.run(main())
