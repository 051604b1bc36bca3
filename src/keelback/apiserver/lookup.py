"""Typed look-ups in the server's own caches: for authentication, authorization and admission, which must not wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from keelback.apimachinery import codecs
from keelback.apimachinery.errors import NotFound
from keelback.apimachinery.meta import Kind, Object
from keelback.apiserver.watch_cache import WatchCache
from keelback.apiserver.watch_index import Entry

T = TypeVar("T", bound=Object)

_KEPT = 1_024


class CacheLookup:
    """Reads objects of the built-in kinds, at the cache's version: perhaps a moment behind the store."""

    def __init__(self) -> None:
        self._caches: dict[tuple[str, str], WatchCache] = {}
        # Every write asks for the same few namespaces, accounts and classes. Entries are replaced, never changed.
        self._decoded: Any = lru_cache(maxsize=_KEPT)(_decoded)
        # And for the same few lists, most of them empty, with the cache's count of changes when they were made.
        self._lists: dict[tuple[type[Object], str], tuple[int, tuple[Any, ...]]] = {}

    def add(self, kind: Kind, cache: WatchCache) -> None:
        self._caches[kind.group, kind.plural] = cache

    def __contains__(self, resource: tuple[str, str]) -> bool:
        return resource in self._caches

    def cache(self, kind: Kind) -> WatchCache:
        return self._caches[kind.group, kind.plural]

    def peek(self, kind: type[T], name: str, namespace: str = "") -> T | None:
        """The object, or None."""
        cache = self.cache(kind.__kind__)
        entry = cache.peek(namespace, name)
        return None if entry is None else self._decoded(kind, entry)

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        """The object. Raises NotFound."""
        found = self.peek(kind, name, namespace)
        # A cache that is behind must not make a fresh object look absent.
        return await self.newest(kind, name, namespace) if found is None else found

    async def newest(self, kind: type[T], name: str, namespace: str = "") -> T:
        """The object once the cache has come as far as the store is now. Raises NotFound."""
        wire = await self.cache(kind.__kind__).get(namespace, name)
        if wire is None:
            raise NotFound.of(kind.__kind__, name)
        return codecs.decode(kind, wire)

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        """All objects of a kind, in a namespace if one is given."""
        cache = self.cache(kind.__kind__)
        known = self._lists.get((kind, namespace))
        if known is not None and known[0] == cache.changes:
            return known[1]
        entries = cache.entries(namespace)
        if len(entries) > _KEPT // 8:
            return [codecs.decode(kind, entry.item) for entry in entries]
        found = tuple([self._decoded(kind, entry) for entry in entries])
        if len(self._lists) >= _KEPT:
            self._lists.clear()
        self._lists[kind, namespace] = cache.changes, found
        return found

    def scan(self, kind: type[T]) -> Iterator[T]:
        """All objects of a kind, at once."""
        for entry in self.cache(kind.__kind__).entries():
            yield codecs.decode(kind, entry.item)


def _decoded(kind: type[T], entry: Entry) -> T:
    return codecs.decode(kind, entry.item)
