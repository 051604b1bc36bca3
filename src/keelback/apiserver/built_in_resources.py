"""The resources that every server has: each with its store, its cache, its handler and its routes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from keelback.api.core_v1 import Pod, Service
from keelback.apiserver import subresources
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.allocators import ServiceAllocator
from keelback.apiserver.discovery import Discovery, Served
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.ownership import ManagedFields
from keelback.apiserver.port_claims import PortClaims
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import ResourceStore
from keelback.apiserver.routes import Routes
from keelback.apiserver.service_addresses import ServiceAddresses
from keelback.apiserver.store_places import StorePlaces
from keelback.apiserver.watch_wire import CachedResource
from keelback.concurrency.clock import Clock
from keelback.registry.strategy import Strategy


class BuiltInResources:
    """Makes handlers as the plan of served kinds asks for them."""

    def __init__(
        self,
        *,
        places: StorePlaces,
        lookup: CacheLookup,
        routes: Routes,
        discovery: Discovery,
        binder: AdmissionBinder,
        addresses: ServiceAddresses,
        clock: Clock,
        chance: random.Random,
        new_uid: Callable[[], str],
        node_ports: tuple[int, int],
        event_ttl_seconds: float,
    ) -> None:
        self.handlers: dict[tuple[str, str], ResourceHandler] = {}
        """By group, and by group version, and plural. Custom resources are put here too."""
        self._hidden: dict[tuple[str, str], ResourceHandler] = {}
        self._places = places
        self._lookup = lookup
        self._routes = routes
        self._discovery = discovery
        self._binder = binder
        self._addresses = addresses
        self._clock = clock
        self._chance = chance
        self._new_uid = new_uid
        self._node_ports = node_ports
        self._event_ttl_seconds = event_ttl_seconds

    def handler(self, group: str, plural: str) -> ResourceHandler:
        """The handler of a resource, whether it is served or not. Raises KeyError."""
        found = self._hidden.get((group, plural))
        return self.handlers[group, plural] if found is None else found

    async def add(self, strategy: Strategy[Any], *, is_served: bool = True) -> None:
        """Follow a resource in the store and serve it; what is not served is there for the server itself."""
        kind = strategy.kind.__kind__
        place = self._places.of(strategy)
        allocator = (
            ServiceAllocator(
                self._lookup, self._addresses, PortClaims(self._places.main.store), self._chance, self._node_ports
            )
            if strategy.kind is Service
            else None
        )
        resources = ResourceStore(
            place.store,
            strategy,
            ownership=ManagedFields(strategy.schema(), strategy.not_written_by),
            new_uid=self._new_uid,
            chance=self._chance,
            allocator=allocator,
            # Nothing else than events goes by itself.
            ttl_seconds=None if strategy.ttl_seconds is None else self._event_ttl_seconds,
        )
        cache = await place.feed.add(
            CachedResource(
                prefix=resources.prefix,
                kind=kind.kind,
                api_version=kind.api_version,
                is_namespaced=kind.namespaced,
                list_kind=kind.list_kind,
                field_type=strategy.field_type,
                fields=strategy.fields,
                indexed_fields=("spec.nodeName",) if strategy.kind is Pod else (),
                convert=strategy.from_storage,
            )
        )
        handler = ResourceHandler(strategy, resources, cache, self._binder, self._clock)
        if (kind.group, kind.plural) not in self._lookup:
            self._lookup.add(kind, cache)
        if is_served:
            route = self._routes.add_resource
            self._serve(handler)
        else:
            route = self._routes.reserve_resource
            self._hidden[kind.group, kind.plural] = handler
        route(kind.group, kind.version, kind.plural, "", handler.handle)
        for name in strategy.subresources:
            if name in subresources.PARTS:
                part = subresources.PartHandler(handler, name, subresources.PARTS[name])
                route(kind.group, kind.version, kind.plural, name, part.handle)
            elif name == "scale":
                scale = subresources.ScaleHandler(handler)
                route(kind.group, kind.version, kind.plural, name, scale.handle)

    def _serve(self, handler: ResourceHandler) -> None:
        kind, strategy = handler.kind, handler.strategy
        if strategy.storage_kind is None or (kind.group, kind.plural) not in self.handlers:
            self.handlers[kind.group, kind.plural] = handler
        self.handlers.setdefault((kind.api_version, kind.plural), handler)
        # Whose stored version is not served is, to clients, stored as what they see.
        is_view = strategy.storage_kind is not None and (kind.group, kind.plural) not in self._hidden
        stored_as = strategy.storage_kind.__kind__ if is_view else None
        self._discovery.add(Served(kind, strategy.verbs, strategy.subresources, stored_as=stored_as))

    def plural_of(self, api_version: str, kind_name: str) -> str | None:
        """The resource of a kind, by its plural."""
        for handler in self.handlers.values():
            if (handler.kind.api_version, handler.kind.kind) == (api_version, kind_name):
                return handler.kind.plural
        return None

    def restrict_verbs(self) -> None:
        """What discovery says of a built-in resource is all that its paths take."""
        for served in self._discovery.served():
            place = (served.kind.group, served.kind.version, served.kind.plural)
            for name in ("", *served.subresources):
                self._routes.scope_resource(*place, name, namespaced=served.kind.namespaced)
                if name != "proxy":
                    verbs = served.subresource(name).verbs if name else served.verbs
                    self._routes.restrict_resource(*place, name, verbs)
