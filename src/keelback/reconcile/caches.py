"""The informers that all controllers of a process share: one watch for each type, however many read it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeVar

from keelback.api import owners
from keelback.apimachinery.meta import Object
from keelback.client import Change, Client, Informer, Store
from keelback.client.store import IndexFunction
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.reconcile.shared_parts import SharedParts

T = TypeVar("T", bound=Object)

_log = logs.logger("caches")

#: The index behind `controlled_by` and `orphans`.
_BY_CONTROLLER = "by-controller"


class SharedCaches:
    """Hands out stores and subscriptions; `run` keeps them current. A type is watched once it was asked for."""

    def __init__(self, client: Client, clock: Clock, chance: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._chance = chance
        self._informers: dict[type[Object], Informer[Any]] = {}
        self._indexes: dict[type[Object], set[str]] = {}
        self._departures: dict[tuple[type[Object], str, str], list[asyncio.Future[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._parts = SharedParts()

    def informer(self, cls: type[T]) -> Informer[T]:
        """The informer of a type; narrow types of one kind have one each."""
        informer = self._informers.get(cls)
        if informer is None:
            settle = self._parts.settle
            informer = Informer(self._client, cls, clock=self._clock, chance=self._chance, settle=settle)
            self._informers[cls] = informer
            informer.subscribe(lambda change: self._note_departure(cls, change))
            if self._tasks is not None:
                self._tasks.create_task(informer.run(), name=f"informer {cls.__name__}")
        return informer

    def store(self, cls: type[T]) -> Store[T]:
        """The objects of a type, as last seen."""
        return self.informer(cls).store

    def subscribe(self, cls: type[T], callback: Callable[[Change[T]], None]) -> None:
        """Call back for each change of a type's objects. What the callback raises is logged and stops nobody else."""

        def guarded(change: Change[T]) -> None:
            try:
                callback(change)
            except Exception as error:
                _log.exception("A subscriber failed", error, kind=cls.__kind__.kind)

        self.informer(cls).subscribe(guarded)

    def index(self, cls: type[T], name: str, function: IndexFunction[T]) -> Store[T]:
        """The store of a type, its objects also findable by what `function` yields. Asking again changes nothing."""
        store = self.store(cls)
        known = self._indexes.setdefault(cls, set())
        if name not in known:
            known.add(name)
            store.add_index(name, function)
        return store

    def index_by_controller(self, cls: type[T]) -> Store[T]:
        """The store of a type, prepared for `controlled_by` and `orphans`."""
        return self.index(cls, _BY_CONTROLLER, _controller_key)

    async def run(self) -> None:
        """Run all informers, and those asked for later, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for cls, informer in self._informers.items():
                tasks.create_task(informer.run(), name=f"informer {cls.__name__}")
            await (
                asyncio.get_running_loop().create_future()
            )  # an informer asked for later needs a group that is still open

    def informer_of(self, group: str, plural: str) -> Informer[Any] | None:
        """The informer of any type of a resource, narrow or whole, if there is one already."""
        for cls, informer in self._informers.items():
            if cls.__kind__.group == group and cls.__kind__.plural == plural:
                return informer
        return None

    async def wait_seen(self, group_kind: tuple[str, str], resource_version: str) -> None:
        """Return when every cache of a kind has reached a version that a write of it gave."""
        for cls, informer in list(self._informers.items()):
            if (cls.__kind__.group, cls.__kind__.kind) == group_kind:
                await informer.wait_for(resource_version)

    async def wait_departed(self, group_kind: tuple[str, str], namespace: str, name: str, uid: str) -> None:
        """Return when every cache of a kind knows that the object is gone or going."""
        for cls, informer in list(self._informers.items()):
            if (cls.__kind__.group, cls.__kind__.kind) != group_kind:
                continue
            while True:
                held = informer.store.get(namespace, name)
                if held is None or (uid and held.metadata.uid != uid) or held.metadata.deletion_timestamp is not None:
                    break
                departure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._departures.setdefault((cls, namespace, name), []).append(departure)
                await departure

    def _note_departure(self, cls: type[Object], change: Change[Any]) -> None:
        if not self._departures:
            return
        metadata = change.object.metadata
        for departure in self._departures.pop((cls, metadata.namespace, metadata.name), ()):
            if not departure.done():
                departure.set_result(None)


def controlled_by(store: Store[T], owner: Object) -> list[T]:
    """The objects that `owner` manages."""
    return store.by_index(_BY_CONTROLLER, owner.metadata.uid)


def orphans(store: Store[T], namespace: str) -> list[T]:
    """The objects of a namespace that nobody manages."""
    return store.by_index(_BY_CONTROLLER, ("", namespace))


def _controller_key(obj: Object) -> list[str | tuple[str, str]]:
    reference = owners.controller_of(obj)
    return [("", obj.metadata.namespace) if reference is None else reference.uid]
