"""The watch cache of one resource: encoded objects that GET, LIST and WATCH are answered with, decoded for nobody.

Made by `CacheFeed.add` (see `watch_feed`), which keeps it in step with the store. Options are taken as already
validated: what comes back as an error is a `StatusError` with upstream's words, ready to be answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from keelback.apimachinery.errors import BadRequest, Expired, ServiceUnavailable, Timeout
from keelback.apimachinery.meta import ListMeta, StatusCause, StatusDetails, replace
from keelback.apiserver import watch_paging as paging
from keelback.apiserver.shared_parts import SharedParts
from keelback.apiserver.watch_entries import EntrySet, end_of
from keelback.apiserver.watch_fanout import Fanout
from keelback.apiserver.watch_index import Entry, View
from keelback.apiserver.watch_progress import Progress
from keelback.apiserver.watch_selection import Filter, Selection
from keelback.apiserver.watch_stream import Change, Dispatcher, Watcher
from keelback.apiserver.watch_unreadable import UnreadableKeys
from keelback.apiserver.watch_wire import CachedResource, WatchRecord, WireForm
from keelback.component.logs import logger
from keelback.component.metrics import Series
from keelback.concurrency.clock import Clock
from keelback.storage.protocol import Compacted, Event, KeyValue, Page, StorageError, Store, TransformFailed

FRESH_TIMEOUT_SECONDS = 3.0
WINDOW_CHANGES = 4_096
WINDOW_BYTES = 16 << 20
SNAPSHOTS = 64
SNAPSHOT_SECONDS = 120.0
STORE_PAGE = 1_000
MESSAGES_AT_ONCE = 100
"""How many objects are written in protobuf before others have their turn: about 10 ms."""

Entries = list[Entry]
Changes = list[Change]

log = logger("watch_cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """A list request. `resource_version` None is unset: the answer is then at least as new as the request."""

    namespace: str = ""
    labels: Selection | None = None
    fields: Selection | None = None
    limit: int = 0
    continue_: str = ""
    resource_version: int | None = None
    resource_version_match: Literal["", "NotOlderThan", "Exact"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """A watch request. `resource_version` None or 0 starts with an ADDED event for every object there is, unless
    `send_initial_events` is False; a number replays what came after it."""

    namespace: str = ""
    labels: Selection | None = None
    fields: Selection | None = None
    resource_version: int | None = None
    send_initial_events: bool | None = None
    allow_bookmarks: bool = False
    repeats_bookmarks: bool = True
    """Whether bookmarks go on while nothing happens: over a network they show that the connection lives."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """A list's answer: entries in key order, true at `revision`. `remaining` is None where upstream says nothing."""

    wire: WireForm
    entries: Sequence[Entry]
    revision: int
    continue_: str = ""
    remaining: int | None = None

    def encode(self) -> list[bytes]:
        """The whole list object, in pieces."""
        return self.wire.list_body(self.entries, self.revision, self.continue_, self.remaining)

    def meta(self) -> dict[str, Any]:
        """The list's metadata in JSON."""
        meta: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if self.continue_:
            meta["continue"] = self.continue_
        if self.remaining is not None:
            meta["remainingItemCount"] = self.remaining
        return meta

    async def encode_protobuf(self) -> list[bytes]:
        """The whole list object in protobuf, in pieces. Raises ProtobufError for kinds that have no message."""
        messages = []
        for made, entry in enumerate(self.entries, 1):
            messages.append(self.wire.message(entry))
            if not made % MESSAGES_AT_ONCE:
                await asyncio.sleep(0)
        return self.wire.protobuf_list(self.meta(), messages)

    def objects(self) -> list[bytes]:
        """Each object whole, with kind and apiVersion."""
        return [self.wire.object(entry.item) for entry in self.entries]


@dataclass(slots=True)
class Loading:
    """What the store holds of a resource at a revision, as far as it has been read."""

    revision: int = 0
    entries: list[Entry] = field(default_factory=list)
    unreadable: list[KeyValue] = field(default_factory=list)


class WatchCache:
    """See the module. Every method may raise ServiceUnavailable when the store cannot be read."""

    def __init__(
        self, resource: CachedResource, store: Store, progress: Progress, fanout: Fanout, clock: Clock
    ) -> None:
        self.resource = resource
        self.wire = WireForm(resource)
        self._shared_parts = SharedParts()
        self._store = store
        self._progress = progress
        self._clock = clock
        self._indexed_fields = ("metadata.name", *resource.indexed_fields)
        self._entries = EntrySet(resource)
        self._dispatcher = Dispatcher(self._indexed_fields, self._entries.matches, self._entries.field_of, fanout)
        self._loaded = 0
        self._last_change = 0
        self._window: deque[Change] = deque()
        self._window_start = 0
        self._window_bytes = 0
        self._snapshots: dict[int, tuple[float, View]] = {}
        self._last_snapshot: tuple[int, View] | None = None
        self._unreadable = UnreadableKeys()
        self._bookmarked = 0
        """How far all watchers know that it has come."""
        self.received = 0
        """How many changes the store has told of."""
        self.loads = 0
        """How often it was read anew."""
        self.initial_events = 0
        """How many events watches have begun with."""
        self.consistent_lists = [0, 0]
        """Lists that had to be as new as their request: those that could not be had, and those that could."""

    # Reading.

    @property
    def revision(self) -> int:
        """The cache has seen every write up to this one, whichever resource it was of."""
        return max(self._progress.revision, self._loaded)

    @property
    def last_change(self) -> int:
        """The revision of the last write to this resource that the cache has seen."""
        return self._last_change

    def key(self, namespace: str, name: str) -> str:
        """Where an object is in the store."""
        prefix = self.resource.prefix
        return f"{prefix}{namespace}/{name}" if self.resource.is_namespaced else prefix + name

    async def get(self, namespace: str, name: str, resource_version: int | None = None) -> bytes | None:
        """One object as it goes over the wire, None when there is none; not older than `resource_version`, nor, when
        that is None, than the request. Raises Timeout for a version that has not happened."""
        entry = await self.entry(namespace, name, resource_version)
        return None if entry is None else self.wire.object(entry.item)

    async def entry(self, namespace: str, name: str, resource_version: int | None = None) -> Entry | None:
        """The entry of what `get` answers."""
        await self._wait_for(resource_version)
        key = self.key(namespace, name)
        if self._unreadable and self._unreadable.why(key):
            await self._reopen([key])
        return self._entries.get(key)

    async def wait_for(self, revision: int) -> None:
        """Return when the cache has come that far. Raises Timeout."""
        await self._wait_for(revision)

    def peek(self, namespace: str, name: str) -> Entry | None:
        """The entry as the cache knows it now, perhaps not the newest; `wire.object(entry.item)` is the object and
        `entry.revision` what a compare-and-swap expects."""
        return self._entries.get(self.key(namespace, name))

    def stored(self, key: str, revision: int) -> bytes | None:
        """The value that the store has under a key, if the cache has that of this very revision."""
        entry = self._entries.get(key)
        return self.wire.stored(entry) if entry is not None and entry.revision == revision else None

    def entries(self, namespace: str = "") -> Entries:
        """Every entry as the cache knows it now, or those of a namespace, in key order."""
        scope = self._entries.scope(namespace)
        return self._entries.ordered.slice(scope, end_of(scope))

    @property
    def changes(self) -> int:
        """Counts every change of what `entries` gives."""
        return self._entries.changes

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """How large the items are together."""
        return self._entries.size_bytes

    @property
    def watchers(self) -> int:
        """How many watches there are."""
        return self._dispatcher.count

    @property
    def sent(self) -> Series:
        """How large the events were that watchers were told of; those that a watch begins with by their mean."""
        return self._dispatcher.sent

    @property
    def watchers_lost(self) -> int:
        """How many watches have ended because they were read too slowly."""
        return self._dispatcher.lost

    @property
    def broad_watchers(self) -> int:
        """How many watches hear of every write in their scope."""
        return self._dispatcher.broad_watchers

    async def list(self, options: ListOptions) -> ListPage:
        """Answer a list. Raises Expired for a version or continue token that is too old (the latter with a token to go
        on without consistency), Timeout for a version that has not happened, BadRequest for a bad token."""
        filter_ = Filter(self._entries.scope(options.namespace), options.labels, options.fields)
        if options.continue_:
            if options.resource_version:
                raise BadRequest("specifying resource version is not allowed when using continue")
            return await self._continued(filter_, options)
        version, limit = options.resource_version, options.limit
        if version is None:
            is_fresh = False
            try:
                await self._wait_for(None)
                is_fresh = True
            finally:
                self.consistent_lists[is_fresh] += 1
        else:
            await self._wait_for(version)
        if self._unreadable:
            await self._reopen(self._unreadable.below(filter_.scope))
        if version == 0:
            # Any version will do: the cache answers with all of it, as upstream's does.
            limit = 0
        elif version is not None and (
            options.resource_version_match == "Exact" or (limit and not options.resource_version_match)
        ):
            try:
                return await self._page_at(version, filter_, filter_.scope, limit)
            except Compacted as error:
                raise Expired(paging.TOO_OLD_LIST) from error
        return self._live_page(filter_, filter_.scope, limit, self.revision)

    # Watching.

    async def watch(self, options: WatchOptions) -> Watcher:
        """Begin a watch. Raises Expired when the version is older than the window of kept events (upstream answers
        that as an ERROR event of a stream that began well) and Timeout like `list`."""
        version = options.resource_version
        initial = options.send_initial_events
        if initial is None:
            initial = not version
        if initial or not version:
            await self._wait_for(version)
        filter_ = Filter(self._entries.scope(options.namespace), options.labels, options.fields)
        if initial and self._unreadable:
            await self._reopen(self._unreadable.below(filter_.scope))
        after = self.revision if initial or not version else version
        replay = self._changes_after(after)
        watcher = Watcher(self._dispatcher.remove, filter_, self.wire, after=after)
        watcher.wants_bookmarks = options.allow_bookmarks
        watcher.repeats_bookmarks = options.repeats_bookmarks
        if initial:
            ends = bool(options.send_initial_events) and options.allow_bookmarks
            entries = self._entries.select(filter_, filter_.scope, 0)
            watcher.start_with(entries, ends_initial_events=ends)
            # To look at each for its size would hold up everybody.
            self.sent.observe_many(self.size_bytes / max(len(self), 1), len(entries))
            self.initial_events += len(entries)
        for change in replay:
            record = self._dispatcher.record_for(filter_, change, self._entries.scopes(change.key))
            if record is not None:
                watcher.push(record)
        if not watcher.end_reason:
            self._dispatcher.add(watcher)
            # It has not been told yet.
            self._bookmarked = 0
        return watcher

    def send_bookmarks(self) -> None:
        """Tell the watchers that want it how far the cache has come."""
        revision = self.revision
        if revision == self._bookmarked and not self._dispatcher.repeating:
            return
        self._bookmarked = revision
        watchers = [
            watcher
            for watcher in self._dispatcher.watchers
            if watcher.wants_bookmarks and (watcher.repeats_bookmarks or watcher.bookmarked_revision != revision)
        ]
        if watchers:
            record = self._bookmark()
            for watcher in watchers:
                watcher.push(record)
                watcher.bookmarked_revision = revision

    def send_bookmark(self, watcher: Watcher) -> None:
        """Tell one watcher, as is done shortly before its time is up, so that it goes on from as late as can be."""
        if not watcher.end_reason:
            watcher.push(self._bookmark())

    def _bookmark(self) -> WatchRecord:
        return WatchRecord("BOOKMARK", self.wire, self.wire.bookmark(self.revision), self.revision)

    def close(self, reason: str = "reset") -> None:
        """End every watch."""
        for watcher in self._dispatcher.watchers:
            watcher.close(reason)

    # Following the store: for `CacheFeed`.

    def read(self, page: Page, loading: Loading) -> None:
        """Make entries of what the store holds, for `load`."""
        loading.revision = page.revision
        for kv in page.kvs:
            entry = self._entry(kv)
            if entry is not None:
                loading.entries.append(entry)
            else:
                loading.unreadable.append(kv)

    def load(self, loading: Loading) -> None:
        """Start from what was read. Watches that run have missed something: they end."""
        self.close("reset")
        self._unreadable.clear()
        for kv in loading.unreadable:
            self._unreadable.note(kv)
        revision = loading.revision
        self._entries.load(loading.entries)
        self.loads += 1
        self._loaded = self._last_change = revision
        self._forget_window(revision)
        self._snapshots.clear()
        self._last_snapshot = None

    def recall(self, events: Iterable[Event], since: int) -> None:
        """Know of these writes too, all there were after `since`: watches that began before this server go on."""
        self._window_start = since
        for event in events:
            if event.kv.mod_revision > self._loaded:
                break
            old = None if event.prev is None else self._entry(event.prev)
            new = self._entry(event.kv) if event.type == "put" else None
            if event.kv.unreadable:
                self._forget_window(event.kv.mod_revision)
                continue
            if old is not None or new is not None:
                self._keep(Change(self.wire, event.kv.key, event.kv.mod_revision, old, new))

    def ingest(self, event: Event) -> None:
        """Take one change of the store."""
        kv = event.kv
        if kv.mod_revision <= self._loaded:
            return
        self.received += 1
        old = self._entries.get(kv.key)
        new = None
        if self._unreadable:
            self._unreadable.forget(kv.key)
        if event.type == "put":
            new = self._entry(kv)
            if new is None and self._unreadable.note(kv):
                self._lose(kv)
                return
        if new is not None:
            self._entries.set(new)
        elif old is not None:
            self._entries.delete(kv.key)
        else:
            return
        self._last_change = kv.mod_revision
        change = Change(self.wire, kv.key, kv.mod_revision, old, new)
        self._keep(change)
        self._dispatcher.dispatch(change, self._entries.scopes(kv.key))
        change.forget_records()

    def _lose(self, kv: KeyValue) -> None:
        """An object has become unreadable. It is not gone: watches end, and whoever begins one anew is told."""
        if self._entries.get(kv.key) is not None:
            self._entries.delete(kv.key)
        self._last_change = kv.mod_revision
        self._forget_window(kv.mod_revision)
        self.close("reset")

    async def _reopen(self, keys: Iterable[str]) -> None:
        """Try again to read what could not be read. Raises TransformFailed where it still cannot."""
        for key in keys:
            kv = await self._store.get(key)
            entry = None if kv is None else self._entry(kv)
            why = self._unreadable.why(key)
            if not why or kv is None or kv.mod_revision > self.revision:
                continue  # it has changed, and the feed is about to say so
            if entry is None:
                raise TransformFailed(why)
            self._unreadable.forget(key)
            self._entries.set(entry)
            self._last_snapshot = None

    def _forget_window(self, revision: int) -> None:
        """Let no watch begin before a revision."""
        self._window.clear()
        self._window_bytes = 0
        self._window_start = revision

    def _entry(self, kv: KeyValue) -> Entry | None:
        if kv.unreadable:
            return None
        try:
            pieces = self.wire.pieces(kv.value, kv.mod_revision, self._shared_parts)
        except ValueError as error:
            log.error("An object in the store cannot be served", key=kv.key, error=str(error))
            return None
        return Entry(kv.key, pieces, kv.mod_revision)

    def _keep(self, change: Change) -> None:
        self._window.append(change)
        self._window_bytes += change.old.size if change.old else 0
        while len(self._window) > WINDOW_CHANGES or self._window_bytes > WINDOW_BYTES:
            gone = self._window.popleft()
            self._window_bytes -= gone.old.size if gone.old else 0
            self._window_start = gone.revision

    def _changes_after(self, revision: int) -> Changes:
        if revision < self._window_start:
            raise Expired(f"too old resource version: {revision} ({self._window_start})")
        changes = []
        for change in reversed(self._window):
            if change.revision <= revision:
                break
            changes.append(change)
        changes.reverse()
        return changes

    # Freshness.

    async def _wait_for(self, version: int | None) -> None:
        """Until the cache has what was asked for: a version, or with None everything written before now."""
        if version == 0:
            return
        try:
            wanted = await self._store.current_revision() if version is None else version
        except StorageError as error:
            raise ServiceUnavailable(str(error)) from error
        if self.revision >= wanted or await self._progress.wait_until(wanted, FRESH_TIMEOUT_SECONDS):
            return
        if self.revision >= wanted:
            # The machine stood still for that long: both came in one round of the loop.
            return
        raise Timeout(
            f"Timeout: Too large resource version: {wanted}, current: {self.revision}",
            details=StatusDetails(
                causes=(StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version"),),
                retry_after_seconds=1,
            ),
        )

    # Pages.

    async def _continued(self, filter_: Filter, options: ListOptions) -> ListPage:
        revision, start = paging.decode_continue(options.continue_)
        if revision < 0:
            await self._wait_for(None)
            return self._live_page(filter_, filter_.scope + start, options.limit, self.revision)
        try:
            return await self._page_at(revision, filter_, filter_.scope + start, options.limit)
        except Compacted as error:
            expired = Expired(paging.TOO_OLD_CONTINUE)
            inexact = ListMeta(continue_=paging.encode_continue(paging.INEXACT, start))
            expired.status = replace(expired.status, metadata=inexact)
            raise expired from error

    async def _page_at(self, revision: int, filter_: Filter, start: str, limit: int) -> ListPage:
        """A page of the past: from the newest state while nothing has changed, a kept snapshot, or the store."""
        if self._last_change <= revision <= self.revision:
            return self._live_page(filter_, start, limit, revision)
        kept = self._snapshots.get(revision)
        if kept is None:
            return await self._page_from_store(revision, filter_, start, limit)
        found = self._entries.scan(kept[1], filter_, start, limit + 1 if limit else 0)
        return self._page(kept[1], filter_, found, limit, revision)

    def _live_page(self, filter_: Filter, start: str, limit: int, revision: int) -> ListPage:
        found = self._entries.select(filter_, start, limit + 1 if limit else 0)
        if limit and len(found) > limit:
            self._keep_snapshot(revision)
        return self._page(self._entries.ordered, filter_, found, limit, revision)

    def _page(self, view: View, filter_: Filter, found: Entries, limit: int, revision: int) -> ListPage:
        """`found` has one entry more than the limit when the list goes on."""
        if not limit or len(found) <= limit:
            return ListPage(self.wire, found, revision)
        after = found.pop().key
        remaining = None if filter_.has_selectors else view.count(after, end_of(filter_.scope))
        return ListPage(self.wire, found, revision, self._token(filter_, found[-1], revision), remaining)

    @staticmethod
    def _token(filter_: Filter, last: Entry, revision: int) -> str:
        return paging.encode_continue(revision, last.key.removeprefix(filter_.scope) + "\0")

    async def _page_from_store(self, revision: int, filter_: Filter, start: str, limit: int) -> ListPage:
        found: Entries = []
        wanted = limit + 1 if limit else 0
        while True:
            size = wanted if wanted and not filter_.has_selectors else STORE_PAGE
            try:
                result = await self._store.range(filter_.scope, start=start, limit=size, revision=revision)
            except Compacted:
                raise
            except StorageError as error:
                raise ServiceUnavailable(str(error)) from error
            for kv in result.kvs:
                if kv.unreadable:
                    raise TransformFailed(kv.unreadable)
                entry = self._entry(kv)
                if entry is not None and self._entries.matches(filter_, entry):
                    found.append(entry)
            if wanted and len(found) >= wanted:
                last = found[limit - 1]
                # Without selectors one request was enough: the count is of the keys from the start of this page on.
                remaining = None if filter_.has_selectors else result.count - limit
                return ListPage(self.wire, found[:limit], revision, self._token(filter_, last, revision), remaining)
            if not result.more:
                return ListPage(self.wire, found, revision)
            start = result.kvs[-1].key + "\0"

    def _keep_snapshot(self, revision: int) -> None:
        """Keep what the list's next pages will be read from. Snapshots of an unchanged cache are one."""
        if self._last_snapshot is None or self._last_snapshot[0] != self._last_change:
            self._last_snapshot = (self._last_change, self._entries.ordered.snapshot())
        now = self._clock.monotonic()
        self._snapshots.pop(revision, None)
        self._snapshots[revision] = (now, self._last_snapshot[1])
        while True:
            oldest = next(iter(self._snapshots))
            if len(self._snapshots) <= SNAPSHOTS and self._snapshots[oldest][0] > now - SNAPSHOT_SECONDS:
                return
            del self._snapshots[oldest]
