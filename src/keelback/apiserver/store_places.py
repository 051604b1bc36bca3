"""Where a server keeps each resource, and what feeds the caches from there: one store, or several by resource.

Each store counts revisions of its own, so each has a feed of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apiserver.watch_feed import CacheFeed
from keelback.concurrency.clock import Clock
from keelback.registry.strategy import Strategy
from keelback.storage.protocol import Store
from keelback.storage.routed import Override, Partition

_ALL: Final = "/registry/"
_DECIDES_NOTHING: Final = frozenset((f"{_ALL}events/", f"{_ALL}leases/"))
"""What neither admission nor authorization reads: what is usually kept elsewhere may be away, and all else goes on."""


class StorePlace(NamedTuple):
    """One of the stores, as writes and caches use it, and what the keys begin with that are there."""

    prefix: str
    store: Store
    feed: CacheFeed


class StorePlaces:
    """The place of every resource. `store` has all layers that values pass through, over all stores."""

    def __init__(self, store: Store, overrides: Sequence[Override], clock: Clock, chance: random.Random) -> None:
        def place(prefix: str, one: Store) -> StorePlace:
            return StorePlace(prefix, one, CacheFeed(one, clock, random.Random(chance.getrandbits(32))))

        self.main = place(_ALL, store)
        self._elsewhere = {one.prefix: place(one.prefix, Partition(store, one)) for one in overrides}

    @property
    def elsewhere(self) -> Sequence[StorePlace]:
        """All but the main one."""
        return tuple(self._elsewhere.values())

    @property
    def deciding(self) -> Sequence[CacheFeed]:
        """The feeds that must have caught up before a write is decided on, where others write too."""
        found = (one.feed for prefix, one in self._elsewhere.items() if prefix not in _DECIDES_NOTHING)
        return (self.main.feed, *found)

    def of(self, strategy: Strategy[Any]) -> StorePlace:
        """The place of a built-in resource."""
        if not self._elsewhere:
            return self.main
        return self._elsewhere.get(prefix_of(strategy), self.main)

    async def start(self) -> None:
        """Begin to watch the stores. Raises what they raise."""
        await self.main.feed.start()
        for one in self.elsewhere:
            await one.feed.start()


def prefix_of(strategy: Strategy[Any]) -> str:
    """What the keys of a resource begin with. Versions of one resource, and both kinds of events, have one place."""
    return f"{_ALL}{strategy.storage_path or strategy.kind.__kind__.plural}/"


def overrides_of(given: Mapping[tuple[str, str], Store], strategies: Iterable[Strategy[Any]]) -> tuple[Override, ...]:
    """What is kept elsewhere, given the stores by group and plural. Raises ConfigurationError for what there is not."""
    prefixes: dict[tuple[str, str], str] = {}
    if given:
        for one in strategies:
            prefixes.setdefault((one.kind.__kind__.group, one.kind.__kind__.plural), prefix_of(one))
    made: dict[str, Override] = {}
    for (group, plural), store in given.items():
        prefix = prefixes.get((group, plural))
        if prefix is None:
            raise ConfigurationError(f"--etcd-servers-overrides: there is no built-in resource {group}/{plural}")
        made[prefix] = Override(prefix, store)
    return tuple(made.values())
