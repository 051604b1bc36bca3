"""Compaction of an etcd that several servers share, as Kubernetes' API servers do it: whoever comes first, for all.

Each would compact at every interval; who writes `compact_rev_key` first in an interval does, to where etcd was at the
one before. So the past stays readable for one to two intervals, and servers of Kubernetes may take part.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.storage._proto import etcd_pb2 as pb
from keelback.storage.etcd import DEADLINE_SECONDS, EtcdStore
from keelback.storage.protocol import StorageError

COMPACT_REVISION_KEY = b"compact_rev_key"
DEFAULT_INTERVAL_SECONDS = 300.0

log = logger("compaction")


@dataclass(frozen=True, slots=True)
class Turn:
    """How often the key has been written, and where etcd was then, by its own count."""

    version: int = 0
    revision: int = 0


def runner(interval_seconds: float) -> Callable[[Any, Clock], Awaitable[NoReturn]]:
    """What compacts at an interval; 0 leaves it to others."""
    return functools.partial(run, interval_seconds=interval_seconds)


async def run(store: EtcdStore, clock: Clock, *, interval_seconds: float) -> NoReturn:
    """Compact until cancelled."""
    turn = Turn()
    while True:
        await clock.sleep(interval_seconds or DEFAULT_INTERVAL_SECONDS)
        if interval_seconds:
            try:
                turn = await take_turn(store, turn)
            except StorageError as error:
                log.debug("The store was not compacted", error=str(error))


async def take_turn(store: EtcdStore, turn: Turn) -> Turn:
    """Compact if nobody has since this turn; the next one. Raises StorageError."""
    request = pb.TxnRequest(
        compare=[pb.Compare(target=pb.Compare.VERSION, key=COMPACT_REVISION_KEY, version=turn.version)],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=COMPACT_REVISION_KEY, value=str(turn.revision).encode()))],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=COMPACT_REVISION_KEY))],
    )
    answer = await store.ask("/etcdserverpb.KV/Txn", request, pb.TxnResponse, DEADLINE_SECONDS, may_repeat=False)
    if not answer.succeeded:
        found = answer.responses[0].response_range.kvs
        return Turn(found[0].version if found else 0, answer.header.revision)
    if turn.revision:
        # The first turn of a server does not know how long ago its revision was.
        await store.compact(turn.revision + store.keys.offset)
        log.debug("The store was compacted", revision=turn.revision)
    return Turn(turn.version + 1, answer.header.revision)
