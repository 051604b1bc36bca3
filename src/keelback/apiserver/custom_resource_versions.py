"""The served versions of custom resources: each with its strategy, store and watch cache.

Where a webhook converts, a version stands on a store and a feed of its own, so that a webhook that is slow or gone
holds up nobody but those who ask for what it converts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keelback.admission.webhook_client import HTTPSWebhookCaller
from keelback.api.apiextensions_v1 import CustomResourceDefinition, CustomResourceDefinitionVersion, WebhookConversion
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.converting_store import ConversionWebhook, ConvertingStore
from keelback.apiserver.ownership import ManagedFields
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import ResourceStore
from keelback.apiserver.watch_cache import WatchCache
from keelback.apiserver.watch_feed import CacheFeed
from keelback.apiserver.watch_wire import CachedResource
from keelback.component.evaluations import Evaluations
from keelback.component.metrics import Histogram
from keelback.concurrency.clock import Clock
from keelback.registry.custom_resources import CustomResourceStrategy, strategy_of
from keelback.storage.protocol import Store

_LONGEST_WAIT_SECONDS = 10.0


@dataclass(slots=True)
class ServedVersion:
    """One served version: what has to be taken back when it ends."""

    handler: ResourceHandler
    cache: WatchCache
    strategy: CustomResourceStrategy
    selectable: tuple[str, ...]
    """The paths that field selectors may name."""

    feed: CacheFeed
    converting: ConvertingStore | None = None
    following: asyncio.Task[Any] | None = None
    """The feed's own task, where the feed is the version's own."""

    async def check(self) -> None:
        """Raises ConversionFailed where the cache is stale because the webhook fails."""
        if self.converting is not None and not self.feed.is_following:
            await self.converting.range(self.cache.resource.prefix)

    async def retire(self, clock: Clock) -> None:
        """End the watches of others, and watch no more as soon as no request can still be waiting for the cache."""
        self.cache.close("closed")
        try:
            await clock.sleep(_LONGEST_WAIT_SECONDS)
        finally:
            self.feed.remove(self.cache)
            if self.following is not None:
                self.following.cancel()


@dataclass(frozen=True, slots=True)
class VersionMaker:
    """Makes served versions."""

    store: Store
    feed: CacheFeed
    binder: AdmissionBinder
    caller: HTTPSWebhookCaller
    clock: Clock
    chance: random.Random
    new_uid: Callable[[], str]
    evaluations: Evaluations
    conversion_seconds: Histogram

    def objects(self, definition: CustomResourceDefinition) -> tuple[ResourceStore[Any], Store]:
        """The objects of a definition in its storage version, and the store they are in."""
        storage = next(one for one in definition.spec.versions if one.storage)
        strategy = strategy_of(definition, storage, is_converted=_webhook(definition) is not None)
        return self._objects(definition, strategy)

    async def make(
        self, definition: CustomResourceDefinition, version: CustomResourceDefinitionVersion
    ) -> ServedVersion:
        """Serve one version. Raises what the store raises."""
        strategy = strategy_of(definition, version, is_converted=_webhook(definition) is not None)
        resources, store = self._objects(definition, strategy)
        converting = store if isinstance(store, ConvertingStore) else None
        feed = self.feed
        if converting is not None:
            feed = CacheFeed(converting, self.clock, self.chance)
            # What was written before would have to be converted, by a webhook that may not be there.
            await feed.start(recalls=False)
        cache = await feed.add(_cached(definition, strategy, resources.prefix), may_fail=converting is not None)
        return ServedVersion(
            ResourceHandler(strategy, resources, cache, self.binder, self.clock),
            cache,
            strategy,
            tuple(one.json_path.removeprefix(".") for one in version.selectable_fields),
            feed,
            converting,
            None if converting is None else asyncio.create_task(feed.run()),
        )

    def _objects(
        self, definition: CustomResourceDefinition, strategy: CustomResourceStrategy
    ) -> tuple[ResourceStore[Any], Store]:
        store = self.store
        webhook = _webhook(definition)
        if webhook is not None:
            storage = strategy_of(definition, next(one for one in definition.spec.versions if one.storage))
            store = ConvertingStore(
                store,
                ConversionWebhook(
                    self.caller, webhook, self.new_uid, definition.metadata.name, self.conversion_seconds
                ),
                prefix=f"/registry/{strategy.storage_path}/",
                served=strategy.kind.__kind__.api_version,
                stored=storage.kind.__kind__.api_version,
                as_read=strategy.as_read,
                as_served=strategy.from_converted,
                as_stored=storage.from_converted,
            )
        ownership = ManagedFields(strategy.schema, strategy.not_written_by)
        made: ResourceStore[Any] = ResourceStore(
            store,
            strategy,
            ownership=ownership,
            new_uid=self.new_uid,
            chance=self.chance,
            evaluations=self.evaluations,
        )
        return made, store


def _webhook(definition: CustomResourceDefinition) -> WebhookConversion | None:
    """The webhook that converts; None where only the apiVersion changes, or nothing does."""
    conversion = definition.spec.conversion
    if conversion is None or conversion.strategy != "Webhook" or len(definition.spec.versions) < 2:
        return None
    return conversion.webhook


def _cached(definition: CustomResourceDefinition, strategy: CustomResourceStrategy, prefix: str) -> CachedResource:
    kind = strategy.kind.__kind__
    return CachedResource(
        prefix=prefix,
        kind=kind.kind,
        api_version=kind.api_version,
        is_namespaced=kind.namespaced,
        list_kind=kind.list_kind,
        keeps_type=True,
        field_type=strategy.field_type,
        fields=strategy.fields,
        convert=strategy.from_storage,
        # What was stored by another version or an older schema is shown with this one's defaults.
        converts_all=len(definition.spec.versions) > 1 or definition.metadata.generation > 1,
    )
