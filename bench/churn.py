"""What a day of a busy cluster leaves on the disk, compressed in time: SQLite and etcd.

    python bench/churn.py [hours] [nodes] [sqlite] [etcd]

Per node: a Lease every ten seconds, the node's status every five minutes, thirty pods of which twenty are replaced a
day, each by six writes, six Events that live for an hour and two changes of an EndpointSlice of a hundred endpoints.
The clock is one that only this script moves; the store is compacted by it as the API server does it (SQLite: every
minute what is older than five, etcd: every five minutes). Events are deleted by this clock too, where stores do it by
their own. A day of 100 nodes is a million writes: some minutes with either. The default is two hours of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from keelback.component import event_loop
from keelback.concurrency.clock import SystemClock
from keelback.storage import compaction, etcd, sqlite
from keelback.storage.compaction import Sample
from keelback.storage.protocol import Store
from keelback.testing.etcd import etcd_cluster

TICK_SECONDS = 10
DAY_SECONDS = 24 * 3600
ETCD_COMPACTION_SECONDS = 300
PODS_PER_NODE = 30
REPLACED_PER_DAY = 20
LEASE, NODE, POD, EVENT, SLICE = 480, 5_200, 3_400, 900, 11_000
"""How large objects of each kind are, in bytes."""
_STEPS = (POD - 600, POD - 570, POD - 300, POD, POD)
"""A pod created, bound, started, ready, ending."""

Put = tuple[str, int]
"""A key, and how large what is written to it is; nothing is a deletion."""


def writes(tick: int, nodes: int) -> Iterator[Put]:
    """What is written in one tick, in the order of its keys' histories."""
    seconds = tick * TICK_SECONDS
    for node in range(nodes):
        yield f"/registry/leases/kube-node-lease/node-{node:04}", LEASE
        if (seconds + node * TICK_SECONDS) % 300 == 0:
            yield f"/registry/minions/node-{node:04}", NODE
    every = DAY_SECONDS / (REPLACED_PER_DAY * nodes)
    for number in range(int(seconds / every), int((seconds + TICK_SECONDS) / every)):
        old = f"/registry/pods/default/pod-{number:08}"
        new = f"/registry/pods/default/pod-{number + PODS_PER_NODE * nodes:08}"
        yield old, _STEPS[-1]
        yield old, 0
        for size in _STEPS[:4]:
            yield new, size
        for event in range(6):
            yield f"/registry/events/default/pod-{number:08}.{event}", EVENT
        for _ in range(2):
            yield f"/registry/endpointslices/default/slice-{number % (PODS_PER_NODE * nodes) // 100:04}", SLICE
    # Events end after an hour.
    hour_ago = seconds - 3600
    if hour_ago >= 0:
        for number in range(int(hour_ago / every), int((hour_ago + TICK_SECONDS) / every)):
            for event in range(6):
                yield f"/registry/events/default/pod-{number:08}.{event}", 0


class Churn:
    """One store's days."""

    def __init__(self, store: Store, folder: Path, *, is_etcd: bool) -> None:
        self._store = store
        self._folder = folder
        self._is_etcd = is_etcd
        self._samples: deque[Sample] = deque()
        self._compacted = 0
        self._before = 0
        self.largest = (0, 0)
        """The most that the database, and that its folder with all logs, took."""
        self.count = 0

    async def run(self, hours: float, nodes: int) -> None:
        await self._together((f"/registry/pods/default/pod-{at:08}", POD) for at in range(PODS_PER_NODE * nodes))
        for tick in range(int(hours * 3600 / TICK_SECONDS)):
            await self._together(writes(tick, nodes))
            await self._compact(tick * TICK_SECONDS)

    async def _together(self, puts: Iterator[Put]) -> None:
        """What is of one key one after the other, all else at once."""
        by_key: dict[str, list[int]] = {}
        for key, size in puts:
            by_key.setdefault(key, []).append(size)
            self.count += 1
        waiting = asyncio.Semaphore(500)

        async def write(key: str, sizes: list[int]) -> None:
            async with waiting:
                for size in sizes:
                    await (self._store.put(key, _value(key, size, self.count)) if size else self._store.delete(key))

        await asyncio.gather(*(write(key, sizes) for key, sizes in by_key.items()))

    async def _compact(self, seconds: int) -> None:
        revision = await self._store.current_revision()
        target = 0
        if self._is_etcd:
            if seconds % ETCD_COMPACTION_SECONDS == 0:
                target, self._before = self._before, revision
        elif seconds % compaction.CHECK_SECONDS == 0:
            now = Sample(seconds, revision)
            target = compaction.plan(self._samples, now)
            self._samples.append(now)
        if target > self._compacted:
            await self._store.compact(target)
            self._compacted = target
        if seconds % ETCD_COMPACTION_SECONDS == 0:
            self.largest = max(self.largest[0], await self._store.size_bytes()), max(self.largest[1], self.on_disk())

    def on_disk(self) -> int:
        """All of the folder's files, as they take room."""
        return sum(one.stat().st_blocks * 512 for one in self._folder.rglob("*") if one.is_file())


def _value(key: str, size: int, number: int) -> bytes:
    """Bytes that differ from one write to the next, as objects do in versions and times."""
    head = b"%s %d " % (key.encode(), number)
    return head + b"x" * (size - len(head))


async def measure(name: str, hours: float, nodes: int, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        opened: Callable[[], Awaitable[Store]]
        if name == "etcd":
            cluster = await stack.enter_async_context(etcd_cluster(folder))
            opened = lambda: etcd.open_store(cluster.servers, SystemClock())  # noqa: E731
        else:
            opened = lambda: sqlite.open_store(folder / "store.db", SystemClock())  # noqa: E731
        store = await stack.enter_async_context(await opened())
        churn = Churn(store, folder, is_etcd=name == "etcd")
        wall, cpu = time.perf_counter(), time.process_time()
        await churn.run(hours, nodes)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        held = await store.range("/registry/", limit=1)
        each = cpu / churn.count * 1e6
        print(
            f"{name}: {hours:g} hours of {nodes} nodes, {churn.count} writes in {wall:.0f} s, {each:.0f} µs CPU each; "
            f"{held.count} objects are left"
        )
        at_most = [size / 1e6 for size in churn.largest]
        for what, size, most in zip(
            ("the database", "the folder, with all logs"),
            (await store.size_bytes() / 1e6, churn.on_disk() / 1e6),
            at_most,
            strict=True,
        ):
            print(f"{name}: {what} {most:.1f} MB at its largest, {size:.1f} MB in the end")


async def main(arguments: list[str]) -> None:
    numbers = [float(one) for one in arguments if one[0].isdigit()]
    hours, nodes = numbers[0] if numbers else 2.0, int(numbers[1]) if len(numbers) > 1 else 100
    for name in [one for one in arguments if not one[0].isdigit()] or ["sqlite", "etcd"]:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            await measure(name, hours, nodes, Path(folder))


if __name__ == "__main__":
    event_loop.run(main(sys.argv[1:]))
