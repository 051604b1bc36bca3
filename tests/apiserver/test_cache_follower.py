"""What follows a cache knows what the cache knows, also after the cache has started anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import ObjectMeta
from keelback.apiserver.cache_follower import CacheFollower
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.watch_cache import Loading
from keelback.apiserver.watch_feed import CacheFeed
from keelback.apiserver.watch_wire import CachedResource
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory
from keelback.storage.protocol import Store

PREFIX = "/registry/configmaps/"


class Known:
    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.taken = 0

    def put(self, obj: ConfigMap) -> None:
        self.names[obj.metadata.name] = obj.data["a"]
        self.taken += 1

    def remove(self, namespace: str, name: str) -> None:
        del self.names[name]


async def write(store: Store, name: str, value: str) -> None:
    obj = ConfigMap(metadata=ObjectMeta(name=name, namespace="n"), data={"a": value})
    await store.put(f"{PREFIX}n/{name}", codecs.encode_stored(obj))


def followed(test: Callable[[Store, CacheFeed, CacheFollower, Known], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = SystemClock()
        async with asyncio.timeout(30), memory.open_store(clock) as store:
            await write(store, "a", "1")
            await write(store, "b", "1")
            feed = CacheFeed(store, clock)
            await feed.start()
            lookup = CacheLookup()
            resource = CachedResource(prefix=PREFIX, kind="ConfigMap", api_version="v1", is_namespaced=True)
            lookup.add(ConfigMap.__kind__, await feed.add(resource))
            known = Known()
            follower = CacheFollower(ConfigMap, lookup, clock, known.put, known.remove)
            running = [asyncio.ensure_future(feed.run()), asyncio.ensure_future(follower.run())]
            await test(store, feed, follower, known)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(main())


def test_it_takes_what_is_there_once_and_then_what_changes() -> None:
    async def test(store: Store, feed: CacheFeed, follower: CacheFollower, known: Known) -> None:
        assert known.names == {"a": "1", "b": "1"}
        await write(store, "a", "2")
        await store.delete(f"{PREFIX}n/b")
        await feed.catch_up()
        await follower.settle()
        assert known.names == {"a": "2"}
        assert known.taken == 3

    followed(test)


def test_it_forgets_what_went_while_the_cache_did_not_follow() -> None:
    async def test(store: Store, feed: CacheFeed, follower: CacheFollower, known: Known) -> None:
        cache = follower.cache
        await store.delete(f"{PREFIX}n/b")
        await write(store, "c", "1")
        loading = Loading()
        async for page in store.pages(PREFIX):
            cache.read(page, loading)
        cache.load(loading)
        await write(store, "d", "1")
        await feed.catch_up()
        while known.names.keys() != {"a", "c", "d"}:
            await follower.settle()
            await asyncio.sleep(0.01)

    followed(test)
