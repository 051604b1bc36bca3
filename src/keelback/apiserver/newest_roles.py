"""Nobody is refused what a role allows that was acknowledged before the request came.

What authorization knows follows the caches, and these the store: both are a moment behind. Who makes a role and uses it
at once would be refused now and then, on a server of its own as well as where another server took the role.
"""

from __future__ import annotations

from collections.abc import Sequence

from keelback.apiserver.cache_follower import CacheFollower
from keelback.apiserver.shared_store import catch_up
from keelback.apiserver.watch_feed import CacheFeed
from keelback.auth.attributes import Attributes, Authorizer, Verdict
from keelback.component.logs import logger
from keelback.storage.protocol import StorageError

_log = logger("newest_roles")


class NewestRoles:
    """Asks an authorizer once more before it refuses, if there was anything that it did not know."""

    def __init__(self, inner: Authorizer, feeds: Sequence[CacheFeed], *, is_shared: bool) -> None:
        """`feeds` are those of the resources that decide. Where the store `is_shared` only it can say what is new."""
        self._inner = inner
        self._feeds = feeds
        self._is_shared = is_shared
        self.followers: list[CacheFollower] = []
        """What keeps the authorizer in step with the caches."""

    async def authorize(self, attributes: Attributes) -> Verdict:
        verdict = await self._inner.authorize(attributes)
        if verdict.is_allowed:
            return verdict
        try:
            if not self._is_shared and not await self._is_behind():
                return verdict
            await catch_up(self._feeds)
        except StorageError as error:
            _log.warning("Whether a newer role allows it is not known", error=str(error))
            return verdict
        for follower in self.followers:
            await follower.settle()
        return await self._inner.authorize(attributes)

    async def _is_behind(self) -> bool:
        if any(follower.is_behind for follower in self.followers):
            return True
        return any([await feed.is_behind() for feed in self._feeds])
