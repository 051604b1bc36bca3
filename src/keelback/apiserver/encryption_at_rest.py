"""Encryption at rest for a server's store: which key in the store is of which resource, as configurations name them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.encryption.at_rest import AtRest
from keelback.encryption.config import GroupResource
from keelback.encryption.metrics import EncryptionMetrics
from keelback.encryption.options import EncryptionSettings
from keelback.registry.strategy import Strategy
from keelback.storage.protocol import Store

_PLUGIN_SECONDS = 10.0
"""How long plugins are waited for. What they keep the keys of is unreadable until they come; all else is served."""
_POLL_SECONDS = 0.2


class Locator:
    """Knows the resource of a key by its folder. What has a dot there is a custom resource."""

    def __init__(self, strategies: Iterable[Strategy[Any]]) -> None:
        self._by_folder: dict[str, GroupResource] = {}
        for one in strategies:
            # Other versions are kept in the same folder: Events are those of the core group.
            kind = one.kind.__kind__
            folder = one.storage_path or kind.plural
            self._by_folder.setdefault(folder, GroupResource(kind.group, kind.plural))

    def __call__(self, key: str) -> GroupResource | None:
        """The resource; None for what is kept beside resources."""
        parts = key.split("/", 4)
        if len(parts) < 4 or parts[1] != "registry":
            return None
        folder, below = parts[2], parts[3]
        found = self._by_folder.get(folder) or self._by_folder.get(f"{folder}/{below}")
        if found is None and "." in folder:
            return GroupResource(folder, below)
        return found


async def begin(
    store: Store,
    settings: EncryptionSettings,
    locate: Locator,
    clock: Clock,
    chance: random.Random,
    metrics: Registry,
    server_id: str,
) -> AtRest | None:
    """What the configuration asks for; None where nothing is to be encrypted. Raises EncryptionError."""
    if not settings.path:
        return None
    counted = EncryptionMetrics(metrics, clock, server_id)
    made = AtRest(store, settings, locate, clock, chance, counted)
    deadline = clock.monotonic() + _PLUGIN_SECONDS
    while not await made.prime() and clock.monotonic() < deadline:
        await clock.sleep(_POLL_SECONDS)
    return made
