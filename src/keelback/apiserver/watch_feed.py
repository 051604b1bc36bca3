"""One watch of the store feeds all watch caches: changes are routed by key prefix, bookmarks go out each minute."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import NoReturn

from keelback.apiserver.watch_cache import FRESH_TIMEOUT_SECONDS, Loading, WatchCache
from keelback.apiserver.watch_fanout import Fanout
from keelback.apiserver.watch_progress import Progress
from keelback.apiserver.watch_wire import CachedResource
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.concurrency.rounds import Round, next_round
from keelback.storage.protocol import (
    FIRST_REVISION,
    Compacted,
    Event,
    StorageError,
    Store,
    Unavailable,
    Watch,
    WatchBatch,
)

BOOKMARK_SECONDS = 60.0
RESTART_SECONDS = 1.0
RECALLED_REVISIONS = 4_096
"""How many of the last writes a server that starts knows of, so that watches go on where they were before it."""
_EVENTS_AT_ONCE = 8
"""So much of a commit is taken in before others have the loop: it takes as long as a step of a request."""
# A cache that starts while the feed runs must not hear less than the feed does.
_EVERYTHING = ""

log = logger("watch_cache")


def in_parts(batch: WatchBatch) -> Iterator[WatchBatch]:
    """The batch in pieces, each with all the events of its revisions."""
    events, begin = batch.events, 0
    for end in range(_EVENTS_AT_ONCE, len(events)):
        revision = events[end - 1].kv.mod_revision
        if end - begin >= _EVENTS_AT_ONCE and events[end].kv.mod_revision != revision:
            yield WatchBatch(events[begin:end], revision)
            begin = end
    yield WatchBatch(events[begin:], batch.revision) if begin else batch


class CacheFeed:
    """Makes caches, loads them and keeps them in step with the store.

    `await feed.start()` once, then `add` caches; `run()` follows the store until it is cancelled. A cache serves as
    soon as `add` returns; what is written meanwhile reaches it when `run` gets to it.
    """

    def __init__(self, store: Store, clock: Clock, rng: random.Random | None = None) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng or random.Random(0)
        self._progress = Progress(clock)
        self._fanout = Fanout(clock)
        self._caches: dict[str, tuple[WatchCache, ...]] = {}
        self._depths: tuple[int, ...] = ()
        self._watch: Watch | None = None
        self._past: dict[str, list[Event]] = {}
        self._past_span: tuple[int, int] | None = None
        """After which and up to which revision `_past` has every write."""
        self.is_following = True
        """Whether the caches hear of changes; if not, they are about to start anew."""

    @property
    def revision(self) -> int:
        """What every cache has seen."""
        return self._progress.revision

    async def is_behind(self) -> bool:
        """Whether there is an acknowledged write that not every cache has seen. Raises StorageError."""
        return self._progress.revision < await self._store.current_revision()

    async def catch_up(self) -> None:
        """Wait until the caches know of every write that is acknowledged now.

        Raises StorageError: Unavailable where the caches cannot follow.
        """
        wanted = await self._store.current_revision()
        if not await self._progress.wait_until(wanted, FRESH_TIMEOUT_SECONDS):
            raise Unavailable(f"the caches are at revision {self._progress.revision}, and the store at {wanted}")

    async def start(self, *, recalls: bool = True) -> None:
        """Begin to watch the store and, if it `recalls`, read what was written last. Raises what the store raises."""
        revision = await self._begin()
        self._progress.advance(revision)
        if recalls:
            await self._read_past(max(revision - RECALLED_REVISIONS, FIRST_REVISION), revision)

    async def _read_past(self, since: int, until: int) -> None:
        """Keep the writes after `since`, or after what was compacted, for the caches that start before `run`."""
        if since >= until:
            return
        watch = self._store.watch(_EVERYTHING, since + 1)
        try:
            async for batch in watch:
                for event in batch.events:
                    for folder in _folders(event.kv.key):
                        self._past.setdefault(folder, []).append(event)
                if batch.revision >= until:
                    break
            self._past_span = since, until
        except Compacted as error:
            self._past.clear()
            await self._read_past(max(error.compact_revision, since + 1), until)
        finally:
            watch.close()

    async def _begin(self) -> int:
        revision = await self._store.current_revision()
        if self._watch is not None:
            self._watch.close()
        self._watch = self._store.watch(_EVERYTHING, revision + 1, with_previous=False)
        return revision

    async def add(self, resource: CachedResource, *, may_fail: bool = False) -> WatchCache:
        """A loaded cache of the resource. A resource that is served in several versions has a cache for each, with the
        same prefix and a `convert` of its own. With `may_fail` a store that cannot be read now is tried again later."""
        assert self._watch is not None, "start the feed first"
        cache = WatchCache(resource, self._store, self._progress, self._fanout, self._clock)
        try:
            await self._load(cache)
        except StorageError:
            if not may_fail:
                raise
            self.is_following = False
            self._join(cache)
        return cache

    def remove(self, cache: WatchCache) -> None:
        """Forget a cache whose resource is no longer served, and end its watches."""
        prefix = cache.resource.prefix
        left = tuple(other for other in self._caches.get(prefix, ()) if other is not cache)
        if left:
            self._caches[prefix] = left
        else:
            self._caches.pop(prefix, None)
        self._note_depths()
        cache.close("closed")

    async def run(self) -> NoReturn:
        """Follow the store until cancelled."""
        # A cache that starts later is of a resource that is new: its past is another resource's.
        self._past, self._past_span = {}, None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_bookmarks())
            group.create_task(self._fanout.run())
            while True:
                try:
                    if self.is_following:
                        await self._follow()
                except StorageError as error:
                    log.warning("The watch of the store ended; the caches start anew", error=str(error))
                except Exception as error:  # the loop's edge: a cache that failed to follow must not pass for fresh
                    log.error("A watch cache failed; the caches start anew", error=repr(error))
                self.is_following = False
                await self._start_anew()
                self.is_following = True

    async def _follow(self) -> None:
        assert self._watch is not None
        async for batch in self._watch:
            for part in in_parts(batch):
                self._take(part)
                if part.revision < batch.revision:
                    await asyncio.sleep(0)

    def _take(self, batch: WatchBatch) -> None:
        for event in batch.events:
            for cache in self._caches_of(event.kv.key):
                cache.ingest(event)
        self._progress.advance(batch.revision)

    def _caches_of(self, key: str) -> tuple[WatchCache, ...]:
        for depth in self._depths:
            found = self._caches.get(_folder(key, depth))
            if found is not None:
                return found
        return ()

    def stored(self, key: str, revision: int) -> bytes | None:
        """The value that the store has under a key at a revision, if a cache has it: what is written to is mostly what
        is watched, and need not be read from the disk."""
        for cache in self._caches_of(key):
            value = cache.stored(key, revision)
            if value is not None:
                return value
        return None

    async def _load(self, cache: WatchCache) -> None:
        """Load and join the feed without a gap: the cache drops the changes its load already contains."""
        prefix = cache.resource.prefix
        while True:
            loading = Loading()
            try:
                async for page in self._store.pages(prefix):
                    cache.read(page, loading)
            except Compacted:
                continue
            if loading.revision >= self._progress.revision:
                break
            # The feed was faster than the reading; what it has passed on would be missing.
        cache.load(loading)
        if self._past_span is not None and self._past_span[1] == loading.revision:
            cache.recall(self._past.get(prefix, ()), self._past_span[0])
        self._join(cache)

    def _join(self, cache: WatchCache) -> None:
        prefix = cache.resource.prefix
        others = self._caches.get(prefix, ())
        if cache not in others:
            self._caches[prefix] = (*others, cache)
            self._note_depths()

    async def _start_anew(self) -> None:
        while True:
            await self._clock.sleep(RESTART_SECONDS * (1 + self._rng.random()))
            try:
                revision = await self._begin()
                for cache in self._all():
                    await self._load(cache)
                # Not before: a cache that is still the old one must not pass for a newer one.
                self._progress.advance(revision)
            except Compacted:
                continue
            except StorageError as error:
                log.error("The store cannot be read", error=str(error))
                continue
            return

    async def _send_bookmarks(self) -> NoReturn:
        while True:
            await next_round(self._clock, BOOKMARK_SECONDS, Round.NOTICE)
            for cache in self._all():
                cache.send_bookmarks()

    def _all(self) -> list[WatchCache]:
        return [cache for caches in self._caches.values() for cache in caches]

    def _note_depths(self) -> None:
        self._depths = tuple(sorted({prefix.count("/") for prefix in self._caches}, reverse=True))


def _folders(key: str) -> list[str]:
    """Every prefix of the key that ends in a slash."""
    return [key[: at + 1] for at, letter in enumerate(key) if letter == "/"]


def _folder(key: str, depth: int) -> str:
    """The key up to and including its slash number `depth`; empty when it has fewer."""
    at = -1
    for _ in range(depth):
        at = key.find("/", at + 1)
        if at < 0:
            return ""
    return key[: at + 1]
