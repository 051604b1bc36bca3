"""The OpenAPI documents: what clients validate, explain and merge by.

A document is made when it is first asked for, in a thread for it takes long, and kept as bytes. Its hash is that of
what it is made from, so that the index of version 3 costs no document.
"""

from __future__ import annotations

import asyncio
import hashlib
import http
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, Final, NamedTuple

import msgspec

import keelback
from keelback.apiserver.context import RequestContext
from keelback.apiserver.discovery import Served
from keelback.apiserver.openapi_schemas import Schema
from keelback.component.http import AnyResponse, Response

_JSON: Final = "application/json"
_YEAR: Final = timedelta(days=365)
_PROTOBUF_V2: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_PROTOBUF_V3: Final = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
_PROTOBUF: Final = " protobuf"
"""After a place: its document in that form."""


class _Described(NamedTuple):
    """The schemas of one custom resource, packed: they are large and seldom asked for."""

    digest: str
    packed: bytes


@dataclass(frozen=True, slots=True)
class RemoteDocuments:
    """What another server publishes, packed. `part` is of version 2, as `openapi_merge.part_of_group` makes it;
    `documents` are of version 3, by place."""

    part: bytes = b""
    documents: Mapping[str, bytes] = field(default_factory=dict)


class OpenAPI:
    """The documents of what `served` names.

    `version` is the Kubernetes version (`v1.36.0`) whose published schemas describe the built-in kinds.
    """

    def __init__(self, served: Callable[[], Iterable[Served]], version: str) -> None:
        self._ask_served = served
        self._seen: tuple[Served, ...] = ()
        self._version = version
        self._extra: dict[tuple[str, str], dict[str, _Described]] = {}
        self._by_place: dict[str, list[Served]] = {}
        self._documents: dict[str, tuple[str, bytes]] = {}
        self._making: dict[tuple[str, str], asyncio.Task[bytes]] = {}
        self._hashes: dict[str, str] = {}
        self._remote: dict[str, RemoteDocuments] = {}

    def set_remote(self, name: str, documents: RemoteDocuments | None) -> None:
        """Publish what another server publishes, by the name of its APIService; None: no more."""
        if self._remote.get(name) == documents:
            return
        self._remote.pop(name, None)
        if documents is not None:
            self._remote[name] = documents
        self._hashes.clear()

    def set_schemas(self, group: str, version: str, resource: str, schemas: Mapping[str, Schema]) -> None:
        """Describe a custom resource of a version with `custom_resource_schemas`; no schemas: forget it."""
        described = self._extra.setdefault((group, version), {})
        if schemas:
            data = msgspec.json.encode(schemas)
            described[resource] = _Described(hashlib.sha256(data).hexdigest(), zlib.compress(data, 1))
        else:
            described.pop(resource, None)
        for place in ("v2", f"apis/{group}/{version}"):
            self._hashes.pop(place, None)

    async def v2(self, context: RequestContext) -> AnyResponse:
        """/openapi/v2: in JSON or in protobuf, or nothing for a client that takes neither."""
        form = _form(context, (_JSON, _PROTOBUF_V2))
        if not form:
            return Response(http.HTTPStatus.NOT_ACCEPTABLE, {"vary": "Accept"})
        tag = self._hash("v2")
        headers = {"content-type": form, "etag": f'"{tag}"', "vary": "Accept"}
        if _has(context, tag):
            return Response(http.HTTPStatus.NOT_MODIFIED, headers)
        return Response(http.HTTPStatus.OK, headers, await self._document("v2", form, tag))

    async def v3(self, context: RequestContext) -> AnyResponse:
        """/openapi/v3 and all below it; nothing is said of a document that there is not, or not in that form."""
        place = context.info.path.removeprefix("/openapi/v3").strip("/")
        if not place:
            # Text, although it is JSON: so the original answers.
            return Response(http.HTTPStatus.OK, {"content-type": "text/plain; charset=utf-8"}, self._index())
        if place not in self._places():
            return Response(http.HTTPStatus.NOT_FOUND, {})
        form = _form(context, (_JSON, _PROTOBUF_V3))
        if not form:
            return Response(http.HTTPStatus.NOT_ACCEPTABLE, {"vary": "Accept"})
        tag = self._hash(place)
        headers = {"content-type": form, "etag": f'"{tag}"', "vary": "Accept"}
        asked_for = context.query.get("hash", "")
        if asked_for and asked_for != tag:
            location = _url(place, tag)
            return Response(http.HTTPStatus.MOVED_PERMANENTLY, {**headers, "location": location})
        if asked_for:
            headers["cache-control"] = "public, immutable"
            headers["expires"] = format_datetime(context.now + _YEAR, usegmt=True)
        if _has(context, tag):
            return Response(http.HTTPStatus.NOT_MODIFIED, headers)
        try:
            return Response(http.HTTPStatus.OK, headers, await self._document(place, form, tag))
        except _NotAsOpenAPI:
            return Response(http.HTTPStatus.NOT_ACCEPTABLE, {"vary": "Accept"})

    def _served(self) -> tuple[Served, ...]:
        """What is served now. When that has changed, documents are made anew as far as they are about it."""
        served = tuple(self._ask_served())
        if served != self._seen:
            self._seen = served
            self._hashes.clear()
            self._by_place = {}
            for one in served:
                group, version = one.kind.group, one.kind.version
                place = f"apis/{group}/{version}" if group else f"api/{version}"
                self._by_place.setdefault(place, []).append(one)
            kept = {"v2", *self._places()}
            self._documents = {
                place: made for place, made in self._documents.items() if place.removesuffix(_PROTOBUF) in kept
            }
        return served

    def _index(self) -> bytes:
        paths = {place: {"serverRelativeURL": _url(place, self._hash(place))} for place in self._places()}
        return msgspec.json.encode({"paths": paths})

    def _places(self) -> list[str]:
        """Where there are documents of version 3: one for each group and each version, and a few more."""
        found = {"apis", "version", ".well-known/openid-configuration", "openid/v1/jwks"}
        for one in self._served():
            group, version = one.kind.group, one.kind.version
            found.update((f"apis/{group}", f"apis/{group}/{version}") if group else ("api", f"api/{version}"))
        for one_remote in self._remote.values():
            found.update(one_remote.documents)
        return sorted(found)

    def _remote_document(self, place: str) -> bytes | None:
        """Another server's document, packed, where none is made here."""
        if self._remote and place not in self._by_place:
            for one in self._remote.values():
                if place in one.documents:
                    return one.documents[place]
        return None

    def _of(self, place: str) -> list[Served]:
        """What the document at a place describes."""
        return list(self._served()) if place == "v2" else self._by_place.get(place, [])

    def _described(self, place: str) -> list[_Described]:
        """The custom resources in the document at a place."""
        if place == "v2":
            return [one for resources in self._extra.values() for one in resources.values()]
        parts = place.split("/")
        return list(self._extra.get((parts[1], parts[2]), {}).values()) if len(parts) == 3 else []

    def _extra_of(self, place: str) -> dict[str, Schema]:
        found: dict[str, Schema] = {}
        for one in self._described(place):
            found.update(msgspec.json.decode(zlib.decompress(one.packed)))
        return found

    def _hash(self, place: str) -> str:
        self._served()
        tag = self._hashes.get(place)
        if tag is None and (remote := self._remote_document(place)) is not None:
            tag = self._hashes[place] = hashlib.sha512(remote).hexdigest().upper()
        if tag is None:
            described = self._of(place)
            # A document of no resources tells of groups and versions.
            places = () if described and place != "v2" else tuple(self._places())
            digests = sorted(one.digest for one in self._described(place))
            if place == "v2":
                digests += [hashlib.sha256(part).hexdigest() for part in self._parts()]
            made_from = (keelback.__version__, self._version, place, places, described, digests)
            digest = hashlib.sha512(msgspec.json.encode(made_from, enc_hook=repr))
            tag = self._hashes[place] = digest.hexdigest().upper()
        return tag

    def _parts(self) -> list[bytes]:
        """What other servers say in version 2, packed."""
        # A server of several versions of a group says the same for each.
        return list(dict.fromkeys(one.part for _, one in sorted(self._remote.items()) if one.part))

    async def _document(self, place: str, form: str, tag: str) -> bytes:
        remote = self._remote_document(place)
        if remote is not None and form == _JSON:
            return zlib.decompress(remote)
        name = place if form == _JSON else place + _PROTOBUF
        made = self._documents.get(name)
        if made is not None and made[0] == tag:
            return made[1]
        making = self._making.get((name, tag))
        if making is None:
            making = self._making[name, tag] = asyncio.create_task(self._make(place, name, tag, remote))
        # Others may wait for the same document: who leaves does not end it.
        return await asyncio.shield(making)

    async def _make(self, place: str, name: str, tag: str, remote: bytes | None) -> bytes:
        in_protobuf = name != place
        described, extra, served = self._of(place), self._extra_of(place), self._served()
        parts = self._parts() if place == "v2" else []
        try:
            if remote is not None:
                made = await asyncio.to_thread(_translated, remote)
            else:
                made = await asyncio.to_thread(
                    _rendered, place, in_protobuf, described, self._version, extra, served, parts
                )
        finally:
            del self._making[name, tag]
        self._documents[name] = (tag, made)
        return made


def _rendered(
    place: str,
    in_protobuf: bool,
    described: list[Served],
    version: str,
    extra: Mapping[str, Schema],
    served: tuple[Served, ...],
    parts: list[bytes],
) -> bytes:
    # What makes documents is large and seldom needed; a server that nobody asks does not load it.
    from keelback.apiserver import openapi_documents as documents
    from keelback.apiserver import openapi_protobuf, openapi_v3_protobuf

    if place != "v2":
        document = documents.v3_document(place, described, version, extra, documents.groups_of(served))
        return openapi_v3_protobuf.encode(document) if in_protobuf else _encoded(document)
    document = documents.v2_document(described, version, extra)
    if parts:
        from keelback.apiserver import openapi_merge

        for part in parts:
            openapi_merge.merge(document, msgspec.json.decode(zlib.decompress(part)))
    return openapi_protobuf.encode(document) if in_protobuf else _encoded(document)


class _NotAsOpenAPI(Exception):
    """Another server's document cannot be said in protobuf."""


def _translated(remote: bytes) -> bytes:
    from keelback.apiserver import openapi_v3_protobuf

    try:
        return openapi_v3_protobuf.encode(msgspec.json.decode(zlib.decompress(remote)))
    except (LookupError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise _NotAsOpenAPI from error


def _encoded(tree: Any, levels: int = 3) -> bytes:
    """JSON, a path and a schema at a time: encoding megabytes in one call would keep the loop from running."""
    if not levels or not isinstance(tree, dict):
        return msgspec.json.encode(tree)
    parts = [b"%b:%b" % (msgspec.json.encode(key), _encoded(value, levels - 1)) for key, value in tree.items()]
    return b"{%b}" % b",".join(parts)


def _url(place: str, tag: str) -> str:
    return f"/openapi/v3/{place}?hash={tag}"


def _has(context: RequestContext, tag: str) -> bool:
    given = context.request.headers.get("if-none-match", "")
    return given == "*" or any(one.strip().removeprefix("W/") == f'"{tag}"' for one in given.split(","))


def _form(context: RequestContext, forms: tuple[str, ...]) -> str:
    """The first media type accepted of those there are, empty for none; JSON for a client that does not say."""
    accept = context.request.headers.get("accept", "")
    if not accept.strip():
        return _JSON
    for clause in accept.split(","):
        # Clients still ask for the protobuf form by its first name, which is no proper media type.
        media_type = clause.partition(";")[0].strip().replace("@v1.0", ".v1.0")
        for one in forms:
            if media_type in (one, "*/*", "application/*"):
                return one
    return ""
