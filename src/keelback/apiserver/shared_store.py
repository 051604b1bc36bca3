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

_log = logger("shared_store")


class SharedStore:
    """Makes one server see what others have done. `settle` is set once custom resources are served."""

    def __init__(self, *feeds: CacheFeed) -> None:
        """`feeds` are those of resources that anything is decided by."""
        self._feeds = feeds
        self.settle: Callable[[], Awaitable[None]] | None = None
        """Waits until every definition that the cache knows of is served."""
        self.settle_policy: list[Callable[[], Awaitable[None]]] = []
        """Each waits until some of what authorization knows is what the cache knows."""

    async def prepare(self, method: str, info: RequestInfo, *, is_known: bool) -> None:
        """Before a request is answered. Raises StorageError where the store cannot say how far it is."""
        is_write = method not in _READS
        is_discovery = not info.is_resource_request and info.path.startswith(("/apis", "/openapi"))
        if is_write or is_discovery or not is_known:
            await self._catch_up()
        if self.settle is not None and (is_discovery or not is_known):
            await self.settle()

    def authorizer(self, inner: Authorizer) -> Authorizer:
        """Refuses only what is refused by the newest roles."""
        return _CaughtUp(inner, self)

    async def know_policy(self) -> None:
        """Let authorization know all that was acknowledged before now. Raises StorageError."""
        await self._catch_up()
        for settle in self.settle_policy:
            await settle()

    async def _catch_up(self) -> None:
        if len(self._feeds) == 1:
            await self._feeds[0].catch_up()
            return
        await asyncio.gather(*(feed.catch_up() for feed in self._feeds))


class _CaughtUp:
    def __init__(self, inner: Authorizer, shared: SharedStore) -> None:
        self._inner = inner
        self._shared = shared

    async def authorize(self, attributes: Attributes) -> Verdict:
        verdict = await self._inner.authorize(attributes)
        if verdict.is_allowed:
            return verdict
        try:
            await self._shared.know_policy()
        except StorageError as error:
            _log.warning("Whether a newer role allows it is not known", error=str(error))
            return verdict
        return await self._inner.authorize(attributes)
