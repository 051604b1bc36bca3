"""What a store over another does not look at."""

from __future__ import annotations

from typing import Self

from keelback.storage.protocol import Store


class StoreLayer:
    """The part of a `Store` over another that passes on what has nothing to do with keys and values."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def current_revision(self) -> int:
        return await self._store.current_revision()

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def size_bytes(self) -> int:
        return await self._store.size_bytes()

    async def close(self) -> None:
        await self._store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
