"""What the server behind an APIService publishes: its discovery and OpenAPI documents, read again as they change."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from keelback.apiserver import aggregated_discovery
from keelback.apiserver.api_service_probe import PROBER
from keelback.apiserver.api_service_proxy import APIServiceProxy
from keelback.apiserver.api_service_routing import CertificateProblem, NoRouteError
from keelback.apiserver.openapi import RemoteDocuments
from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo
from keelback.client.discovery import AGGREGATED
from keelback.component.http import Response
from keelback.component.logs import logger

_READER: Final = UserInfo("system:aggregator", groups=(AUTHENTICATED_GROUP,))
_DISCOVERY_SECONDS: Final = 5.0
_OPENAPI_SECONDS: Final = 60.0
_MOST_BYTES: Final = 64 << 20
# A server that publishes nothing answers one of these.
_ABSENT: Final = frozenset((404, 405, 406))
_UNREADABLE: Final = (OSError, TimeoutError, ValueError, NoRouteError, CertificateProblem)

_log = logger("aggregator")


class _Entry(msgspec.Struct, frozen=True, rename={"url": "serverRelativeURL"}):
    url: str = ""


class _Index(msgspec.Struct, frozen=True):
    paths: dict[str, _Entry] = {}


def group_version_path(group: str, version: str) -> str:
    """Where a group version is."""
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


class DocumentReader:
    """The documents of one group version. What has been read stays when the server is away, until it can be asked."""

    def __init__(self, proxy: APIServiceProxy, group: str, version: str) -> None:
        self._proxy = proxy
        self._group = group
        self._version = version
        self._discovery_tag = ""
        self._v2_tag = ""
        self._v3_urls: dict[str, str] = {}
        self.resources: tuple[dict[str, Any], ...] = ()
        self.is_current = False
        self.openapi = RemoteDocuments()

    async def read_discovery(self) -> bool:
        """Learn which resources there are; whether the server says so now."""
        try:
            await self._read_discovery()
        except _UNREADABLE as error:
            self.is_current = False
            self._discovery_tag = ""
            _log.warning("Discovery of an APIService failed", name=f"{self._version}.{self._group}", error=str(error))
        else:
            self.is_current = True
        return self.is_current

    async def read_openapi(self) -> bool:
        """Learn how the resources are described; whether that could be found out."""
        try:
            part = await self._part()
            documents = await self._documents(part)
        except _UNREADABLE as error:
            _log.warning("The OpenAPI documents of an APIService cannot be read", group=self._group, error=str(error))
            return False
        self.openapi = RemoteDocuments(part, documents)
        return True

    async def _read_discovery(self) -> None:
        headers = {"accept": AGGREGATED}
        if self._discovery_tag:
            headers["if-none-match"] = self._discovery_tag
        root = "/apis" if self._group else "/api"
        answer = await self._fetch(root, headers, PROBER, _DISCOVERY_SECONDS)
        if answer.status == 304:
            return
        found = None
        if answer.status == 200:
            found = aggregated_discovery.of_groups(answer.content(), self._group, self._version)
        elif answer.status not in _ABSENT:
            raise ConnectionError(f"{root} is answered with {answer.status}")
        self._discovery_tag = "" if found is None else answer.headers.get("etag", "")
        self.resources = await self._legacy_resources() if found is None else found

    async def _legacy_resources(self) -> tuple[dict[str, Any], ...]:
        path = group_version_path(self._group, self._version)
        answer = await self._fetch(path, {"accept": "application/json"}, PROBER, _DISCOVERY_SECONDS)
        if answer.status != 200:
            raise ConnectionError(f"{path} is answered with {answer.status}")
        return aggregated_discovery.of_resources(answer.content())

    async def _part(self) -> bytes:
        """What version 2 says of the group, packed; nothing where the server has no such document."""
        headers = {"accept": "application/json"}
        if self._v2_tag:
            headers["if-none-match"] = self._v2_tag
        answer = await self._fetch("/openapi/v2", headers, _READER, _OPENAPI_SECONDS)
        if answer.status == 304:
            return self.openapi.part
        if answer.status in _ABSENT:
            return b""
        if answer.status != 200:
            raise ConnectionError(f"/openapi/v2 is answered with {answer.status}")
        part = await _in_thread(_packed_part, answer.content(), self._group)
        self._v2_tag = answer.headers.get("etag", "")
        return part

    async def _documents(self, part: bytes) -> dict[str, bytes]:
        """The documents of version 3, packed: those that are about the group alone."""
        answer = await self._fetch("/openapi/v3", {"accept": "application/json"}, _READER, _OPENAPI_SECONDS)
        place = group_version_path(self._group, self._version).strip("/")
        if answer.status in _ABSENT:
            self._v3_urls = {}
            return {place: await _in_thread(_converted, part)} if part else {}
        if answer.status != 200:
            raise ConnectionError(f"/openapi/v3 is answered with {answer.status}")
        index = msgspec.json.decode(answer.content(), type=_Index).paths
        urls, documents = {}, {}
        for wanted in (place, f"apis/{self._group}"):
            if wanted not in index:
                continue
            urls[wanted] = index[wanted].url
            known = self.openapi.documents.get(wanted)
            if known is not None and self._v3_urls.get(wanted) == urls[wanted] != "":
                documents[wanted] = known
                continue
            path = f"/openapi/v3/{wanted}"
            answer = await self._fetch(path, {"accept": "application/json"}, _READER, _OPENAPI_SECONDS)
            if answer.status != 200:
                raise ConnectionError(f"{path} is answered with {answer.status}")
            documents[wanted] = await _in_thread(_packed_document, answer.content())
        self._v3_urls = urls
        return documents

    async def _fetch(self, path: str, headers: dict[str, str], user: UserInfo, timeout_seconds: float) -> Response:
        return await self._proxy.fetch(path, headers, user, timeout_seconds=timeout_seconds, most_bytes=_MOST_BYTES)


async def _in_thread(make: Callable[..., bytes], *given: Any) -> bytes:
    """Documents are large: reading them must not keep requests waiting. Raises ValueError for one that is malformed."""
    try:
        return await asyncio.to_thread(make, *given)
    except (LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise ValueError(f"an OpenAPI document is malformed: {error!r}") from error


def _packed_part(body: bytes, group: str) -> bytes:
    # With what makes documents, which a server without other servers does not load.
    from keelback.apiserver import openapi_merge, openapi_protobuf

    part = openapi_merge.part_of_group(msgspec.json.decode(body, type=dict), group)
    # The document of all must not fail for what one server says.
    openapi_protobuf.described(part)
    return _packed(part)


def _converted(part: bytes) -> bytes:
    from keelback.apiserver import openapi_merge

    tree = msgspec.json.decode(zlib.decompress(part))
    return _packed(openapi_merge.as_version_3(tree, {"title": "Kubernetes", "version": "unversioned"}))


def _packed_document(body: bytes) -> bytes:
    document = msgspec.json.decode(body, type=dict)
    if not str(document.get("openapi", "")).startswith("3."):
        raise ValueError("the document is no OpenAPI document of version 3")
    return _packed(document)


def _packed(tree: Any) -> bytes:
    return zlib.compress(msgspec.json.encode(tree), 1)
