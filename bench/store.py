"""CPU time of the store and the watch cache, without HTTP and TLS: `python bench/store.py`."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop

from keelback.apiserver.watch_cache import ListOptions, WatchCache, WatchOptions
from keelback.apiserver.watch_feed import CacheFeed
from keelback.apiserver.watch_selection import Selection
from keelback.apiserver.watch_stream import Watcher
from keelback.apiserver.watch_wire import CachedResource
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory, sqlite
from keelback.storage.protocol import Store

PODS = 8_300
PREFIX = "/registry/pods/"


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _PodFields(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


RESOURCE = CachedResource(
    prefix=PREFIX,
    kind="Pod",
    api_version="v1",
    field_type=_PodFields,
    fields=lambda pod: {"spec.nodeName": pod.spec.node_name},
    indexed_fields=("spec.nodeName",),
)


def pod(number: int) -> bytes:
    """About 2.6 KB, as a running pod is."""
    padding = ",".join(f'"annotation-{at}.example.com/of-some-length":"{number:032}"' for at in range(24))
    return (
        f'{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"web-{number:05}","namespace":"ns-{number % 20}",'
        f'"labels":{{"app":"app-{number % 100}","pod-template-hash":"{number % 300}"}},"annotations":{{{padding}}}}},'
        f'"spec":{{"nodeName":"node-{number % 200}","containers":[{{"name":"c","image":"i"}}]}},'
        f'"status":{{"phase":"Running"}}}}'
    ).encode()


def key(number: int) -> str:
    return f"{PREFIX}ns-{number % 20}/web-{number:05}"


def equals(name: str, value: str) -> Selection:
    return Selection(f"{name}={value}", lambda values: values.get(name) == value, ((name, frozenset((value,))),))


async def measure(what: str, times: int, work: Callable[[], Awaitable[object]], per: int = 1) -> None:
    await work()
    gc.collect()
    best = float("inf")
    for _ in range(3):
        cpu = time.process_time()
        for _ in range(times):
            await work()
        best = min(best, (time.process_time() - cpu) / times / per)
    print(f"{what:<62} {best * 1e6:10.1f} µs CPU")


async def measure_writes(name: str, store: Store) -> None:
    for writers in (1, 16, 64):
        each = 4_000 // writers if writers > 1 else 500
        cpu, wall = time.process_time(), time.perf_counter()

        async def write(writer: int, each: int = each, writers: int = writers) -> None:
            for number in range(each):
                await store.put(f"/bench/{writers}/{writer}/{number}", VALUE, expected_revision=0)

        await asyncio.gather(*(write(writer) for writer in range(writers)))
        total = each * writers
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        what, rate = f"{name}: durable put, {writers} writers", total / wall
        print(f"{what:<62} {cpu / total * 1e6:10.1f} µs CPU {rate:9.0f}/s")


VALUE = pod(1)


async def measure_start(folder: Path) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    clock = SystemClock()
    async with await sqlite.open_store(folder / "start.db", clock) as store:
        feed = CacheFeed(store, clock)
        await feed.start()
        for number in range(60):
            await feed.add(CachedResource(prefix=f"/registry/r{number}/", kind="R", api_version="v1"))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{'make a store and 60 caches':<62} {cpu * 1e3:10.1f} ms CPU, {wall * 1e3:.1f} ms")


async def measure_cache(pods: WatchCache) -> None:
    async def listed(options: ListOptions) -> bytes:
        return b"".join((await pods.list(options)).encode())

    await measure("get", 20_000, lambda: pods.get("ns-1", "web-00001"))
    await measure(f"list 500 of {PODS} (limit=500, with a snapshot)", 200, lambda: listed(ListOptions(limit=500)))
    size = len(await listed(ListOptions()))
    await measure(f"list all {PODS} ({size / 1e6:.1f} MB)", 20, lambda: listed(ListOptions()))
    await measure(f"list a namespace ({PODS // 20} pods)", 200, lambda: listed(ListOptions(namespace="ns-3")))
    absent = ListOptions(labels=equals("app", "none"))
    await measure("list by a label that no pod has", 20_000, lambda: listed(absent))
    some = ListOptions(labels=equals("app", "app-7"))
    await measure(f"list by a label that {PODS // 100} pods have", 500, lambda: listed(some))
    node = ListOptions(fields=equals("spec.nodeName", "node-7"))
    await measure(f"list the {PODS // 200} pods of a node", 500, lambda: listed(node))


async def measure_watch(store: Store, pods: WatchCache, name: str, watchers: list[Watcher], hears: int) -> None:
    delivered = 0

    async def follow(watcher: Watcher) -> None:
        nonlocal delivered
        while chunk := await watcher.next_bytes():
            delivered += chunk.count(b"\n")

    async with asyncio.TaskGroup() as group:
        for watcher in watchers:
            group.create_task(follow(watcher))
        cpu = time.process_time()
        events = 300
        for number in range(events):
            await store.put(key(number * 200), pod(number * 200))
            # A fresh read waits for the feed, so that each event is delivered by itself.
            await pods.get("none", "none")
        # No machinery but what is measured.
        while delivered < events * hears:  # noqa: ASYNC110
            await asyncio.sleep(0)
        cpu = time.process_time() - cpu
        for watcher in watchers:
            watcher.close()
    print(f"{name:<62} {cpu / events * 1e6:10.1f} µs CPU an event, {cpu / delivered * 1e6:.2f} each delivery")


async def main() -> None:
    clock = SystemClock()
    await measure_writes("memory", memory.open_store(clock))
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        async with await sqlite.open_store(Path(folder) / "write.db", clock) as store:
            await measure_writes("sqlite", store)
        await measure_start(Path(folder))
        store = await sqlite.open_store(Path(folder) / "store.db", clock)
        await asyncio.gather(*(store.put(key(number), pod(number)) for number in range(PODS)))
        await store.close()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu = time.process_time()
        store = await sqlite.open_store(Path(folder) / "store.db", clock)
        feed = CacheFeed(store, clock)
        await feed.start()
        pods = await feed.add(RESOURCE)
        cpu = time.process_time() - cpu
        print(f"{f'open the store and load {PODS} pods of {len(VALUE)} bytes':<62} {cpu * 1e3:10.1f} ms CPU")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"peak resident memory: {before >> 10} MB before, {after >> 10} MB after")
        running = asyncio.ensure_future(feed.run())
        await measure_cache(pods)
        all_pods = [await pods.watch(WatchOptions(resource_version=pods.revision)) for _ in range(300)]
        await measure_watch(store, pods, "watch: 300 watchers of all pods", all_pods, 300)
        labelled = WatchOptions(resource_version=pods.revision, labels=equals("app", "app-0"))
        selecting = [await pods.watch(labelled) for _ in range(300)]
        await measure_watch(store, pods, "watch: 300 watchers with one label selector", selecting, 300)
        of_nodes = [
            await pods.watch(
                WatchOptions(resource_version=pods.revision, fields=equals("spec.nodeName", f"node-{number}"))
            )
            for number in range(300)
        ]
        await measure_watch(store, pods, "watch: 300 watchers, each of its own node", of_nodes, 1)
        running.cancel()
        await store.close()


if __name__ == "__main__":
    uvloop.run(main())
