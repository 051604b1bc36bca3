"""Who may ask the kubelet what: certificates and tokens, then SubjectAccessReviews for the `nodes` subresources."""

from __future__ import annotations

from keelback.api.authorization_v1 import ResourceAttributes
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.delegation import AccessReviews, TokenReviews, bearer_token
from keelback.auth.users import UserInfo
from keelback.client import Client
from keelback.component.http import Request
from keelback.concurrency.clock import Clock

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Access:
    """Decides with the API server's help, and remembers for a while what it said."""

    def __init__(
        self, client: Client, clock: Clock, node_name: str, client_ca_pem: bytes | None, anonymous: bool
    ) -> None:
        self._tokens, self._reviews = TokenReviews(client, clock), AccessReviews(client, clock)
        self._node_name = node_name
        self._certificates = CertificateAuthenticator(client_ca_pem, clock) if client_ca_pem else None
        self._anonymous = anonymous

    async def user(self, request: Request) -> UserInfo | None:
        """Who asks, or None. Raises what the API server's failure raises."""
        if self._certificates is not None and request.peer_certificate is not None:
            found = await self._certificates.authenticate(request)
            if found is not None:
                return found.user
        if bearer_token(request):
            return await self._tokens.user(request)
        return UserInfo("system:anonymous", groups=("system:unauthenticated",)) if self._anonymous else None

    async def may(self, user: UserInfo, request: Request) -> bool:
        """Whether the user may do this. Raises what the API server's failure raises."""
        if "system:masters" in user.groups:
            return True
        verb = _VERBS.get(request.method, "get")
        for subresource in subresources(request.path):
            what = ResourceAttributes(
                verb=verb, resource="nodes", subresource=subresource, name=self._node_name, version="v1"
            )
            if await self._reviews.allow(user, what):
                return True
        return False


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
