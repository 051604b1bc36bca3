"""What a server does when others write to its store: it looks how far they have come before it decides.

A client that was answered by one server may ask another next. Reads are fresh by themselves (`watch_cache`); admission,
authorization and the routes of custom resources read the caches as they are, so these catch up first: before every
write, and before a refusal that a newer role or definition would not bear out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from keelback.apiserver.request_info import RequestInfo
from keelback.apiserver.watch_feed import CacheFeed
from keelback.auth.attributes import Attributes, Authorizer, Verdict
from keelback.component.logs import logger
from keelback.storage.protocol import StorageError

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# What follows a cache has its say some turns of the event loop later.
_TURNS = 5

_log = logger("shared_store")


class SharedStore:
    """Makes one server see what others have done. `settle` is set once custom resources are served."""

    def __init__(self, feed: CacheFeed) -> None:
        self._feed = feed
        self.settle: Callable[[], Awaitable[None]] | None = None
        """Waits until every definition that the cache knows of is served."""

    async def prepare(self, method: str, info: RequestInfo, *, is_known: bool) -> None:
        """Before a request is answered. Raises StorageError where the store cannot say how far it is."""
        is_write = method not in _READS
        is_discovery = not info.is_resource_request and info.path.startswith(("/apis", "/openapi"))
        if is_write or is_discovery or not is_known:
            await self._feed.catch_up()
        if self.settle is not None and (is_discovery or not is_known):
            await self.settle()

    def authorizer(self, inner: Authorizer) -> Authorizer:
        """Refuses only what is refused by the newest roles."""
        return _CaughtUp(inner, self._feed)


class _CaughtUp:
    def __init__(self, inner: Authorizer, feed: CacheFeed) -> None:
        self._inner = inner
        self._feed = feed

    async def authorize(self, attributes: Attributes) -> Verdict:
        verdict = await self._inner.authorize(attributes)
        if verdict.is_allowed:
            return verdict
        try:
            was_behind = await self._feed.catch_up()
        except StorageError as error:
            _log.warning("Whether a newer role allows it is not known", error=str(error))
            return verdict
        if not was_behind:
            return verdict
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        return await self._inner.authorize(attributes)
