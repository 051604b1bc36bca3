"""`/api/v1/componentstatuses`: made for each request from the leases of leaders, and from asking the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Container
from datetime import datetime

import msgspec

from keelback.api.coordination_v1 import Lease
from keelback.api.core_v1 import ComponentStatus
from keelback.apimachinery import codecs, errors
from keelback.apiserver import negotiation, options, tables
from keelback.apiserver.context import RequestContext
from keelback.apiserver.lookup import CacheLookup
from keelback.component.http import AnyResponse
from keelback.registry.componentstatuses import ComponentStatusStrategy, healthy, of_lease, of_store
from keelback.storage.protocol import Store

_LEADERS = (("controller-manager", "kube-controller-manager"), ("scheduler", "kube-scheduler"))
_STORE_SECONDS = 5.0


class ComponentStatuses:
    """The two verbs there are."""

    def __init__(self, lookup: CacheLookup, store: Store, in_process: Container[str]) -> None:
        """`in_process` has the names of the users whose components live in this process, and end with it."""
        self._in_process = in_process
        self._lookup = lookup
        self._store = store
        self.strategy = ComponentStatusStrategy()

    async def handle(self, context: RequestContext) -> AnyResponse:
        context.warn_of_deprecation(self.strategy.deprecation_warning)
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""))
        match context.info.verb:
            case "get":
                return self._one(context, accepted, await self._observe(context.now))
            case "list":
                return self._many(context, accepted, await self._observe(context.now))
        raise errors.MethodNotSupported.unrouted()

    async def _observe(self, now: datetime) -> list[ComponentStatus]:
        found = [
            healthy(name) if f"system:{lease}" in self._in_process else of_lease(name, await self._lease(lease), now)
            for name, lease in _LEADERS
        ]
        is_answering = False
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_STORE_SECONDS):
                await self._store.get("/registry/health")
                is_answering = True
        return [*found, of_store(is_answering=is_answering)]

    async def _lease(self, name: str) -> Lease | None:
        try:
            return await self._lookup.get(Lease, name, "kube-system")
        except errors.NotFound:
            return None

    def _one(
        self, context: RequestContext, accepted: negotiation.Accepted, found: list[ComponentStatus]
    ) -> AnyResponse:
        for one in found:
            if one.metadata.name == context.info.name:
                return self._respond(context, accepted, [codecs.encode(one)], codecs.encode(one))
        raise errors.NotFound.of(ComponentStatus.__kind__, context.info.name)

    def _many(
        self, context: RequestContext, accepted: negotiation.Accepted, found: list[ComponentStatus]
    ) -> AnyResponse:
        wanted = options.list_options(context, self.strategy)
        selected = [
            codecs.encode(one)
            for one in found
            if (wanted.labels is None or wanted.labels.matches(one.metadata.labels))
            and (wanted.fields is None or wanted.fields.matches({"metadata.name": one.metadata.name}))
        ]
        whole = b'{"kind":"ComponentStatusList","apiVersion":"v1","metadata":{},"items":[%b]}' % b",".join(selected)
        return self._respond(context, accepted, selected, whole)

    def _respond(
        self, context: RequestContext, accepted: negotiation.Accepted, wires: list[bytes], whole: bytes
    ) -> AnyResponse:
        body: bytes = whole
        if accepted.transform == "Table":
            body = tables.table(
                self.strategy,
                wires,
                context.now,
                version=accepted.transform_version,
                include_object=context.query.get("includeObject", "Metadata"),
            )
        elif accepted.transform and context.info.verb == "get":
            body = tables.partial_metadata(whole, accepted.transform_version)
        elif accepted.transform:
            meta = msgspec.json.encode({})
            body = b"".join(tables.partial_metadata_list(wires, meta, accepted.transform_version))
        return negotiation.respond(200, body, accepted, warnings=context.warnings)
