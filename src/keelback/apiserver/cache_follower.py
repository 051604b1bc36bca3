"""Keeps something in memory in step with a watch cache: roles for authorization, the graph of nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import Object
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.watch_cache import WatchCache, WatchOptions
from keelback.apiserver.watch_wire import WatchRecord
from keelback.concurrency.clock import Clock

SETTLE_SECONDS = 3.0
_AGAIN_SECONDS = 0.1


class Followed:
    """Up to which revision a cache's changes have been acted on."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._revision = 0
        self._untold = 0
        self._begun = 0
        self._moved = asyncio.Event()

    def note(self, revision: int) -> None:
        """Everything up to this revision has been acted on."""
        self._revision = max(self._revision, revision)
        self._moved.set()

    def begin(self) -> None:
        """A watch has just begun, which tells of what is there first, whatever its revisions."""
        self._begun, self._untold = self._cache.last_change, len(self._cache)
        if not self._untold:
            self.note(self._begun)

    def acted(self, revision: int) -> None:
        """One record of that watch has been acted on."""
        self._untold -= 1
        self.note(self._begun if self._untold == 0 else revision)

    @property
    def is_behind(self) -> bool:
        """Whether the cache knows of a change that has not been acted on."""
        return self._revision < self._cache.last_change

    async def settle(self) -> None:
        """Wait until what the cache knows now has been acted on, or for some seconds."""
        wanted = self._cache.last_change
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while self._revision < wanted:
                    self._moved.clear()
                    await self._moved.wait()


class CacheFollower:
    """Calls `put` with what is there and with what changes, and `remove` with namespace and name of what is gone."""

    def __init__(
        self,
        kind: type[Object],
        lookup: CacheLookup,
        clock: Clock,
        put: Callable[[Any], None],
        remove: Callable[[str, str], None],
    ) -> None:
        self._kind = kind
        self._clock = clock
        self._put = put
        self._remove = remove
        self._lookup = lookup
        self.cache = lookup.cache(kind.__kind__)
        self._followed = Followed(self.cache)
        self._known: set[tuple[str, str]] = set()
        # What is there already counts before the first request is answered.
        self._since = self._take_all()

    @property
    def is_behind(self) -> bool:
        """Whether the cache knows of a change that has not been acted on."""
        return self._followed.is_behind

    async def settle(self) -> None:
        """Wait until what the cache knows now has been acted on, or for some seconds."""
        await self._followed.settle()

    async def run(self) -> NoReturn:
        """Follow until cancelled."""
        while True:
            try:
                watcher = await self.cache.watch(WatchOptions(resource_version=self._since))
            except errors.StatusError:
                # The cache has started anew since.
                self._since = self._take_all()
                continue
            while records := await watcher.next_records():
                for record in records:
                    self._take(record)
            await self._clock.sleep(_AGAIN_SECONDS)

    def _take_all(self) -> int:
        """Take in all that the cache has; its revision."""
        gone = self._known
        self._known = set()
        for obj in self._lookup.scan(self._kind):
            self._known.add((obj.metadata.namespace, obj.metadata.name))
            self._put(obj)
        for key in gone - self._known:
            self._remove(*key)
        self._followed.note(self.cache.last_change)
        return self.cache.revision

    def _take(self, record: WatchRecord) -> None:
        if record.type != "BOOKMARK":
            obj = codecs.decode(self._kind, record.object)
            key = (obj.metadata.namespace, obj.metadata.name)
            if record.type == "DELETED":
                self._known.discard(key)
                self._remove(*key)
            else:
                self._known.add(key)
                self._put(obj)
        self._since = record.revision
        self._followed.note(record.revision)
