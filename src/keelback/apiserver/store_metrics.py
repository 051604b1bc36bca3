"""What requests to the store take, under the names that upstream gives requests to etcd, whichever store it is.

A write that loses against another is an answer like any other; an error is what kept the store from giving one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Literal

from keelback.component.logs import logger
from keelback.component.metrics import Registry, Series
from keelback.encryption.config import GroupResource
from keelback.storage.layer import StoreLayer
from keelback.storage.protocol import CompareFailed, KeyValue, Page, RangeResult, StorageError, Store, Watch

Operation = Literal["get", "list", "create", "update", "delete"]

_SECONDS: Final = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3),
    *(4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)
_LABELS: Final = ("operation", "group", "resource")
_SIZE_SECONDS: Final = 1.0
_FOLDER: Final = 2

_log = logger("store_metrics")


class _Meter:
    """The requests of one operation about one resource."""

    __slots__ = ("errors", "seconds")

    def __init__(self, seconds: Series) -> None:
        self.seconds = seconds
        self.errors = 0

    def answered(self, started: float) -> None:
        self.seconds.observe(time.perf_counter() - started)

    def failed(self, started: float) -> None:
        self.errors += 1
        self.answered(started)


class MeteredStore(StoreLayer):
    """A `Store` over another, whose requests are counted. `locate` tells the resource of a key."""

    def __init__(
        self,
        store: Store,
        locate: Callable[[str], GroupResource | None],
        metrics: Registry,
        stores: Sequence[Store] = (),
    ) -> None:
        """`stores` are those that it is made of, where it is made of several."""
        super().__init__(store)
        self.stores = stores or (store,)
        """What it counts for, the main one first: some work is for a store of one kind."""
        self._locate = locate
        self._meters: dict[tuple[Operation, GroupResource], _Meter] = {}
        self._seconds = metrics.histogram(
            "etcd_request_duration_seconds",
            "Etcd request latency in seconds for each operation and object type.",
            _LABELS,
            _SECONDS,
        )
        self._requests = metrics.counter(
            "etcd_requests_total", "Etcd request counts for each operation and object type.", _LABELS
        )
        self._errors = metrics.counter(
            "etcd_request_errors_total", "Etcd failed request counts for each operation and object type.", _LABELS
        )
        self._size = metrics.gauge(
            "apiserver_storage_size_bytes",
            "Size of the storage database file physically allocated in bytes.",
            ("storage_cluster_id",),
        )
        metrics.before_collection(self._refresh)

    async def get(self, key: str) -> KeyValue | None:
        meter, started = self._meter("get", key), time.perf_counter()
        try:
            found = await self._store.get(key)
        except StorageError:
            meter.failed(started)
            raise
        meter.answered(started)
        return found

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        meter, started = self._meter("list", prefix), time.perf_counter()
        try:
            found = await self._store.range(prefix, start=start, limit=limit, revision=revision)
        except StorageError:
            meter.failed(started)
            raise
        meter.answered(started)
        return found

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        meter, started = self._meter("list", prefix), time.perf_counter()
        try:
            async for page in self._store.pages(prefix):
                meter.answered(started)
                yield page
                started = time.perf_counter()
        except StorageError:
            meter.failed(started)
            raise

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        meter, started = self._meter("update" if expected_revision else "create", key), time.perf_counter()
        try:
            revision = await self._store.put(key, value, expected_revision=expected_revision, ttl_seconds=ttl_seconds)
        except CompareFailed:
            meter.answered(started)
            raise
        except StorageError:
            meter.failed(started)
            raise
        meter.answered(started)
        return revision

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        meter, started = self._meter("delete", key), time.perf_counter()
        try:
            deleted = await self._store.delete(key, expected_revision=expected_revision)
        except CompareFailed:
            meter.answered(started)
            raise
        except StorageError:
            meter.failed(started)
            raise
        meter.answered(started)
        return deleted

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> Watch:
        return self._store.watch(prefix, from_revision, with_previous=with_previous)

    async def measure_size(self) -> None:
        """Let the next exposition know how large each store is, unless it does not say so in a second."""
        async with asyncio.TaskGroup() as group:
            for index, one in enumerate(self.stores):
                group.create_task(self._measure(one, f"etcd-{index}"))

    async def _measure(self, store: Store, name: str) -> None:
        try:
            async with asyncio.timeout(_SIZE_SECONDS):
                self._size.set(await store.size_bytes(), name)
        except (StorageError, TimeoutError) as error:
            self._size.remove(name)
            _log.debug("The store does not tell its size", error=str(error))

    def _meter(self, operation: Operation, key: str) -> _Meter:
        resource = self._locate(key) or _beside_resources(key)
        meter = self._meters.get((operation, resource))
        if meter is None:
            meter = _Meter(self._seconds.series(operation, resource.group, resource.resource))
            self._meters[operation, resource] = meter
        return meter

    def _refresh(self) -> None:
        for (operation, resource), meter in self._meters.items():
            labels = (operation, resource.group, resource.resource)
            self._requests.set(sum(meter.seconds.counts), *labels)
            if meter.errors:
                self._errors.set(meter.errors, *labels)


def _beside_resources(key: str) -> GroupResource:
    """What is kept of no resource goes by its folder."""
    return GroupResource("", "".join(key.split("/", _FOLDER + 1)[_FOLDER : _FOLDER + 1]))
