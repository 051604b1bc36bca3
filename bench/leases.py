"""Lease renewals, compressed in time: what a day of 1,000 nodes leaves on the disk.

    python bench/leases.py [hours] [nodes]

Each node renews every ten seconds of a clock that only this script moves; the store is compacted as the API server
does it, by that clock. Twenty-four hours are 8.6 million durable writes and take some minutes: the default is two.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from keelback.component import event_loop
from keelback.concurrency.clock import SystemClock
from keelback.storage import compaction, sqlite
from keelback.storage.compaction import Sample

RENEW_SECONDS = 10
LEASE = (
    b'{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"node-%04d","namespace":'
    b'"kube-node-lease","uid":"8a1f1f8e-6a53-4b7e-9a53-0b6a5d7c9e11","creationTimestamp":"2026-01-01T00:00:00Z",'
    b'"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"node-%04d","uid":"b8b6f4a2-5d0e-4f42-8f57-2b3c4d5e6f70"}]'
    b'},"spec":{"holderIdentity":"node-%04d","leaseDurationSeconds":40,"renewTime":"2026-01-01T00:00:%09.6fZ"}}'
)


def megabytes(folder: Path) -> float:
    return sum(one.stat().st_size for one in folder.iterdir()) / 1e6


async def main(hours: float, nodes: int, folder: Path) -> None:
    store = await sqlite.open_store(folder / "store.db", SystemClock())
    samples: deque[Sample] = deque()
    compacted, largest = await store.current_revision(), 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    rounds = int(hours * 3600 / RENEW_SECONDS)
    for number in range(rounds):
        seconds = number * RENEW_SECONDS
        if seconds % compaction.CHECK_SECONDS == 0:
            now = Sample(seconds, await store.current_revision())
            target = compaction.plan(samples, now)
            samples.append(now)
            if target > compacted:
                await store.compact(target)
                compacted = target
            largest = max(largest, megabytes(folder))
        await asyncio.gather(
            *(
                store.put(f"/registry/leases/kube-node-lease/node-{node:04}", LEASE % (node, node, node, seconds % 60))
                for node in range(nodes)
            )
        )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await store.close()
    writes = rounds * nodes
    print(f"{hours:g} hours of {nodes} nodes: {writes} renewals in {wall:.0f} s, {cpu / writes * 1e6:.1f} µs CPU each")
    print(f"SQLite files: {largest:.1f} MB at their largest, {megabytes(folder):.1f} MB when closed   (aim: 50)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        hours = float(sys.argv[1]) if len(sys.argv) > 1 else 2
        nodes = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
        event_loop.run(main(hours, nodes, Path(folder)))
