"""Who may ask the kubelet what: certificates and tokens, then SubjectAccessReviews for the `nodes` subresources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from keelback.api.authentication_v1 import TokenReview, TokenReviewSpec
from keelback.api.authorization_v1 import ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.users import UserInfo
from keelback.client import Client
from keelback.component.http import Request
from keelback.concurrency.clock import Clock

_ALLOWED_SECONDS, _DENIED_SECONDS, _MAX_HELD = 300.0, 30.0, 1000
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class _Held:
    until: float
    user: UserInfo | None = None
    allowed: bool = False


class Access:
    """Decides with the API server's help, and remembers for a while what it said."""

    def __init__(
        self, client: Client, clock: Clock, node_name: str, client_ca_pem: bytes | None, anonymous: bool
    ) -> None:
        self._client = client
        self._clock = clock
        self._node_name = node_name
        self._certificates = CertificateAuthenticator(client_ca_pem, clock) if client_ca_pem else None
        self._anonymous = anonymous
        self._tokens: dict[str, _Held] = {}
        self._decisions: dict[tuple[str, tuple[str, ...], str, str], _Held] = {}

    async def user(self, request: Request) -> UserInfo | None:
        """Who asks, or None. Raises what the API server's failure raises."""
        if self._certificates is not None and request.peer_certificate is not None:
            found = await self._certificates.authenticate(request)
            if found is not None:
                return found.user
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return await self._token_user(token.strip())
        return UserInfo("system:anonymous", groups=("system:unauthenticated",)) if self._anonymous else None

    async def may(self, user: UserInfo, request: Request) -> bool:
        """Whether the user may do this. Raises what the API server's failure raises."""
        if "system:masters" in user.groups:
            return True
        verb = _VERBS.get(request.method, "get")
        for subresource in subresources(request.path):
            if await self._allowed(user, verb, subresource):
                return True
        return False

    async def _token_user(self, token: str) -> UserInfo | None:
        key = hashlib.sha256(token.encode()).hexdigest()
        now = self._clock.monotonic()
        held = self._tokens.get(key)
        if held is None or held.until <= now:
            review = await self._client.create(TokenReview(spec=TokenReviewSpec(token=token)))
            user = None
            if review.status.authenticated:
                told = review.status.user
                user = UserInfo(told.username, told.uid, told.groups, told.extra)
            if len(self._tokens) >= _MAX_HELD:
                self._tokens.clear()
            held = self._tokens[key] = _Held(now + (120.0 if user else 10.0), user)
        return held.user

    async def _allowed(self, user: UserInfo, verb: str, subresource: str) -> bool:
        key = (user.name, user.groups, verb, subresource)
        now = self._clock.monotonic()
        held = self._decisions.get(key)
        if held is None or held.until <= now:
            review = await self._client.create(
                SubjectAccessReview(
                    spec=SubjectAccessReviewSpec(
                        user=user.name,
                        uid=user.uid,
                        groups=user.groups,
                        extra=user.extra,
                        resource_attributes=ResourceAttributes(
                            verb=verb, resource="nodes", subresource=subresource, name=self._node_name, version="v1"
                        ),
                    )
                )
            )
            allowed = review.status.allowed
            if len(self._decisions) >= _MAX_HELD:
                self._decisions.clear()
            seconds = _ALLOWED_SECONDS if allowed else _DENIED_SECONDS
            held = self._decisions[key] = _Held(now + seconds, allowed=allowed)
        return held.allowed


def subresources(path: str) -> tuple[str, ...]:
    """The subresources of `nodes` of which any allows the path: the fine one first, as upstream."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    match first:
        case "stats":
            return ("stats",)
        case "metrics":
            return ("metrics",)
        case "logs":
            return ("log",)
        case "healthz" | "configz":
            return (first, "proxy")
        case "pods" | "runningpods":
            return ("pods", "proxy")
        case _:
            return ("proxy",)
