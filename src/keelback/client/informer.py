"""A local copy of a kind's objects, kept current by list and watch, and the changes to it as events.

It lists once, then watches from that version; a broken watch resumes where it stopped, and only a version that the
server no longer has (410) makes it list again. Subscribers then see the differences, never a gap.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Generic, Literal, TypeVar

import msgspec

from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object
from keelback.client.client import Client, ObjectList, WatchEvent
from keelback.client.store import IndexFunction, Store, key_of
from keelback.component import logs
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock, SystemClock

T = TypeVar("T", bound=Object)

# As client-go's reflector.
_BACKOFF = Backoff(initial_seconds=0.8, cap_seconds=30.0, jitter=1.0)

_log = logs.logger("informer")


class Change(msgspec.Struct, Generic[T], frozen=True):
    """One object's change: `old` is None when added, `new` when deleted (`old` is then its last known state)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    old: T | None
    new: T | None

    @property
    def object(self) -> T:
        """The state to speak about: the new one or, of a deletion, the last."""
        obj = self.new if self.new is not None else self.old
        assert obj is not None
        return obj


class Informer(Generic[T]):
    """Runs as one task; its store and its events belong to the same event loop."""

    def __init__(
        self,
        client: Client,
        cls: type[T],
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        *,
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        clock: Clock | None = None,
        chance: random.Random | None = None,
        settle: Callable[[T], None] | None = None,
    ) -> None:
        """`settle` may still change an object: it is called before anybody else has seen it."""
        self.store: Store[T] = Store(indexes)
        self._settle = settle
        self._client = client
        self._class = cls
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._clock = clock or SystemClock()
        self._chance = chance or random.Random()
        self._subscribers: list[Callable[[Change[T]], None]] = []
        self._synced = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        # Where the next list may start from: "0" is "any state you have at hand"; "" after a 410 is "the latest".
        self._list_from = "0"
        self._must_list = True

    @property
    def synced(self) -> bool:
        """Whether the store has held a complete state once."""
        return self._synced.is_set()

    def subscribe(self, callback: Callable[[Change[T]], None]) -> Callable[[], None]:
        """Call back for each change, and first for each object already held; returns what ends that.

        The callback must not block or raise: it notes what changed and returns.
        """
        for obj in self.store.list():
            callback(Change("ADDED", None, obj))
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    async def wait_synced(self) -> None:
        """Return when the store holds a complete state."""
        await self._synced.wait()

    async def wait_for(self, resource_version: str) -> None:
        """Return when every change up to this version is in the store: for those who must see their own write.

        Only versions of the informer's own kind are sure to be reached soon; others wait for the next bookmark.
        """
        wanted = int(resource_version)
        if int(self.store.resource_version or 0) >= wanted:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, waiter))
        await waiter

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            try:
                if self._must_list:
                    await self._list()
                    failures = 0
                progressed = await self._watch()
                failures = 0 if progressed else failures + 1
                if progressed:
                    continue
            except (errors.Expired, errors.Gone):
                # What was held stays visible until the list replaces it.
                self._must_list = True
                if self._list_from != "":
                    self._list_from = ""
                    continue
                failures += 1
            except (errors.StatusError, OSError, TimeoutError, msgspec.DecodeError) as error:
                failures += 1
                report = _log.debug if failures <= 1 else _log.warning
                report("Failed to list or watch", kind=self._class.__kind__.kind, error=error, failures=failures)
            await self._clock.sleep(_BACKOFF.delay(max(failures, 1), self._chance))

    async def _list(self) -> None:
        listed = await self._client.list(
            self._class,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=self._list_from,
        )
        self._replace(listed)
        self._must_list = False
        self._synced.set()

    async def _watch(self) -> bool:
        """Watch until the server ends it; whether anything came."""
        # Ends are spread so that many informers do not come back at once.
        seconds = self._client.watch_seconds * (1 + self._chance.random())
        batches = self._client.watch_batches(
            self._class,
            self._namespace,
            resource_version=self.store.resource_version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=seconds,
        )
        started = self._clock.monotonic()
        progressed = False
        try:
            async for batch in batches:
                progressed = True
                for event in batch:
                    self._apply(event)
                self._advance(batch[-1].object.metadata.resource_version if batch else "")
        finally:
            await batches.aclose()
        # A quiet watch that lasted is as good as one with events.
        return progressed or self._clock.monotonic() - started >= 1.0

    def _apply(self, event: WatchEvent[T]) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                if self._settle is not None:
                    self._settle(event.object)
                old = self.store.put(event.object)
                self._publish(Change("ADDED" if old is None else "MODIFIED", old, event.object))
            case "DELETED":
                old = self.store.remove(key_of(event.object))
                if old is not None:
                    # The event carries the object's last state, which may be newer than what was held.
                    self._publish(Change("DELETED", event.object, None))
            case "BOOKMARK":
                pass

    def _replace(self, listed: ObjectList[T]) -> None:
        items = listed.items or []
        held = set(self.store.keys())
        for obj in items:
            held.discard(key_of(obj))
            if self._settle is not None:
                self._settle(obj)
            old = self.store.put(obj)
            if old is None:
                self._publish(Change("ADDED", None, obj))
            elif old.metadata.uid != obj.metadata.uid:
                # Deleted and made again while nobody watched: both must be seen.
                self._publish(Change("DELETED", old, None))
                self._publish(Change("ADDED", None, obj))
            elif old.metadata.resource_version != obj.metadata.resource_version:
                self._publish(Change("MODIFIED", old, obj))
        for key in held:
            old = self.store.remove(key)
            if old is not None:
                self._publish(Change("DELETED", old, None))
        self._advance(listed.resource_version)

    def _advance(self, resource_version: str) -> None:
        if not resource_version:
            return
        self.store.resource_version = self._list_from = resource_version
        if self._waiting:
            reached = int(resource_version)
            for wanted, waiter in self._waiting:
                if wanted <= reached and not waiter.done():
                    waiter.set_result(None)
            self._waiting = [entry for entry in self._waiting if not entry[1].done()]

    def _publish(self, change: Change[T]) -> None:
        for callback in self._subscribers:
            callback(change)
