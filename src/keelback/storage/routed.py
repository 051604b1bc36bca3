"""Several stores behind one: keys below some prefixes are kept elsewhere (upstream: --etcd-servers-overrides).

Layers that look at values alone may lie between a `RoutedStore` and the `Partition` that leaves only one part visible.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from keelback.storage.layer import StoreLayer
from keelback.storage.protocol import KeyValue, Page, RangeResult, Store, Watch

# No key begins so: what is watched is all of one store, whose revisions a reader must follow whoever writes.
_WHOLE = "\0"


class Override(NamedTuple):
    """What is kept elsewhere, and where. The prefix ends in a slash, and no other begins with it."""

    prefix: str
    store: Store


class RoutedStore(StoreLayer):
    """A Store whose keys are in one of several. What is asked of all keys is answered by the first, `store`."""

    def __init__(self, store: Store, overrides: Sequence[Override]) -> None:
        super().__init__(store)
        self._overrides = tuple(overrides)
        self._whole = {_WHOLE + one.prefix: one.store for one in overrides}

    async def get(self, key: str) -> KeyValue | None:
        return await self._of(key).get(key)

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        return await self._of(prefix).range(prefix, start=start, limit=limit, revision=revision)

    def pages(self, prefix: str) -> AsyncIterator[Page]:
        return self._of(prefix).pages(prefix)

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        return await self._of(key).put(key, value, expected_revision=expected_revision, ttl_seconds=ttl_seconds)

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        return await self._of(key).delete(key, expected_revision=expected_revision)

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> Watch:
        whole = self._whole.get(prefix)
        if whole is not None:
            return whole.watch("", from_revision, with_previous=with_previous)
        return self._of(prefix).watch(prefix, from_revision, with_previous=with_previous)

    def _of(self, key: str) -> Store:
        for prefix, store in self._overrides:
            if key.startswith(prefix):
                return store
        return self._store


class Partition(StoreLayer):
    """One override of a RoutedStore as a Store of its own: its revisions are those of the store that keeps it.

    `routed` is the RoutedStore, or layers over it.
    """

    def __init__(self, routed: Store, override: Override) -> None:
        super().__init__(override.store)
        self._routed = routed
        self._prefix = override.prefix

    async def get(self, key: str) -> KeyValue | None:
        return await self._routed.get(key)

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        return await self._routed.range(prefix or self._prefix, start=start, limit=limit, revision=revision)

    def pages(self, prefix: str) -> AsyncIterator[Page]:
        return self._routed.pages(prefix or self._prefix)

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        return await self._routed.put(key, value, expected_revision=expected_revision, ttl_seconds=ttl_seconds)

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        return await self._routed.delete(key, expected_revision=expected_revision)

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> Watch:
        return self._routed.watch(prefix or _WHOLE + self._prefix, from_revision, with_previous=with_previous)
