"""Values as kube-apiserver leaves them in etcd, read as JSON: built-in kinds are protobuf there.

So a server may follow upstream's on the etcd of a cluster. What is written is JSON, which upstream's reads too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from keelback.apimachinery import protobuf
from keelback.component.logs import logger
from keelback.storage.layer import StoreLayer
from keelback.storage.protocol import CompareFailed, Event, KeyValue, Page, RangeResult, Watch, WatchBatch

_log = logger("apiserver.protobuf_values")


class ProtobufValues(StoreLayer):
    """A Store that reads both forms of what is in the one beneath."""

    async def get(self, key: str) -> KeyValue | None:
        found = await self._store.get(key)
        return None if found is None else _read(found)

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        found = await self._store.range(prefix, start=start, limit=limit, revision=revision)
        return msgspec.structs.replace(found, kvs=_all_read(found.kvs)) if _any(found.kvs) else found

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        async for page in self._store.pages(prefix):
            yield Page(_all_read(page.kvs), page.revision) if _any(page.kvs) else page

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        try:
            return await self._store.put(key, value, expected_revision=expected_revision, ttl_seconds=ttl_seconds)
        except CompareFailed as failed:
            raise _read_failure(failed) from failed

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        try:
            revision, before = await self._store.delete(key, expected_revision=expected_revision)
        except CompareFailed as failed:
            raise _read_failure(failed) from failed
        return revision, None if before is None else _read(before)

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> Watch:
        return _Watch(self._store.watch(prefix, from_revision, with_previous=with_previous))


class _Watch:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        batch = await self._watch.__anext__()
        if _any(event.kv for event in batch.events) or _any(event.prev for event in batch.events):
            return WatchBatch([_event(event) for event in batch.events], batch.revision)
        return batch

    def close(self) -> None:
        self._watch.close()


def _event(event: Event) -> Event:
    prev = None if event.prev is None else _read(event.prev)
    return msgspec.structs.replace(event, kv=_read(event.kv), prev=prev)


def _any(kvs: Iterable[KeyValue | None]) -> bool:
    return any(one is not None and one.value.startswith(protobuf.PREFIX) for one in kvs)


def _all_read(kvs: Sequence[KeyValue]) -> list[KeyValue]:
    return [_read(one) for one in kvs]


def _read(kv: KeyValue) -> KeyValue:
    """The value in JSON, to be written so at the next occasion; one of a kind that is not known stays as it is."""
    if not kv.value.startswith(protobuf.PREFIX):
        return kv
    try:
        return msgspec.structs.replace(kv, value=protobuf.to_json(kv.value), is_stale=True)
    except protobuf.ProtobufError as error:
        _log.error("An object in the store cannot be read", key=kv.key, error=str(error))
        return kv


def _read_failure(failed: CompareFailed) -> CompareFailed:
    return CompareFailed(failed.key, None if failed.current is None else _read(failed.current))
