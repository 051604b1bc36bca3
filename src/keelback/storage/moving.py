"""Moves a store from a SQLite file into an etcd, where no server has written yet.

Every object gets a new resourceVersion, above all that the file's store has given out; older ones are Gone. So clients
that were connected before list once more and go on; nothing else tells them. Times to live go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from keelback.storage import etcd_snapshots
from keelback.storage._proto import etcd_pb2 as pb
from keelback.storage.embedded import EmbeddedStore
from keelback.storage.etcd import DEADLINE_SECONDS, EtcdStore
from keelback.storage.protocol import KeyValue, Unavailable

AT_ONCE = 64
PAGE_KEYS = 1_000

Tell = Callable[[int, int], None]
"""Called with how many keys have been moved, and of how many."""


async def move(source: EmbeddedStore, target: EtcdStore, now: datetime, tell: Tell) -> tuple[int, int]:
    """Move everything; how many keys, and the revision that the target goes on from. Raises StorageError.

    Until all is done the target says that it is unfinished, and no API server starts on it. A move that was cut short
    is done again from the beginning.
    """
    revision = await source.current_revision()
    await _begin(target)
    before = await target.current_revision() - target.keys.offset
    moved, start = 0, ""
    while True:
        page = await source.range("", start=start, limit=PAGE_KEYS)
        total = moved + page.count
        for at in range(0, len(page.kvs), AT_ONCE):
            await _put(source, target, page.kvs[at : at + AT_ONCE], now)
        moved += len(page.kvs)
        tell(moved, total)
        if not page.more:
            break
        start = page.kvs[-1].key + "\0"
    # So the first key that was moved has a revision above all that the source has given out.
    goes_on = await etcd_snapshots.begin_anew(target, max(revision - before, 0))
    await _ask(target, pb.DeleteRangeRequest(key=target.keys.unfinished_key), "DeleteRange", pb.DeleteRangeResponse)
    return moved, goes_on


async def _begin(target: EtcdStore) -> None:
    keys = target.keys
    marker = await _ask(target, pb.RangeRequest(key=keys.unfinished_key), "Range", pb.RangeResponse)
    if not marker.kvs and (await target.range("", limit=1)).count:
        raise Unavailable(f"there are keys below {keys.outside} in this etcd already")
    await _ask(target, pb.PutRequest(key=keys.unfinished_key), "Put", pb.PutResponse)
    first, end = keys.range("")
    await _ask(target, pb.DeleteRangeRequest(key=first, range_end=end), "DeleteRange", pb.DeleteRangeResponse)


async def _put(source: EmbeddedStore, target: EtcdStore, kvs: Sequence[KeyValue], now: datetime) -> None:
    async with asyncio.TaskGroup() as writes:
        for kv in kvs:
            ends = source.ends_at(kv.key)
            if ends is not None and ends <= now.timestamp():
                continue
            left = None if ends is None else ends - now.timestamp()
            writes.create_task(target.put(kv.key, kv.value, expected_revision=0, ttl_seconds=left))


async def _ask(target: EtcdStore, request: Any, verb: str, answer: Any) -> Any:
    return await target.ask(f"/etcdserverpb.KV/{verb}", request, answer, DEADLINE_SECONDS, may_repeat=True)
