"""The authenticators of a cluster, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Sequence

from keelback.auth.authentication import (
    AnonymousAuthenticator,
    Authenticated,
    BearerTokenAuthenticator,
    Reader,
    RequestAuthenticator,
    TokenAuthenticator,
    UnionAuthenticator,
    UnionTokenAuthenticator,
)
from keelback.auth.jwt import VerifyingKey
from keelback.auth.service_accounts import DEFAULT_ISSUER, ServiceAccountAuthenticator
from keelback.auth.static_tokens import BootstrapTokenAuthenticator, TokenFileAuthenticator
from keelback.auth.token_uses import TokenUses
from keelback.auth.users import UserInfo
from keelback.component.http import Request
from keelback.concurrency.clock import Clock

_ANONYMOUS = AnonymousAuthenticator()


class TransportIdentity:
    """Callers whose transport has itself established who they are: components in the server's own process."""

    async def authenticate(self, request: Request) -> Authenticated | None:
        return Authenticated(request.identity) if isinstance(request.identity, UserInfo) else None


def token_authenticator(
    *,
    service_account_keys: Sequence[VerifyingKey],
    reader: Reader,
    clock: Clock,
    issuers: Sequence[str] = (DEFAULT_ISSUER,),
    api_audiences: Sequence[str] = (),
    token_file: TokenFileAuthenticator | None = None,
    allows_bootstrap_tokens: bool = True,
    others: Sequence[TokenAuthenticator] = (),
    uses: TokenUses | None = None,
) -> TokenAuthenticator:
    """Everything that can be in a bearer token; also what TokenReview asks. `others` are those that are configured."""
    kinds: list[TokenAuthenticator] = [] if token_file is None else [token_file]
    kinds.append(
        ServiceAccountAuthenticator(
            service_account_keys, reader, clock, issuers=issuers, api_audiences=api_audiences, uses=uses
        )
    )
    if allows_bootstrap_tokens:
        kinds.append(BootstrapTokenAuthenticator(reader, clock))
    kinds += others
    return UnionTokenAuthenticator(kinds)


def request_authenticator(
    *,
    certificates: RequestAuthenticator,
    tokens: TokenAuthenticator,
    proxies: RequestAuthenticator | None = None,
    anonymous: RequestAuthenticator | None = _ANONYMOUS,
) -> RequestAuthenticator:
    """Everything that can be in a request. `proxies` knows those in front that say who calls."""
    kinds: list[RequestAuthenticator] = [TransportIdentity()]
    if proxies is not None:
        kinds.append(proxies)
    kinds += (certificates, BearerTokenAuthenticator(tokens))
    return UnionAuthenticator(kinds, anonymous)
