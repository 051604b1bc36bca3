"""Kubernetes' `url` library: absolute URLs and paths, and their parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from keelback.apimachinery import go_urls
from keelback.cel.declarations import Library, function, member, overload
from keelback.cel.errors import EvaluationError
from keelback.cel.libraries import costs
from keelback.cel.types import BOOL, STRING, Type, list_of, map_of, opaque
from keelback.cel.values import OpaqueValue

URL = opaque("kubernetes.URL")


@final
@dataclass(frozen=True, slots=True)
class UrlValue(OpaqueValue):
    """A parsed URL; equal if all parts are as they were written."""

    cel_type: ClassVar[Type] = URL
    url: go_urls.Url


def _url(text: str) -> UrlValue:
    # Upstream's order: only the first reading demands an absolute one, only the second knows fragments.
    try:
        go_urls.parse_request_uri(text)
        return UrlValue(go_urls.parse(text))
    except go_urls.UrlError as error:
        raise EvaluationError(f"URL parse error during conversion from string: {error}") from None


def _is_url(text: str) -> bool:
    try:
        go_urls.parse_request_uri(text)
    except go_urls.UrlError:
        return False
    return True


def _scheme(value: UrlValue) -> str:
    return value.url.scheme


def _host(value: UrlValue) -> str:
    return value.url.host


def _hostname(value: UrlValue) -> str:
    return value.url.hostname


def _port(value: UrlValue) -> str:
    return value.url.port


def _escaped_path(value: UrlValue) -> str:
    return value.url.escaped_path


def _query(value: UrlValue) -> dict[str, list[str]]:
    return value.url.query()


LIBRARY = Library(
    "kubernetes.urls",
    functions=(
        function(
            "url",
            overload("string_to_url", (STRING,), URL, _url, **costs.TRAVERSAL_OF_THE_SAME_SIZE),
        ),
        # Upstream has no cost rule for it: a call costs one, whatever the text.
        function("isURL", overload("is_url_string", (STRING,), BOOL, _is_url)),
        function("getScheme", member("url_get_scheme", (URL,), STRING, _scheme, **costs.NOMINAL)),
        function("getHost", member("url_get_host", (URL,), STRING, _host, **costs.NOMINAL)),
        function("getHostname", member("url_get_hostname", (URL,), STRING, _hostname, **costs.NOMINAL)),
        function("getPort", member("url_get_port", (URL,), STRING, _port, **costs.NOMINAL)),
        function("getEscapedPath", member("url_get_escaped_path", (URL,), STRING, _escaped_path, **costs.NOMINAL)),
        function("getQuery", member("url_get_query", (URL,), map_of(STRING, list_of(STRING)), _query, **costs.NOMINAL)),
    ),
)
