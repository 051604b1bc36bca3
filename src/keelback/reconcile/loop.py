"""The one loop of all controllers: changes become keys, keys become calls of `reconcile` with the latest object.

A key is worked on by one worker at a time, and is let go only when the caches have seen what `reconcile` wrote.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

from keelback.api import owners
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object
from keelback.client import Change
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.concurrency.deadlines import Deadlines
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.queue_metrics import NO_METRICS, QueueObserver
from keelback.reconcile.result import Result, TerminalError
from keelback.reconcile.work_queue import QueueClosed, WorkQueue
from keelback.reconcile.writer import Write, remember_writes

T_contra = TypeVar("T_contra", bound=Object, contravariant=True)
Key: TypeAlias = tuple[str, str]

# A cache that has not seen a write after this long is not waited for: its informer is in trouble and says so itself.
_SEEN_SECONDS = 30.0


class Reconciler(Protocol[T_contra]):
    """A controller's policy. `kind` is what it reconciles, `owns` the types it creates for its objects."""

    name: ClassVar[str]
    kind: ClassVar[type[Object]]
    owns: ClassVar[tuple[type[Object], ...]]

    async def reconcile(self, obj: T_contra, /) -> Result:
        """Bring the world closer to what `obj` asks for. Raising retries with back-off; TerminalError does not."""
        ...


def _any_change(change: Change[Any]) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Source:
    """Changes of one type that matter, and the keys each state of an object concerns."""

    cls: type[Object]
    keys: Callable[[Any], Iterable[Key]]
    matters: Callable[[Change[Any]], bool] = _any_change
    delay_seconds: float = 0.0
    """How long to wait for more such changes, to answer them together."""


@runtime_checkable
class HasSources(Protocol):
    """A reconciler that must look again when something else changes."""

    def sources(self) -> Sequence[Source]: ...


@runtime_checkable
class Reads(Protocol):
    """A reconciler that reads caches whose changes do not wake it."""

    reads: ClassVar[tuple[type[Object], ...]]


@runtime_checkable
class Adopts(Protocol):
    """A reconciler that takes over objects of the types it owns when they have no controller."""

    def may_adopt(self, obj: Any, orphan: Any, /) -> bool: ...


@runtime_checkable
class HearsOfAbsence(Protocol):
    """A reconciler that has something to do when an object is gone."""

    async def reconcile_absence(self, namespace: str, name: str, /) -> Result: ...


@runtime_checkable
class Ignores(Protocol):
    """A reconciler for which some changes of its own kind mean nothing."""

    def is_relevant(self, change: Change[Any], /) -> bool: ...


class Controller:
    """Runs one reconciler."""

    def __init__(
        self,
        reconciler: Reconciler[Any],
        caches: SharedCaches,
        clock: Clock,
        chance: random.Random,
        *,
        workers: int = 5,
        observer: QueueObserver = NO_METRICS,
    ) -> None:
        self.name = reconciler.name
        self.queue: WorkQueue[Key] = WorkQueue(clock, chance=chance, observer=observer)
        self._reconciler = reconciler
        self._caches = caches
        self._clock = clock
        self._workers = workers
        self._deadlines = Deadlines()
        self._log = logs.logger(reconciler.name)
        self._store = caches.store(reconciler.kind)
        # Asked once: what a protocol has is looked up anew each time.
        self._ignores = reconciler if isinstance(reconciler, Ignores) else None
        reads = reconciler.reads if isinstance(reconciler, Reads) else ()
        # In an order of their own: a set of classes has another in each process, and what is asked first with it.
        self._types = dict.fromkeys((reconciler.kind, *reconciler.owns, *reads))
        self._subscribe()

    async def run(self) -> None:
        """Work until cancelled; begins when the caches are complete."""
        for cls in self._types:
            await self._caches.informer(cls).wait_synced()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.queue.run_timers())
            for _ in range(self._workers):
                tasks.create_task(self._work())

    def _subscribe(self) -> None:
        reconciler = self._reconciler
        for cls in self._types:
            self._caches.informer(cls)  # watched from the start, not from the first time it is read
        self._caches.subscribe(reconciler.kind, self._own_kind_changed)
        for owned in reconciler.owns:
            self._caches.subscribe(owned, self._owned_changed)
        if isinstance(reconciler, HasSources):
            for source in reconciler.sources():
                self._types[source.cls] = None
                self._caches.subscribe(source.cls, self._source_changed(source))

    def _own_kind_changed(self, change: Change[Any]) -> None:
        if self._ignores is not None and not self._ignores.is_relevant(change):
            return
        metadata = change.object.metadata
        self.queue.add((metadata.namespace, metadata.name))

    def _owned_changed(self, change: Change[Any]) -> None:
        for obj in (change.old, change.new):
            if obj is None:
                continue
            reference = owners.controller_of(obj)
            if reference is not None:
                if owners.names_kind(reference, self._reconciler.kind.__kind__):
                    namespace = obj.metadata.namespace if self._reconciler.kind.__kind__.namespaced else ""
                    self.queue.add((namespace, reference.name))
            elif obj is not change.old:
                self._orphan_seen(obj)

    def _orphan_seen(self, orphan: Object) -> None:
        if isinstance(self._reconciler, Adopts):
            for candidate in self._store.list(orphan.metadata.namespace):
                if self._reconciler.may_adopt(candidate, orphan):
                    self.queue.add((candidate.metadata.namespace, candidate.metadata.name))

    def _source_changed(self, source: Source) -> Callable[[Change[Any]], None]:
        def changed(change: Change[Any]) -> None:
            if not source.matters(change):
                return
            for obj in (change.old, change.new):
                if obj is not None:
                    for key in source.keys(obj):
                        self.queue.add_after(key, source.delay_seconds)

        return changed

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self._process(key)
            finally:
                self.queue.done(key)

    async def _process(self, key: Key) -> None:
        writes = remember_writes()
        try:
            result = await self._call(key)
        except TerminalError as error:
            self.queue.forget(key)
            self._log.error("Reconciler error, not retrying", key=key, error=error)
        except (errors.Conflict, errors.NotFound) as error:
            # Somebody else was faster; what they wrote or deleted is on its way to the cache.
            self._log.debug("The cache is behind, retrying", key=key, error=error)
            self.queue.add_rate_limited(key)
        except (errors.StatusError, OSError, TimeoutError) as error:
            self._log.warning("Reconciler error", key=key, error=error, failures=self.queue.failures(key))
            self.queue.add_rate_limited(key)
        except Exception as error:
            self._log.exception("Reconciler failed", error, key=key)
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
            if result.requeue_after_seconds is not None:
                self.queue.add_after(key, result.requeue_after_seconds, is_watch=result.is_watch)
        if writes:
            await self._wait_seen(writes, key)

    async def _call(self, key: Key) -> Result:
        obj = self._store.get(*key)
        if obj is not None:
            return await self._reconciler.reconcile(obj)
        if isinstance(self._reconciler, HearsOfAbsence):
            return await self._reconciler.reconcile_absence(*key)
        return Result()

    async def _wait_seen(self, writes: list[Write], key: Key) -> None:
        newest: dict[tuple[str, str], int] = {}
        for write in writes:
            if write.resource_version:
                newest[write.group_kind] = max(newest.get(write.group_kind, 0), int(write.resource_version))
        try:
            with self._deadlines.within(_SEEN_SECONDS):
                for group_kind, version in newest.items():
                    await self._caches.wait_seen(group_kind, str(version))
                for write in writes:
                    if not write.resource_version:
                        await self._caches.wait_departed(write.group_kind, write.namespace, write.name, write.uid)
        except TimeoutError:
            self._log.warning("The cache has not seen the controller's own write in time", key=key)
            self.queue.add(key)
