"""Watchers and how changes reach them: in groups that ask for the same, so that a selector is evaluated once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from math import inf

from keelback.apiserver.watch_fanout import MANY, Fanout
from keelback.apiserver.watch_index import Entry
from keelback.apiserver.watch_selection import Filter
from keelback.apiserver.watch_wire import EventType, WatchRecord, WireForm
from keelback.component.metrics import Series

BUFFER_RECORDS = 8_192
BUFFER_BYTES = 32 << 20
"""What a slow reader may be behind by, in events and in bytes."""
BATCH_BYTES = 32 << 10
EVENT_SIZES = tuple(1024 * 2**power for power in range(8))
"""The bounds between which events are counted by their size in bytes (apiserver_watch_events_sizes)."""


class Change:
    """One write as the cache saw it: the object before and after. At most one event of each type is made of it."""

    __slots__ = ("_records", "_wire", "key", "new", "old", "revision")

    def __init__(self, wire: WireForm, key: str, revision: int, old: Entry | None, new: Entry | None) -> None:
        self._wire = wire
        self.key = key
        self.revision = revision
        self.old = old
        self.new = new
        self._records: dict[EventType, WatchRecord] | None = None

    def record(self, old_matches: bool, new_matches: bool) -> WatchRecord | None:
        """The event for a watcher whose filter the old and new state match, or do not."""
        if new_matches:
            assert self.new is not None
            return self._made("MODIFIED" if old_matches else "ADDED", self.new, self.revision)
        if old_matches:
            # The last state the watcher saw, under the revision at which it left.
            assert self.old is not None
            return self._made("DELETED", self.old, self.revision)
        return None

    def forget_records(self) -> None:
        """Let go of what was encoded: whoever listens has it. A change is kept for watches that begin later, which are
        few, and then encodes anew."""
        self._records = None

    def _made(self, type_: EventType, entry: Entry, revision: int) -> WatchRecord:
        if self._records is None:
            self._records = {}
        record = self._records.get(type_)
        if record is None:
            if entry.revision == revision:
                record = WatchRecord(type_, self._wire, entry.item, revision, entry)
            else:
                item = self._wire.at_revision(entry.item, entry.revision, revision)
                record = WatchRecord(type_, self._wire, item, revision)
            self._records[type_] = record
        return record


class Watcher:
    """One watch. Read it with `next_bytes` or `next_records` from one task; `close` it when done.

    It ends by itself when its reader is too slow for its buffer ("slow") or the cache had to start anew ("reset"); a
    client then watches again, and lists again when it is told that its version has expired.
    """

    def __init__(self, leave: Callable[[Watcher], None], filter_: Filter, wire: WireForm, *, after: int) -> None:
        self.filter = filter_
        self.end_reason = ""
        """Empty while the watch runs; then "closed", "slow" or "reset"."""
        self.wants_bookmarks = False
        self.repeats_bookmarks = True
        self.bookmarked_revision = 0
        """The revision of its last periodic bookmark."""
        self._leave = leave
        self._wire = wire
        self._after = after
        self._buffer: deque[WatchRecord] = deque()
        self._buffered_bytes = 0
        self._initial: Iterator[Entry] | None = None
        self._ends_initial_events = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_initialized(self) -> bool:
        """Whether what there was when the watch began has been read."""
        return self._initial is None

    async def next_records(self) -> list[WatchRecord]:
        """The next events, at least one; an empty list when the watch has ended."""
        while True:
            records = self.ready_records()
            if records:
                return records
            if self.end_reason:
                return []
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def ready_records(self) -> list[WatchRecord]:
        """The next events that are there already, as many as make a good write; empty when there are none."""
        if self._initial is not None:
            records = self._initial_records()
            if records:
                return records
        buffer = self._buffer
        records, size = [], 0
        while buffer and size < BATCH_BYTES:
            record = buffer.popleft()
            records.append(record)
            size += record.size
        self._buffered_bytes -= size
        return records

    async def next_bytes(self) -> bytes:
        """The next events as bytes for one write; empty when the watch has ended."""
        return self._wire.lines(await self.next_records())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.next_bytes():
            yield chunk

    def close(self, reason: str = "closed") -> None:
        """End the watch; its reader gets what is buffered, unless it was too slow, and then the end."""
        if self.end_reason:
            return
        self.end_reason = reason
        if reason == "slow":
            self._buffer.clear()
            self._initial = None
        self._leave(self)
        self.wake()

    # For the cache.

    def start_with(self, entries: Sequence[Entry], *, ends_initial_events: bool) -> None:
        if not entries and not ends_initial_events:
            return
        self._initial = iter(entries)
        self._ends_initial_events = ends_initial_events

    def push(self, record: WatchRecord) -> None:
        """Pass an event on at once."""
        self.keep(record)
        self.wake()

    def keep(self, record: WatchRecord) -> None:
        """Keep an event until the watcher is woken, or reads of its own accord."""
        if record.revision <= self._after:
            return
        if len(self._buffer) >= BUFFER_RECORDS or self._buffered_bytes >= BUFFER_BYTES:
            self.close("slow")
            return
        self._buffer.append(record)
        self._buffered_bytes += record.size

    def wake(self) -> None:
        """Let the reader have what is kept."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _initial_records(self) -> list[WatchRecord]:
        assert self._initial is not None
        records, size = [], 0
        for entry in self._initial:
            records.append(WatchRecord("ADDED", self._wire, entry.item, entry.revision, entry))
            size += entry.size
            if size >= BATCH_BYTES:
                return records
        self._initial = None
        if self._ends_initial_events:
            bookmark = self._wire.bookmark(self._after, ends_initial_events=True)
            records.append(WatchRecord("BOOKMARK", self._wire, bookmark, self._after))
        return records


class _Group:
    """The watchers with one filter."""

    __slots__ = ("filter", "watchers")

    def __init__(self, filter_: Filter) -> None:
        self.filter = filter_
        self.watchers: dict[Watcher, None] = {}


class Dispatcher:
    """Finds the groups a change may concern: by scope, and for filters that fix an indexed field, by its value.

    So a change of a pod wakes the watcher of its node, not those of all the others.
    """

    def __init__(
        self,
        indexed_fields: tuple[str, ...],
        matches: Callable[[Filter, Entry], bool],
        field_of: Callable[[Entry, str], str],
        fanout: Fanout,
    ) -> None:
        self._fanout = fanout
        self._indexed_fields = indexed_fields
        self._matches = matches
        self._field_of = field_of
        self._groups: dict[Filter, _Group] = {}
        self._by_scope: dict[str, dict[Filter, _Group]] = {}
        self._by_field: dict[str, dict[str, dict[Filter, _Group]]] = {}
        self.count = 0
        """How many watchers there are."""
        self.sent = Series((*EVENT_SIZES, inf))
        """How large the events were that watchers were told of."""
        self.lost = 0
        """How many watchers read too slowly."""
        self.repeating = 0
        """How many want bookmarks again where nothing has happened."""
        self.broad_watchers = 0
        """How many of them hear of every change in their scope, not only of those with some value of a field."""

    @property
    def watchers(self) -> list[Watcher]:
        return [watcher for group in self._groups.values() for watcher in group.watchers]

    def add(self, watcher: Watcher) -> None:
        group = self._groups.get(watcher.filter)
        if group is None:
            group = self._groups[watcher.filter] = _Group(watcher.filter)
            name, value = self._trigger(watcher.filter)
            place = self._by_field.setdefault(name, {}) if name else self._by_scope
            place.setdefault(value, {})[watcher.filter] = group
        group.watchers[watcher] = None
        self.count += 1
        self.repeating += watcher.wants_bookmarks and watcher.repeats_bookmarks
        if not self._trigger(watcher.filter)[0]:
            self.broad_watchers += 1

    def remove(self, watcher: Watcher) -> None:
        group = self._groups.get(watcher.filter)
        if group is None or watcher not in group.watchers:
            return
        del group.watchers[watcher]
        self.count -= 1
        self.repeating -= watcher.wants_bookmarks and watcher.repeats_bookmarks
        self.lost += watcher.end_reason == "slow"
        name, value = self._trigger(watcher.filter)
        if not name:
            self.broad_watchers -= 1
        if group.watchers:
            return
        del self._groups[watcher.filter]
        place = self._by_field[name] if name else self._by_scope
        del place[value][watcher.filter]
        if not place[value]:
            del place[value]
        if name and not place:
            del self._by_field[name]

    def dispatch(self, change: Change, scopes: tuple[str, ...]) -> None:
        """Push the change to everyone it concerns. `scopes` are the key prefixes it lies in."""
        if not self._groups:
            return
        for group in self._candidates(change, scopes):
            record = self.record_for(group.filter, change, scopes)
            if record is None:
                continue
            watchers = tuple(group.watchers)
            self.sent.observe_many(record.size, len(watchers))
            if len(watchers) < MANY:
                for watcher in watchers:
                    watcher.push(record)
            else:
                for watcher in watchers:
                    watcher.keep(record)
                self._fanout.wake(watchers)

    def record_for(self, filter_: Filter, change: Change, scopes: tuple[str, ...]) -> WatchRecord | None:
        """What a watcher with this filter is told of the change."""
        if filter_.scope not in scopes:
            return None
        old, new = change.old, change.new
        if not filter_.has_selectors:
            return change.record(old is not None, new is not None)
        return change.record(
            old is not None and self._matches(filter_, old), new is not None and self._matches(filter_, new)
        )

    def _candidates(self, change: Change, scopes: tuple[str, ...]) -> Iterator[_Group]:
        for scope in scopes:
            groups = self._by_scope.get(scope)
            if groups:
                yield from tuple(groups.values())
        for name, by_value in tuple(self._by_field.items()):
            values = {self._field_of(entry, name) for entry in (change.old, change.new) if entry is not None}
            for value in values:
                yield from tuple(by_value.get(value, {}).values())

    def _trigger(self, filter_: Filter) -> tuple[str, str]:
        """The indexed field and value that the filter fixes, or else an empty name and the scope."""
        if filter_.fields is not None:
            for name in self._indexed_fields:
                value = filter_.fields.the_only(name)
                if value is not None:
                    return name, value
        return "", filter_.scope
