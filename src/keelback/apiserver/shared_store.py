"""What a server does when others write to its store: it looks how far they have come before it decides.

A client that was answered by one server may ask another next. Reads are fresh by themselves (`watch_cache`); admission
and the routes of custom resources read the caches as they are, so these catch up first: before every write, and before
it is said that there is no such resource. Of authorization `newest_roles` sees to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from keelback.apiserver.request_info import RequestInfo
from keelback.apiserver.watch_feed import CacheFeed

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class SharedStore:
    """Makes one server see what others have done. `settle` is set once custom resources are served."""

    def __init__(self, *feeds: CacheFeed) -> None:
        """`feeds` are those of resources that anything is decided by."""
        self._feeds = feeds
        self.settle: Callable[[], Awaitable[None]] | None = None
        """Waits until every definition that the cache knows of is served."""

    async def prepare(self, method: str, info: RequestInfo, *, is_known: bool) -> None:
        """Before a request is answered. Raises StorageError where the store cannot say how far it is."""
        is_write = method not in _READS
        is_discovery = not info.is_resource_request and info.path.startswith(("/apis", "/openapi"))
        if is_write or is_discovery or not is_known:
            await catch_up(self._feeds)
        if self.settle is not None and (is_discovery or not is_known):
            await self.settle()


async def catch_up(feeds: Sequence[CacheFeed]) -> None:
    """Let the caches know all that was acknowledged before now. Raises StorageError."""
    if len(feeds) == 1:
        await feeds[0].catch_up()
        return
    await asyncio.gather(*(feed.catch_up() for feed in feeds))
