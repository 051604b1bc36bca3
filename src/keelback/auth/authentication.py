"""Who is calling: authenticators asked in order, until one knows the caller.

An authenticator answers None when the request carries nothing it understands, and raises AuthenticationFailed when the
credential is of its kind but not good. A request that carries a bad credential is never treated as anonymous.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from keelback.apimachinery.go_text import aggregate
from keelback.apimachinery.meta import Object
from keelback.auth.users import ANONYMOUS, UNAUTHENTICATED_GROUP, UserInfo, with_authenticated_group
from keelback.component.http import Request

ObjectT = TypeVar("ObjectT", bound=Object)

_WEBSOCKET_TOKEN_PREFIX = "base64url.bearer.authorization.k8s.io."  # noqa: S105 - a protocol's name, no secret


class AuthenticationFailed(Exception):
    """A credential was presented and is not good. The text is for TokenReview and logs: callers see only 401."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A known caller, and the audiences for which its credential is good."""

    user: UserInfo
    audiences: tuple[str, ...] = ()
    warning: str = ""
    """What the caller is to be told of the credential."""
    audit_annotation: tuple[str, str] | None = None
    """What the audit log is to be told of it."""


class RequestAuthenticator(Protocol):
    """Knows callers by something in the request."""

    async def authenticate(self, request: Request) -> Authenticated | None:
        """The caller; None if the request says nothing to this authenticator. Raises AuthenticationFailed."""
        ...


class TokenAuthenticator(Protocol):
    """Knows callers by a bearer token."""

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        """The caller, if the token is meant for one of `audiences` (the server's own when empty); None if it is not a
        token of this kind. Raises AuthenticationFailed."""
        ...


class Reader(Protocol):
    """Where authenticators look up what a credential refers to: the server's own caches."""

    async def get(self, kind: type[ObjectT], name: str, namespace: str = "") -> ObjectT:
        """The object. Raises `errors.NotFound`."""
        ...


class UnionAuthenticator:
    """Several authenticators in order: the first to know the caller decides.

    A credential that is not good does not keep another of the same request from counting: a client's certificate may be
    none of a proxy's, or there is a token besides. But it never leads on to the anonymous user, who stands apart.
    """

    def __init__(
        self, authenticators: Sequence[RequestAuthenticator], anonymous: RequestAuthenticator | None = None
    ) -> None:
        self._authenticators = tuple(authenticators)
        self._anonymous = anonymous

    async def authenticate(self, request: Request) -> Authenticated | None:
        failures: list[str] = []
        for authenticator in self._authenticators:
            try:
                known = await authenticator.authenticate(request)
            except AuthenticationFailed as failure:
                failures.append(str(failure))
                continue
            if known is not None:
                return _as_member(known)
        if failures:
            raise AuthenticationFailed(aggregate(failures))
        return None if self._anonymous is None else await self._anonymous.authenticate(request)


class UnionTokenAuthenticator:
    """Several kinds of tokens."""

    def __init__(self, authenticators: Sequence[TokenAuthenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def authenticate_token(self, token: str, audiences: Sequence[str] = ()) -> Authenticated | None:
        failures: list[str] = []
        for authenticator in self._authenticators:
            try:
                known = await authenticator.authenticate_token(token, audiences)
            except AuthenticationFailed as failure:
                failures.append(str(failure))
                continue
            if known is not None:
                return _as_member(known)
        # Upstream's first token authenticator always says this much; TokenReview shows it.
        raise AuthenticationFailed(aggregate(["invalid bearer token", *failures]))


class BearerTokenAuthenticator:
    """Takes the token from the Authorization header, or from a browser's WebSocket subprotocols."""

    def __init__(self, tokens: TokenAuthenticator) -> None:
        self._tokens = tokens

    async def authenticate(self, request: Request) -> Authenticated | None:
        token = bearer_token(request)
        if token is None:
            return None
        known = await self._tokens.authenticate_token(token, ())
        if known is None:
            raise AuthenticationFailed("invalid bearer token")
        return known


class AnonymousAuthenticator:
    """Everyone else, as system:anonymous; only for some paths, if these are given."""

    _known = Authenticated(UserInfo(ANONYMOUS, groups=(UNAUTHENTICATED_GROUP,)))

    def __init__(self, paths: Sequence[str] | None = None) -> None:
        self._paths = None if paths is None else frozenset(paths)

    async def authenticate(self, request: Request) -> Authenticated | None:
        return self._known if self._paths is None or request.path in self._paths else None


def _as_member(known: Authenticated) -> Authenticated:
    """The caller as a member of system:authenticated. Those who are asked again and again remember it as one."""
    user = with_authenticated_group(known.user)
    return known if user is known.user else replace(known, user=user)


def bearer_token(request: Request) -> str | None:
    """The bearer token a request carries, or None. An empty one counts as none."""
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        return None
    if request.headers.get("upgrade", "").lower() != "websocket":
        return None
    for protocol in request.headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(_WEBSOCKET_TOKEN_PREFIX):
            return _decoded(protocol.strip()[len(_WEBSOCKET_TOKEN_PREFIX) :])
    return None


def _decoded(encoded: str) -> str:
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise AuthenticationFailed("invalid base64.bearer.authorization token encoding") from error
