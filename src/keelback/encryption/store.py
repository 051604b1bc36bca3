"""A store whose values are encrypted, and plain for who uses it: reads, compares, watches and their previous states.

What cannot be decrypted is not hidden: a get raises, and in ranges and watches such a key says why it is unreadable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import msgspec

from keelback.encryption.ciphers import ENCRYPTED_PREFIX, CannotTransform
from keelback.encryption.config import GroupResource
from keelback.encryption.providers import KeyNeeded, Opened, Providers, Rules
from keelback.storage.layer import StoreLayer
from keelback.storage.protocol import (
    CompareFailed,
    Event,
    KeyValue,
    Page,
    RangeResult,
    Store,
    TransformFailed,
    Watch,
    WatchBatch,
)

# How many values are decrypted before others have their turn: about 5 ms.
_OPENED_AT_ONCE = 500

Locate = Callable[[str], GroupResource | None]
"""Which resource a key is of; None for what is no resource's."""


class EncryptingStore(StoreLayer):
    """A `Store` over another. `rules` may be replaced at any time."""

    def __init__(self, store: Store, rules: Rules, locate: Locate) -> None:
        super().__init__(store)
        self.rules = rules
        self._locate = locate

    async def get(self, key: str) -> KeyValue | None:
        found = await self._store.get(key)
        if found is None:
            return None
        opened = await self._opened(found)
        if opened.unreadable:
            raise TransformFailed(opened.unreadable)
        return opened

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        found = await self._store.range(prefix, start=start, limit=limit, revision=revision)
        return msgspec.structs.replace(found, kvs=await self._all_opened(found.kvs))

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        async for kvs, revision in self._store.pages(prefix):
            yield Page(await self._all_opened(kvs), revision)

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        providers = self._providers(key)
        if providers is not None:
            try:
                value = providers.encrypt(value, key.encode())
            except CannotTransform as error:
                raise TransformFailed(str(error)) from error
        try:
            return await self._store.put(key, value, expected_revision=expected_revision, ttl_seconds=ttl_seconds)
        except CompareFailed as failed:
            raise await self._compare_failed(failed) from None

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        try:
            revision, before = await self._store.delete(key, expected_revision=expected_revision)
        except CompareFailed as failed:
            raise await self._compare_failed(failed) from None
        return revision, None if before is None else await self._opened(before)

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> Watch:
        return _OpeningWatch(self._store.watch(prefix, from_revision, with_previous=with_previous), self._opened_event)

    def _providers(self, key: str) -> Providers | None:
        resource = self._locate(key)
        return None if resource is None else self.rules.find(resource)

    async def _all_opened(self, kvs: Iterable[KeyValue]) -> list[KeyValue]:
        opened = []
        for number, one in enumerate(kvs, 1):
            opened.append(await self._opened(one))
            if not number % _OPENED_AT_ONCE:
                await asyncio.sleep(0)
        return opened

    async def _opened(self, kv: KeyValue) -> KeyValue:
        """A key with its value plain, or the reason why it is not."""
        providers = self._providers(kv.key)
        if providers is None and not kv.value.startswith(ENCRYPTED_PREFIX):
            return kv
        try:
            if providers is None:
                raise CannotTransform("identity transformer tried to read encrypted data")
            opened = await _decrypted(providers, kv)
        except CannotTransform as error:
            return msgspec.structs.replace(kv, value=b"", unreadable=f'unable to transform key "{kv.key}": {error}')
        return msgspec.structs.replace(kv, value=opened.plain, is_stale=opened.is_stale)

    async def _opened_event(self, event: Event) -> Event:
        kv, prev = event.kv, event.prev
        return Event(
            event.type,
            kv if event.type == "delete" else await self._opened(kv),
            None if prev is None else await self._opened(prev),
        )

    async def _compare_failed(self, failed: CompareFailed) -> CompareFailed:
        current = None if failed.current is None else await self._opened(failed.current)
        return CompareFailed(failed.key, None if current is None or current.unreadable else current)


async def _decrypted(providers: Providers, kv: KeyValue) -> Opened:
    context = kv.key.encode()
    try:
        return providers.decrypt(kv.value, context)
    except KeyNeeded as needed:
        await needed.fetch()
    try:
        return providers.decrypt(kv.value, context)
    except KeyNeeded as needed:
        raise CannotTransform(str(needed)) from needed


class _OpeningWatch:
    """The changes, their values plain."""

    def __init__(self, watch: Watch, opened: Callable[[Event], Awaitable[Event]]) -> None:
        self._watch = watch
        self._opened = opened

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        batch = await self._watch.__anext__()
        return WatchBatch([await self._opened(event) for event in batch.events], batch.revision)

    def close(self) -> None:
        self._watch.close()
