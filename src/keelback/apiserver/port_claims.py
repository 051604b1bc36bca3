"""Who may give out a port now: a key per port, held from the choice until the Service that gets it is written.

Which ports are taken, Services say. A claim's revision says how new that must be: a Service that was written under an
earlier claim of the port is in the cache by then, and nobody else writes one under this claim.
"""

from __future__ import annotations

from collections.abc import Iterable

from keelback.apiserver.watch_cache import WatchCache
from keelback.component.logs import logger
from keelback.storage.protocol import CompareFailed, StorageError, Store

PREFIX = "/registry/ranges/claimednodeports/"
TTL_SECONDS = 120.0
"""Longer than any request lives: what holds a claim longer is dead."""

_log = logger("port_claims")


class PortClaims:
    """The claims of this server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: set[int] = set()

    async def claim(self, port: int, services: WatchCache) -> bool:
        """Whether the port is this server's to give. If it is, the cache now has all Services that can have it."""
        try:
            revision = await self._store.put(f"{PREFIX}{port}", b"", expected_revision=0, ttl_seconds=TTL_SECONDS)
        except CompareFailed:
            return False
        self._held.add(port)
        await services.wait_for(revision)
        return True

    async def release(self, ports: Iterable[int]) -> None:
        """Let go of those that this server holds: their Services are written, or will not be."""
        for port in self._held.intersection(ports):
            self._held.discard(port)
            try:
                await self._store.delete(f"{PREFIX}{port}")
            except StorageError as error:
                _log.warning("A port stays claimed for a while", port=port, error=str(error))
