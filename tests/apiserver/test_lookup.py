"""What admission and authorization read: decoded once, and anew as soon as it has changed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from keelback.api.core_v1 import Namespace
from keelback.apimachinery.errors import NotFound
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.watch_cache import WatchCache
from keelback.apiserver.watch_feed import CacheFeed
from keelback.apiserver.watch_wire import CachedResource
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory
from keelback.storage.protocol import Store

PREFIX = "/registry/namespaces/"


@asynccontextmanager
async def _a_lookup() -> AsyncIterator[tuple[Store, WatchCache, CacheLookup]]:
    clock = SystemClock()
    store = memory.open_store(clock)
    feed = CacheFeed(store, clock, random.Random(0))
    await feed.start()
    cache = await feed.add(CachedResource(PREFIX, "Namespace", "v1", is_namespaced=False))
    lookup = CacheLookup()
    lookup.add(Namespace.__kind__, cache)
    running = asyncio.ensure_future(feed.run())
    try:
        yield store, cache, lookup
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _put(store: Store, cache: WatchCache, name: str, phase: str) -> None:
    value = f'{{"kind":"Namespace","apiVersion":"v1","metadata":{{"name":"{name}"}},"status":{{"phase":"{phase}"}}}}'
    await store.put(PREFIX + name, value.encode())
    await cache.get("", name)


def test_an_object_is_decoded_once_and_anew_when_it_has_changed() -> None:
    async def body() -> None:
        async with _a_lookup() as (store, cache, lookup):
            await _put(store, cache, "one", "Active")
            await _put(store, cache, "two", "Active")
            before = lookup.peek(Namespace, "one")
            assert before is not None
            assert lookup.peek(Namespace, "one") is before
            assert (await lookup.list(Namespace))[0] is before
            await _put(store, cache, "one", "Terminating")
            after = await lookup.get(Namespace, "one")
            assert (after.status.phase, before.status.phase) == ("Terminating", "Active")
            assert [one.metadata.name for one in await lookup.list(Namespace)] == ["one", "two"]
            assert (await lookup.list(Namespace))[0].status.phase == "Terminating"
            await store.delete(PREFIX + "two")
            await cache.get("", "two")
            assert [one.metadata.name for one in await lookup.list(Namespace)] == ["one"]
            with pytest.raises(NotFound):
                await lookup.get(Namespace, "three")

    asyncio.run(asyncio.wait_for(body(), 10))
