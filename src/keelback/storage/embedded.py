"""A store inside this process: all is decided on the event loop, over an index in memory; a `Log` keeps the bytes.

A write is decided at once against the newest state, durable or not, and acknowledged when the log has it. Writes that
come while the log is busy form the next group. What is not durable cannot be read, watched or learned from a compare.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

from keelback.concurrency.clock import Clock
from keelback.storage.expiry import Expiry
from keelback.storage.key_index import KeyIndex, Record
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
    Unavailable,
    WatchBatch,
)

MAX_PENDING_WRITES = 20_000
MAX_PENDING_BYTES = 256 << 20
RECENT_BYTES = 1 << 20
WATCH_BATCH = 1_000
PAGE_KEYS = 500
COMPACT_STEP = 100
CLOSED = "the store is closed"


class Refused(Exception):
    """The log did not take a group and is as it was before: no space left on the device, for instance."""


class Log(Protocol):
    """Keeps values by revision. Groups are appended one at a time; it calls back on the event loop."""

    group_window_seconds: float
    """How long a group may be gathered when writes come together; 0: not at all."""

    def append(self, group: Sequence[tuple[Record, bytes]], done: Callable[[BaseException | None], None]) -> None:
        """Make the group durable, all or nothing, then call `done`; with `Refused` when nothing was changed."""
        ...

    def value(self, revision: int) -> bytes | None:
        """One value, quickly; None when there is none."""
        ...

    async def values(self, revisions: Sequence[int]) -> Mapping[int, bytes]:
        """Many values; those that do not exist are left out."""
        ...

    async def compact(self, compacted: int, dead: Sequence[int]) -> None:
        """Remember the compaction and remove values."""
        ...

    def size_bytes(self) -> int:
        """What it takes on its disk."""
        ...

    async def close(self) -> None: ...


class _Write(NamedTuple):
    record: Record
    value: bytes
    future: asyncio.Future[None]


class EmbeddedStore:
    """`Store` over a `Log`. Made by `memory.open_store` and `sqlite.open_store`, on a running event loop."""

    def __init__(self, log: Log, index: KeyIndex, clock: Clock, *, write_timeout_seconds: float = 30.0) -> None:
        self._log = log
        self._index = index
        self._clock = clock
        self._write_timeout_seconds = write_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._broken: str | None = None

        self._next_revision = index.revision + 1
        self._undurable: dict[str, _Write] = {}
        self._pending: list[_Write] = []
        self._pending_bytes = 0
        self._in_flight: list[_Write] = []
        self._flush_handle: asyncio.Handle | None = None
        self._last_flush = -math.inf
        self._last_group = 0
        self._group_end: asyncio.Future[None] | None = None

        self._recent: dict[int, bytes] = {}
        self._recent_bytes = 0
        self.held_elsewhere: Callable[[str, int], bytes | None] = _nowhere
        """What somebody else in this process has of a key at a revision, if anything: asked before the log is."""
        # Told in the order in which they came: a set's would be another in each process.
        self._watches: dict[_StoreWatch, None] = {}
        self._compacting = asyncio.Lock()
        self._expiry = Expiry(clock, self._expire)
        records, _ = index.range("", "", 0, index.revision)
        self._expiry.add(record for record in records if record.expires)

    # Reading.

    async def current_revision(self) -> int:
        self._check_open()
        return self._index.revision

    async def get(self, key: str) -> KeyValue | None:
        self._check_open()
        record = self._index.head(key)
        if record is None:
            return None
        return _key_value(record, self._value(record))

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        while True:
            self._check_open()
            at = revision or self._index.revision
            self._check_readable(at)
            records, count = self._index.range(prefix, start, limit, at)
            values = await self._values([record.revision for record in records])
            if len(values) == len(records):
                break
            # A compaction overtook the reading: an explicit revision is gone, the current one has moved on.
            self._check_readable(revision or self._index.revision)
        kvs = _key_values(records, values)
        return RangeResult(kvs, count, count > len(kvs), at)

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        self._check_open()
        at = self._index.revision
        records, _ = self._index.range(prefix, "", 0, at)
        for begin in range(0, max(len(records), 1), PAGE_KEYS):
            some = records[begin : begin + PAGE_KEYS]
            values = await self._values([record.revision for record in some])
            if len(values) < len(some):
                raise Compacted(at, self._index.compacted)
            yield Page(_key_values(some, values), at)

    def ends_at(self, key: str) -> float | None:
        """When the key's time to live ends, in seconds since the epoch; None for one that has no end."""
        record = self._index.head(key)
        return record.expires or None if record is not None else None

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> _StoreWatch:
        self._check_open()
        watch = _StoreWatch(self, prefix, from_revision or self._index.revision + 1, with_previous)
        self._watches[watch] = None
        return watch

    # Writing.

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        head = await self._compared_head(key, expected_revision)
        revision = self._next_revision
        expires = 0.0
        if ttl_seconds is not None:
            # Full seconds, so that what ends together is deleted in one group.
            expires = math.ceil(self._clock.now().timestamp() + ttl_seconds)
        created, previous = (head.create_revision, head.revision) if head else (revision, 0)
        await self._write(Record(key, revision, created, previous, expires), value)
        return revision

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        head = await self._compared_head(key, expected_revision)
        if head is None:
            return self._index.revision, None
        record = Record(key, self._next_revision, 0, head.revision)
        undurable = self._undurable.get(key)
        previous = undurable.value if undurable else self._value(head)
        await self._write(record, b"")
        return record.revision, _key_value(head, previous)

    async def compact(self, revision: int) -> None:
        async with self._compacting:
            self._check_open()
            if revision > self._index.revision:
                raise FutureRevision(revision, self._index.revision)
            if revision <= self._index.compacted:
                raise Compacted(revision, self._index.compacted)
            is_done = False
            while not is_done:
                self._check_open()
                dead, is_done = self._index.compact_step(revision, COMPACT_STEP)
                began = self._clock.monotonic()
                # The marker is durable before the first value goes: a crash in between leaves only removable values.
                await self._log.compact(revision, dead)
                # Half of the writer's time, and of the disk's, is left to writes.
                if (took := self._clock.monotonic() - began) > 0:
                    await self._clock.sleep(took)

    async def size_bytes(self) -> int:
        self._check_open()
        return self._log.size_bytes()

    async def close(self) -> None:
        if self._broken == CLOSED:
            return
        while (self._pending or self._in_flight) and self._broken is None:
            await self._end_of_group()
        self._broken = CLOSED
        self._expiry.close()
        for watch in self._watches:
            watch.wake()
        async with self._compacting:
            await self._log.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Deciding a write.

    async def _compared_head(self, key: str, expected_revision: int | None) -> Record | None:
        while True:
            self._check_open()
            if len(self._pending) >= MAX_PENDING_WRITES or self._pending_bytes >= MAX_PENDING_BYTES:
                raise Overloaded(f"{len(self._pending)} writes are waiting")
            head = self._newest(key)
            if expected_revision is None or expected_revision == (head.revision if head else 0):
                return head
            if key not in self._undurable:
                raise CompareFailed(key, _key_value(head, self._value(head)) if head else None)
            # It lost against a write that is not durable yet: wait until that is true, or was not to be.
            await self._end_of_group()

    def _newest(self, key: str) -> Record | None:
        write = self._undurable.get(key)
        if write is not None:
            return None if write.record.is_deletion else write.record
        return self._index.head(key)

    async def _write(self, record: Record, value: bytes) -> None:
        self._next_revision += 1
        write = _Write(record, value, self._loop.create_future())
        self._undurable[record.key] = write
        self._pending.append(write)
        self._pending_bytes += len(value)
        if self._flush_handle is None and not self._in_flight:
            self._schedule_flush()
        # When the caller is cancelled the write goes on: its future is cancelled with the caller and nobody is told.
        await write.future

    # The group commit.

    def _schedule_flush(self) -> None:
        """One waiting writer is not kept waiting; where writes come together, the next ones may join for a moment."""
        delay = 0.0
        if self._log.group_window_seconds and self._last_group > 1:
            delay = self._last_flush + self._log.group_window_seconds - self._loop.time()
        if delay > 0:
            self._flush_handle = self._loop.call_later(delay, self._flush)
        else:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        group, self._pending = self._pending, []
        self._pending_bytes = 0
        if not group:
            return
        self._in_flight = group
        self._last_flush = self._loop.time()
        self._last_group = len(group)
        overdue = self._loop.call_later(self._write_timeout_seconds, self._overdue, group)

        def done(error: BaseException | None) -> None:
            overdue.cancel()
            self._flushed(group, error)

        self._log.append([(write.record, write.value) for write in group], done)

    async def _end_of_group(self) -> None:
        """Return when the next group is durable or has failed."""
        if self._group_end is None:
            self._group_end = self._loop.create_future()
        await asyncio.shield(self._group_end)

    def _flushed(self, group: list[_Write], error: BaseException | None) -> None:
        self._in_flight = []
        if self._group_end is not None:
            self._group_end.set_result(None)
            self._group_end = None
        if error is not None:
            self._fail(group, error)
            return
        for write in group:
            record = write.record
            self._index.apply(record)
            self._remember(record.revision, write.value)
            if self._undurable.get(record.key) is write:
                del self._undurable[record.key]
        self._expiry.add(write.record for write in group if write.record.expires)
        # Watches first: whoever has written and looks at once mostly finds it in the caches.
        for watch in self._watches:
            watch.wake_for(group)
        for write in group:
            if not write.future.done():
                write.future.set_result(None)
        if self._pending:
            self._schedule_flush()

    def _fail(self, group: list[_Write], error: BaseException) -> None:
        """What was decided after the failed group was decided on top of it, so it fails too."""
        refused = isinstance(error, Refused)
        if not refused:
            self._broken = f"the store failed: {error}"
        for write in group:
            if not write.future.done():
                write.future.set_exception(Unavailable(str(error)) if refused else OutcomeUnknown(str(error)))
        for write in self._pending:
            if not write.future.done():
                write.future.set_exception(Unavailable(str(error)))
        self._pending = []
        self._pending_bytes = 0
        self._undurable.clear()
        self._next_revision = self._index.revision + 1
        if not refused:
            for watch in self._watches:
                watch.wake()

    def _overdue(self, group: list[_Write]) -> None:
        for write in group:
            if not write.future.done():
                write.future.set_exception(
                    OutcomeUnknown(f"not acknowledged within {self._write_timeout_seconds:g} seconds")
                )

    # Values.

    def _remember(self, revision: int, value: bytes) -> None:
        """Watches read the newest values at once: these are kept, up to a bound."""
        self._recent[revision] = value
        self._recent_bytes += len(value)
        while self._recent_bytes > RECENT_BYTES and len(self._recent) > 1:
            self._recent_bytes -= len(self._recent.pop(next(iter(self._recent))))

    def _value(self, record: Record) -> bytes:
        value = self._recent.get(record.revision)
        if value is None:
            value = self.held_elsewhere(record.key, record.revision)
        if value is None:
            value = self._log.value(record.revision)
        if value is None:
            raise Unavailable(f"the value of revision {record.revision} is missing")
        return value

    async def _values(self, revisions: Sequence[int]) -> Mapping[int, bytes]:
        recent = self._recent
        values = {revision: recent[revision] for revision in revisions if revision in recent}
        if len(values) < len(revisions):
            values.update(await self._log.values([revision for revision in revisions if revision not in values]))
        return values

    # Time to live.

    async def _expire(self, key: str, revision: int) -> None:
        try:
            await self.delete(key, expected_revision=revision)
        except (CompareFailed, Unavailable):
            return
        except (Overloaded, OutcomeUnknown):
            record = self._index.head(key)
            if record is not None and record.revision == revision:
                self._expiry.add([record])

    # Checks.

    def _check_open(self) -> None:
        if self._broken is not None:
            raise Unavailable(self._broken)

    def _check_readable(self, revision: int) -> None:
        if revision < self._index.compacted:
            raise Compacted(revision, self._index.compacted)
        if revision > self._index.revision:
            raise FutureRevision(revision, self._index.revision)


def _key_values(records: Sequence[Record], values: Mapping[int, bytes]) -> list[KeyValue]:
    # Without a call for each: a cache loads all there is.
    return [KeyValue(one.key, values[one.revision], one.create_revision, one.revision) for one in records]


def _nowhere(key: str, revision: int) -> bytes | None:
    return None


def _key_value(record: Record, value: bytes) -> KeyValue:
    return KeyValue(record.key, value, record.create_revision, record.revision)


class _StoreWatch:
    """A cursor over the changes: it has no buffer, so a slow reader costs nothing and only compaction can lose it."""

    def __init__(self, store: EmbeddedStore, prefix: str, from_revision: int, with_previous: bool) -> None:
        self._store = store
        self._prefix = prefix
        self._next = from_revision
        self._with_previous = with_previous
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        store, index = self._store, self._store._index
        while True:
            if self._is_closed:
                raise StopAsyncIteration
            store._check_open()
            if self._next <= index.compacted:
                raise Compacted(self._next, index.compacted)
            if self._next <= index.revision:
                records = index.changes(self._next, WATCH_BATCH)
                events = await self._events(records)
                if events is None:
                    continue
                self._next = records[-1].revision + 1
                if events:
                    return WatchBatch(events, records[-1].revision)
                continue
            self._waiter = store._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self) -> None:
        self._is_closed = True
        self._store._watches.pop(self, None)
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def wake_for(self, group: Iterable[_Write]) -> None:
        if self._waiter is not None and any(write.record.key.startswith(self._prefix) for write in group):
            self.wake()

    async def _events(self, records: Sequence[Record]) -> list[Event] | None:
        """The matching records with their values; None when a compaction took some of them meanwhile."""
        matching = [record for record in records if record.key.startswith(self._prefix)]
        needed = [record.revision for record in matching if not record.is_deletion]
        if self._with_previous:
            needed += [record.previous for record in matching if record.previous]
        values = await self._store._values(needed)
        events = []
        for record in matching:
            value = b"" if record.is_deletion else values.get(record.revision)
            previous = None
            if record.previous and self._with_previous:
                previous_value = values.get(record.previous)
                previous_record = self._store._index.at(record.key, record.previous)
                if previous_value is None or previous_record is None:
                    return None
                previous = _key_value(previous_record, previous_value)
            if value is None:
                return None
            events.append(Event("delete" if record.is_deletion else "put", _key_value(record, value), previous))
        return events
