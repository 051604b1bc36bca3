"""What resources the server has now, custom ones included, and metadata-only types made for them.

Two requests: aggregated discovery says everything at once.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import msgspec

from keelback.apimachinery.meta import Kind, ManagedFieldsEntry, Object, ObjectMeta, make_kind, written
from keelback.client import Client
from keelback.client.discovery import AGGREGATED


class _KindName(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    group: str = ""
    version: str = ""


class _Resource(msgspec.Struct, frozen=True, rename="camel"):
    resource: str
    verbs: tuple[str, ...] = ()
    scope: str = ""
    response_kind: _KindName = _KindName()


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    version: str
    resources: tuple[_Resource, ...] = ()
    freshness: str = "Current"


class _GroupMeta(msgspec.Struct, frozen=True):
    name: str = ""


class _Group(msgspec.Struct, frozen=True):
    metadata: _GroupMeta = _GroupMeta()
    versions: tuple[_Version, ...] = ()


class _Groups(msgspec.Struct, frozen=True):
    items: tuple[_Group, ...] = ()


class ResourceKind(msgspec.Struct, frozen=True):
    """A resource in the version its group prefers, and what can be done with it."""

    kind: Kind
    verbs: frozenset[str]


class Discovered(msgspec.Struct, frozen=True):
    """All resources; `stale` are the group versions of which the server (for an aggregated API is down) cannot tell."""

    resources: tuple[ResourceKind, ...]
    stale: tuple[str, ...] = ()


async def discover(client: Client) -> Discovered:
    """Ask the server. Raises StatusError, OSError, TimeoutError."""
    found: dict[tuple[str, str], ResourceKind] = {}
    stale: list[str] = []
    for path in ("/api", "/apis"):
        response = await client.request("GET", path, headers={"accept": AGGREGATED})
        said = _said(response.content())
        found |= said.resources
        stale += said.stale
    return Discovered(tuple(found.values()), tuple(stale))


class _Said(NamedTuple):
    resources: dict[tuple[str, str], ResourceKind]
    stale: list[str]


# Those who ask every few minutes mostly hear what they heard before.
@functools.lru_cache(maxsize=8)
def _said(document: bytes) -> _Said:
    said = _Said({}, [])
    for group in msgspec.json.decode(document, type=_Groups).items:
        name = group.metadata.name
        for version in group.versions:
            if version.freshness == "Stale":
                said.stale.append(f"{name}/{version.version}" if name else version.version)
            for resource in version.resources:
                # Versions come in order of preference; one resource in two versions is the same objects.
                said.resources.setdefault((name, resource.resource), _resource_kind(name, version.version, resource))
    return said


class _Metadata(ObjectMeta):
    # No field on the wire has this name, so nothing is ever decoded into it.
    managed_fields: tuple[ManagedFieldsEntry, ...] = msgspec.field(default=(), name="-")


class Metadata(Object):
    """Any object, of which only the metadata is held."""

    metadata: _Metadata = written(_Metadata())


@functools.cache
def metadata_type(kind: Kind) -> type[Metadata]:
    """A type that holds the metadata of this kind's objects and skips the rest."""
    made: Any = msgspec.defstruct(
        f"{kind.kind}Metadata",
        [],
        bases=(Metadata,),
        namespace={"__kind__": kind},
        frozen=True,
        kw_only=True,
        omit_defaults=True,
    )
    return made  # type: ignore[no-any-return]


def _resource_kind(group: str, version: str, resource: _Resource) -> ResourceKind:
    api_version = f"{group}/{version}" if group else version
    namespaced = resource.scope == "Namespaced"
    kind = make_kind(api_version, resource.response_kind.kind, resource.resource, namespaced=namespaced)
    return ResourceKind(kind, frozenset(resource.verbs))
