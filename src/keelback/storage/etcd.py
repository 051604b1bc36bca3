"""The store for more than one API server: etcd 3.4 or later, by its v3 API, with keys as Kubernetes lays them out.

Reads are agreed on by a majority. A request that surely was not begun is sent again, until its deadline. A write whose
fate is unknown is looked into; where that cannot tell it raises `OutcomeUnknown`. None is ever done twice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, Self, TypeVar

import grpc.aio

from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.storage._proto import etcd_pb2 as pb
from keelback.storage.etcd_endpoints import (
    Endpoints,
    Failure,
    GivenUp,
    TLSFiles,
    failure_of,
    is_own_end,
    is_unreachable,
)
from keelback.storage.etcd_keys import KeySpace
from keelback.storage.etcd_watch import EtcdWatch, key_value
from keelback.storage.protocol import (
    Compacted,
    CompareFailed,
    Event,
    FutureRevision,
    KeyValue,
    OutcomeUnknown,
    Overloaded,
    Page,
    RangeResult,
    StorageError,
    TooLarge,
    Unavailable,
)

DEADLINE_SECONDS = 10.0
READ_ATTEMPT_SECONDS = 2.0
RETRY_SECONDS = 0.1
MAX_WRITES = 5_000
WRITE_ATTEMPTS = 4
"""How often a write is sent that has not happened, each time after the fence has been moved."""
PAGE_KEYS = 1_000
STALLED_SECONDS = 5.0
CLOSED = "the store is closed"

_RANGE = "/etcdserverpb.KV/Range"
_PUT = "/etcdserverpb.KV/Put"
_TXN = "/etcdserverpb.KV/Txn"
_COMPACT = "/etcdserverpb.KV/Compact"
_LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant"
_WATCH = "/etcdserverpb.Watch/Watch"
_STATUS = "/etcdserverpb.Maintenance/Status"

T = TypeVar("T")

log = logger("etcd")


async def open_store(
    servers: tuple[str, ...],
    clock: Clock,
    *,
    keys: KeySpace | None = None,
    tls: TLSFiles | None = None,
    may_be_unfinished: bool = False,
    patience_seconds: float = DEADLINE_SECONDS,
) -> EtcdStore:
    """A store in the cluster that these members belong to. Waits for them for so long, here and later.

    Raises `Unavailable` when none answers in time, and for a store that `moving` has not finished.
    """
    endpoints = Endpoints(servers, tls or TLSFiles(), clock)
    store = EtcdStore(endpoints, keys or KeySpace(), clock, patience_seconds=patience_seconds)
    try:
        await store.begin(may_be_unfinished=may_be_unfinished)
    except BaseException:
        await store.close()
        raise
    return store


class EtcdStore:
    """`Store` over etcd. Made by `open_store`."""

    def __init__(
        self, endpoints: Endpoints, keys: KeySpace, clock: Clock, *, patience_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self.endpoints = endpoints
        self._patience_seconds = patience_seconds
        self._keys = keys
        self._clock = clock
        self._fence = 0
        """The revision of the fence, as etcd counts."""
        self._writes: set[asyncio.Task[Any]] = set()
        self._watches: dict[EtcdWatch, None] = {}
        self._reading: asyncio.Task[int] | None = None
        self._next_reading: asyncio.Task[int] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_closed = False

    @property
    def keys(self) -> KeySpace:
        """Where its keys are."""
        return self._keys

    async def begin(self, *, may_be_unfinished: bool = False) -> None:
        """Learn how revisions are counted, then watch over the members."""
        marker = await self._read(pb.RangeRequest(key=self._keys.unfinished_key))
        if marker.kvs and not may_be_unfinished:
            raise Unavailable("a store was being moved to this etcd, and that was not finished: move it again")
        answer = await self._read(pb.RangeRequest(key=self._keys.offset_key))
        if answer.kvs:
            self._keys = replace(self._keys, offset=int(answer.kvs[0].value))
        fence = await self._read(pb.RangeRequest(key=self._keys.fence_key))
        self._fence = fence.kvs[0].mod_revision if fence.kvs else 0
        for work in (self.endpoints.run, self._watch_over_watches):
            self._tasks.append(asyncio.get_running_loop().create_task(work()))

    # Reading.

    async def current_revision(self) -> int:
        self._check_open()
        # Who comes while one reads shares the next reading: the one under way may be older than the question.
        if self._next_reading is None:
            self._next_reading = asyncio.get_running_loop().create_task(self._read_revision(self._reading))
            self._next_reading.add_done_callback(_retrieved)
        return await asyncio.shield(self._next_reading) + self._keys.offset

    async def get(self, key: str) -> KeyValue | None:
        self._check_open()
        answer = await self._read(pb.RangeRequest(key=self._keys.key(key)))
        return key_value(answer.kvs[0], key, self._keys.offset) if answer.kvs else None

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        self._check_open()
        while True:
            try:
                return await self._range_at(prefix, start, limit, revision)
            except Compacted:
                if revision:
                    raise
                # A compaction overtook the reading of the pages.

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        self._check_open()
        offset = self._keys.offset
        first, end = self._keys.range(prefix)
        at = 0
        while True:
            kvs, answer = await self._page(first, end, PAGE_KEYS, at, at + offset)
            at = at or answer.header.revision
            yield Page(kvs, at + offset)
            if not answer.more:
                return
            first = answer.kvs[-1].key + b"\0"

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> EtcdWatch:
        self._check_open()
        # What this process is yet to write comes after all that it has heard of.
        begin = from_revision - self._keys.offset if from_revision else self.endpoints.revision + 1
        watch = EtcdWatch(
            self.endpoints,
            self._keys,
            self._clock,
            prefix,
            begin,
            with_previous=with_previous,
            forget=lambda one: self._watches.pop(one, None),
        )
        self._watches[watch] = None
        return watch

    # Writing.

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        self._check_open()
        return await self._finished(self._put(key, value, expected_revision, ttl_seconds))

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        self._check_open()
        return await self._finished(self._delete(key, expected_revision))

    async def compact(self, revision: int) -> None:
        self._check_open()
        offset = self._keys.offset
        # It does no harm twice: what fails is tried again, and a second answer tells the same.
        await self.ask(
            _COMPACT,
            pb.CompactionRequest(revision=revision - offset),
            pb.CompactionResponse,
            READ_ATTEMPT_SECONDS,
            may_repeat=True,
            revision=revision,
        )

    async def size_bytes(self) -> int:
        self._check_open()
        request = pb.StatusRequest()
        answer = await self.ask(_STATUS, request, pb.StatusResponse, READ_ATTEMPT_SECONDS, may_repeat=True)
        return int(answer.db_size)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._writes:
            await asyncio.wait(list(self._writes))
        for watch in list(self._watches):
            watch.fail(CLOSED)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.endpoints.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # How a write is written.

    async def _put(self, key: str, value: bytes, expected: int | None, ttl_seconds: float | None) -> int:
        where = self._keys.key(key)
        lease = 0
        if ttl_seconds is not None:
            # A lease of its own: keys that end by one lease are deleted at one revision, and a watch that ends between
            # the events of a revision could not go on from there.
            grant = pb.LeaseGrantRequest(TTL=max(1, math.ceil(ttl_seconds)))
            granted = await self.ask(_LEASE_GRANT, grant, pb.LeaseGrantResponse, READ_ATTEMPT_SECONDS, may_repeat=True)
            lease = granted.ID
        change = pb.RequestOp(request_put=pb.PutRequest(key=where, value=value, lease=lease))
        answer = await self._transact(key, where, expected, change, value)
        return int(answer.header.revision) + self._keys.offset

    async def _delete(self, key: str, expected: int | None) -> tuple[int, KeyValue | None]:
        where = self._keys.key(key)
        change = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=where, prev_kv=True))
        answer = await self._transact(key, where, expected, change, None)
        before = answer.responses[0].response_delete_range.prev_kvs
        offset = self._keys.offset
        return int(answer.header.revision) + offset, key_value(before[0], key, offset) if before else None

    async def _transact(self, key: str, where: bytes, expected: int | None, change: Any, value: bytes | None) -> Any:
        """Do the change if the key is at the expected revision; `value` is what it writes. Raises CompareFailed.

        Every change is under the condition that nobody has moved the fence. When the fate of one is unknown the fence
        is moved: what has not happened by then never will, and what has is among the events since.
        """
        own = None if expected is None else self._own_revision(expected)
        for _ in range(WRITE_ATTEMPTS):
            fence, since = self._fence, self.endpoints.revision
            request = self._fenced(where, own, change, fence)
            try:
                answer = await self.ask(_TXN, request, pb.TxnResponse, DEADLINE_SECONDS, may_repeat=False)
            except OutcomeUnknown as unknown:
                happened = await self._look_into(fence, since, key, value, unknown)
                if happened is None:
                    continue
                return pb.TxnResponse(header=pb.ResponseHeader(revision=happened.kv.mod_revision - self._keys.offset))
            if answer.succeeded:
                return answer
            moved = answer.responses[1].response_range.kvs
            there = moved[0].mod_revision if moved else 0
            if there == fence:
                found = answer.responses[0].response_range.kvs
                raise CompareFailed(key, key_value(found[0], key, self._keys.offset) if found else None)
            self._fence = max(self._fence, there)
        # Each attempt is known not to have happened.
        raise Unavailable(f"the write was begun {WRITE_ATTEMPTS} times, and members went away")

    def _fenced(self, where: bytes, own: int | None, change: Any, fence: int) -> Any:
        fence_key = self._keys.fence_key
        compare = [pb.Compare(target=pb.Compare.MOD, key=fence_key, mod_revision=fence)]
        if own is not None:
            compare.append(pb.Compare(target=pb.Compare.MOD, key=where, mod_revision=own))
        looks = [pb.RequestOp(request_range=pb.RangeRequest(key=one)) for one in (where, fence_key)]
        return pb.TxnRequest(compare=compare, success=[change], failure=looks)

    async def _look_into(
        self, fence: int, since: int, key: str, value: bytes | None, unknown: OutcomeUnknown
    ) -> Event | None:
        """What a write did that was sent under a fence, after a revision: its event, or None for nothing, ever.

        Raises the given error where that cannot be told: of a deletion (no value) another may be the author.
        """
        try:
            if self._fence <= fence:
                request = pb.PutRequest(key=self._keys.fence_key)
                moved = await self.ask(_PUT, request, pb.PutResponse, READ_ATTEMPT_SECONDS, may_repeat=True)
                self._fence = max(self._fence, moved.header.revision)
            event = await self._event_between(since, self._fence, key, value)
        except (TimeoutError, StorageError) as error:
            raise unknown from error
        if event is not None and value is None:
            raise unknown
        return event

    async def _event_between(self, since: int, until: int, key: str, value: bytes | None) -> Event | None:
        """The first event of a key that wrote this value, or with None that deleted it. Raises StorageError and
        TimeoutError."""
        watch = self.watch("", since + 1 + self._keys.offset, with_previous=False)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                async for batch in watch:
                    for event in batch.events:
                        is_it = event.type == "delete" if value is None else event.kv.value == value
                        if is_it and event.kv.key == key:
                            return event
                    if batch.revision - self._keys.offset >= until:
                        break
        finally:
            watch.close()
        return None

    def _own_revision(self, revision: int) -> int:
        """As etcd counts; 0 stays what it says, that there is no key, and none is what was never counted."""
        return max(revision - self._keys.offset, 0) or -1 if revision else 0

    async def _finished(self, write: Coroutine[Any, Any, T]) -> T:
        """Let the write go on when its caller is cancelled, and let `close` wait for it."""
        if len(self._writes) >= MAX_WRITES:
            write.close()
            raise Overloaded(f"{len(self._writes)} writes are waiting")
        task = asyncio.get_running_loop().create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        task.add_done_callback(_retrieved)
        return await asyncio.shield(task)

    # How a read is read.

    async def _read(self, request: Any, revision: int = 0) -> Any:
        return await self.ask(
            _RANGE, request, pb.RangeResponse, READ_ATTEMPT_SECONDS, may_repeat=True, revision=revision
        )

    async def _read_revision(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait((before,))
        self._reading, self._next_reading = self._next_reading, None
        answer = await self._read(pb.RangeRequest(key=self._keys.offset_key, count_only=True))
        return int(answer.header.revision)

    async def _range_at(self, prefix: str, start: str, limit: int, revision: int) -> RangeResult:
        """In pages that are read at one revision: a whole resource in one message would stop everybody."""
        offset = self._keys.offset
        first, end = self._keys.range(prefix, start)
        at = revision - offset if revision else 0
        if revision and at <= 0:
            # From before the store was moved here.
            raise Compacted(revision, offset + 1)
        kvs: list[KeyValue] = []
        total = 0
        while True:
            size = min(limit - len(kvs), PAGE_KEYS) if limit else PAGE_KEYS
            found, answer = await self._page(first, end, size, at, revision or at + offset)
            kvs += found
            at = at or answer.header.revision
            total = total or answer.count
            if not answer.more or (limit and len(kvs) >= limit):
                return RangeResult(kvs, total, total > len(kvs), at + offset)
            first = answer.kvs[-1].key + b"\0"

    async def _page(self, first: bytes, end: bytes, size: int, at: int, asked: int) -> tuple[list[KeyValue], Any]:
        """The keys of one answer, read at etcd's revision `at` (0: now), and the answer; `asked` is what is told of a
        revision that cannot be read."""
        request = pb.RangeRequest(key=first, range_end=end, limit=size, revision=at)
        answer = await self._read(request, asked)
        named = ((kv, self._keys.name(kv.key)) for kv in answer.kvs)
        return [key_value(kv, name, self._keys.offset) for kv, name in named if name is not None], answer

    # Asking.

    async def ask(
        self, method: str, request: Any, answer: Any, seconds: float, *, may_repeat: bool, revision: int = 0
    ) -> Any:
        """Ask until there is an answer, the deadline is over, or a failure is final. `seconds` is for one attempt."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_seconds
        while True:
            endpoint = self.endpoints.current
            left = deadline - loop.time()
            try:
                return await self.endpoints.call(method, request, answer, min(seconds, max(left, 0.01)))
            except GivenUp as error:
                if not may_repeat:
                    raise OutcomeUnknown(str(error)) from error
                why = str(error)
            except grpc.aio.AioRpcError as error:
                why = error.details() or str(error.code())
                if is_unreachable(error):
                    self.endpoints.leave(endpoint)
                failure = failure_of(error)
                if failure is not Failure.NOT_BEGUN and not (may_repeat and failure is Failure.UNKNOWN):
                    raise await self._final(failure, why, revision) from error
            if self._is_closed or loop.time() + RETRY_SECONDS >= deadline:
                raise Unavailable(f"etcd does not answer: {why}")
            # Real time, as the deadlines are: no clock of a test's makes etcd come back.
            await asyncio.sleep(RETRY_SECONDS)

    async def _final(self, failure: Failure, details: str, revision: int) -> Exception:
        match failure:
            case Failure.COMPACTED:
                return Compacted(revision, await self._compact_revision() + self._keys.offset)
            case Failure.FUTURE:
                return FutureRevision(revision, await self.current_revision())
            case Failure.OVERLOADED:
                return Overloaded(details)
            case Failure.TOO_LARGE:
                return TooLarge(details)
            case Failure.REFUSED:
                return Unavailable(details)
            case _:
                return OutcomeUnknown(details)

    async def _compact_revision(self) -> int:
        """Where etcd was compacted, of its own revisions. It tells a watch that begins before that."""
        _, call = self.endpoints.stream(_WATCH, pb.WatchResponse)
        request = pb.WatchCreateRequest(key=b"\0", start_revision=1)
        try:
            async with asyncio.timeout(READ_ATTEMPT_SECONDS):
                await call.write(pb.WatchRequest(create_request=request))
                while (answer := await call.read()) is not grpc.aio.EOF:
                    if answer.compact_revision:
                        return int(answer.compact_revision)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            raise Unavailable(f"etcd does not answer: {error}") from error
        except asyncio.CancelledError as error:
            if is_own_end():
                raise
            raise Unavailable("the etcd member was left") from error
        finally:
            call.cancel()
        raise Unavailable("etcd ended a stream")

    # Watching over the watches.

    async def _watch_over_watches(self) -> None:
        """A stream may be dead without saying so: one that hears nothing of what is known to have happened is left."""
        before: dict[EtcdWatch, tuple[int, int]] = {}
        while True:
            await self._clock.sleep(STALLED_SECONDS)
            there = self.endpoints.revision
            for watch, (heard, wanted) in before.items():
                if watch.is_waiting and watch.heard == heard < wanted:
                    log.warning("A watch of etcd heard nothing for too long", heard=heard, revision=wanted)
                    watch.reconnect()
            before = {watch: (watch.heard, there) for watch in self._watches if watch.is_whole}

    # Checks.

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable(CLOSED)


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Who asked may be gone: then nobody else hears how it ended."""
    if not task.cancelled():
        task.exception()
