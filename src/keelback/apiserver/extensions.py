"""API groups that something else answers: their requests are passed on once it is known who asks and that they may.

The other side is a handler in this process, spoken to as an aggregated API server is: what it serves is read from its
own discovery document, and its schemas from its OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from keelback.apimachinery.meta import make_kind
from keelback.apiserver.context import RequestContext
from keelback.apiserver.discovery import Discovery, Served
from keelback.apiserver.openapi import OpenAPI
from keelback.apiserver.server import APIServer
from keelback.client import Client, InProcessTransport
from keelback.component.http import AnyResponse, Handler


@dataclass(frozen=True, slots=True)
class Extension:
    """A group version and who answers for it. The handler finds the user in the request's `identity`."""

    group: str
    version: str
    handler: Handler


class _Resource(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    kind: str
    namespaced: bool = False
    singular_name: str = ""
    verbs: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


class _ResourceList(msgspec.Struct, frozen=True):
    resources: list[_Resource]


class _Components(msgspec.Struct, frozen=True):
    schemas: Mapping[str, Any] = {}


class _Document(msgspec.Struct, frozen=True):
    components: _Components = _Components()


async def serve(extension: Extension, server: APIServer, discovery: Discovery, openapi: OpenAPI) -> None:
    """Serve the group version from now on. Raises StatusError where it does not tell what it serves."""
    group, version = extension.group, extension.version
    client = Client(InProcessTransport(extension.handler))
    answer = await client.request("GET", f"/apis/{group}/{version}")
    described = await client.request("GET", f"/openapi/v3/apis/{group}/{version}")
    schemas = msgspec.json.decode(described.content(), type=_Document).components.schemas
    listed = msgspec.json.decode(answer.content(), type=_ResourceList).resources
    names = {one.name for one in listed}
    for one in listed:
        resource, _, part = one.name.partition("/")
        server.routes.add_resource(group, version, resource, part, _passing_on(extension.handler))
        if part and resource in names:
            continue
        # Metrics of other groups' objects are parts of nothing that is served here: services/requests-per-second.
        kind = make_kind(
            f"{group}/{version}",
            one.kind,
            one.name,
            namespaced=one.namespaced,
            singular=one.singular_name,
            short_names=one.short_names,
            categories=one.categories,
        )
        discovery.add(Served(kind, one.verbs, is_stored=False))
        # Documents are put together from what each resource brings; all bring the version's.
        openapi.set_schemas(group, version, one.name, schemas)


def _passing_on(handler: Handler) -> Any:
    async def pass_on(context: RequestContext) -> AnyResponse:
        return await handler(msgspec.structs.replace(context.request, identity=context.user))

    return pass_on
