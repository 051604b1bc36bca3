"""How a webhook may be reached, by URL or by Service: the same for admission and for conversion."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.apimachinery import go_urls, names
from keelback.apimachinery.errors import FieldError, invalid, required

_FORM = "; desired format: https://host[/path]"


def url_problems(text: str, path: str) -> Iterator[FieldError]:
    """What is wrong with a webhook's URL."""
    try:
        url = go_urls.parse(text)
    except go_urls.UrlError as error:
        yield required(path, f"url must be a valid URL: {error}{_FORM}")
        return
    if url.scheme != "https":
        yield invalid(path, url.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not url.host:
        yield invalid(path, url.host, f"host must be provided{_FORM}")
    if url.user_info is not None:
        yield invalid(path, url.user_info, "user information is not permitted in the URL")
    if url.raw_fragment:
        yield invalid(path, url.raw_fragment, "fragments are not permitted in the URL")
    if url.raw_query:
        yield invalid(path, url.raw_query, "query parameters are not permitted in the URL")


def service_path_problems(route: str | None, path: str) -> Iterator[FieldError]:
    """What is wrong with the path at which a Service's webhook listens."""
    if route is None or route in ("", "/"):
        return
    if route == "//":
        yield invalid(path, route, "segment[0] may not be empty")
        return
    if not route.startswith("/"):
        yield invalid(path, route, "must start with a '/'")
    for index, segment in enumerate(route[1:].removesuffix("/").split("/")):
        if not segment:
            yield invalid(path, route, f"segment[{index}] may not be empty")
            continue
        for complaint in names.dns1123_subdomain(segment):
            yield invalid(path, route, f"segment[{index}]: {complaint}")
