"""Who asks, told to another server in headers: X-Remote-User and its like, beside the proxy's client certificate.

The other server believes these headers, so none of a client's own may ever reach it, nor may its credentials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from keelback.auth.users import UserInfo
from keelback.component.http import Request

USER: Final = "X-Remote-User"
GROUP: Final = "X-Remote-Group"
UID: Final = "X-Remote-Uid"
EXTRA_PREFIX: Final = "X-Remote-Extra-"

_TOKEN_PROTOCOL: Final = "base64url.bearer.authorization.k8s.io."  # noqa: S105 - a protocol's name, no secret
# What concerns one connection only (RFC 9110, 7.6.1), and what this server has dealt with itself.
_OF_THE_CONNECTION: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_CREDENTIALS: Final = frozenset(("authorization", "proxy-authorization"))
_NAME_CHARACTERS: Final = frozenset(b"!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def identity(user: UserInfo) -> tuple[tuple[str, str], ...]:
    """The headers that name a user, each value on a line of its own: a group's name may have a comma.

    The values are UTF-8, as Go sends them, in the characters that stand for its bytes on the wire.
    """
    return tuple((name, value.encode().decode("latin-1")) for name, value in _identity(user))


def _identity(user: UserInfo) -> Iterator[tuple[str, str]]:
    yield USER, user.name
    if user.uid:
        yield UID, user.uid
    for group in user.groups:
        yield GROUP, group
    for key, values in user.extra.items():
        for value in values:
            yield f"{EXTRA_PREFIX}{escaped(key)}", value


def escaped(key: str) -> str:
    """A key as a part of a header's name: what cannot stand there, and the percent sign, as %XX."""
    return "".join(chr(one) if one in _NAME_CHARACTERS else f"%{one:02X}" for one in key.encode())


def passed_on(request: Request, also_dropped: frozenset[str] = frozenset()) -> dict[str, str]:
    """A client's headers as another server may see them: without credentials, and without any that name a user.

    `also_dropped` are further headers that name users in this cluster, and beginnings of such that end with a dash.
    """
    given = {name.lower(): value for name, value in request.headers.items()}
    kept = {name: value for name, value in given.items() if not _is_dropped(name, also_dropped)}
    for name in given.get("connection", "").split(","):
        # Else a client could have a header of the proxy's own taken out on the way.
        kept.pop(name.strip().lower(), None)
    listed = [one.strip() for one in kept.pop("sec-websocket-protocol", "").split(",")]
    # Browsers have nowhere else to put a bearer token.
    if protocols := [one for one in listed if one and not one.startswith(_TOKEN_PROTOCOL)]:
        kept["sec-websocket-protocol"] = ", ".join(protocols)
    return kept


def upgrading(headers: Mapping[str, str], request: Request) -> dict[str, str]:
    """The headers of a request that asks for another protocol, which proxies would otherwise drop."""
    return {**headers, "connection": "Upgrade", "upgrade": request.headers["upgrade"]}


def _is_dropped(name: str, also_dropped: frozenset[str]) -> bool:
    if name in _OF_THE_CONNECTION or name in _CREDENTIALS:
        return True
    # Servers of the CGI kind take an underscore for a dash.
    plain = name.replace("_", "-")
    if plain.startswith(("x-remote-", "impersonate-")):
        return True
    return any(plain.startswith(one) if one.endswith("-") else plain == one for one in also_dropped)
