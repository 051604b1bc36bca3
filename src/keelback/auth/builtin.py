"""The authenticators and authorizers of a cluster, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Sequence

from keelback.auth.attributes import Authorizer, Deciders, PrivilegedGroupAuthorizer
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
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.jwt import VerifyingKey
from keelback.auth.node_authorizer import NodeAuthorizer
from keelback.auth.node_graph import NodeGraph
from keelback.auth.rbac import Policy, RBACAuthorizer
from keelback.auth.service_accounts import DEFAULT_ISSUER, ServiceAccountAuthenticator
from keelback.auth.static_tokens import BootstrapTokenAuthenticator, TokenFileAuthenticator
from keelback.auth.users import MASTERS_GROUP, UserInfo
from keelback.component.http import Request
from keelback.concurrency.clock import Clock


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
) -> TokenAuthenticator:
    """Everything that can be in a bearer token; also what TokenReview asks."""
    kinds: list[TokenAuthenticator] = [] if token_file is None else [token_file]
    kinds.append(
        ServiceAccountAuthenticator(service_account_keys, reader, clock, issuers=issuers, api_audiences=api_audiences)
    )
    if allows_bootstrap_tokens:
        kinds.append(BootstrapTokenAuthenticator(reader, clock))
    return UnionTokenAuthenticator(kinds)


def request_authenticator(
    *, client_ca_pem: bytes, tokens: TokenAuthenticator, clock: Clock, allows_anonymous: bool = True
) -> RequestAuthenticator:
    """Everything that can be in a request."""
    kinds: list[RequestAuthenticator] = [
        TransportIdentity(),
        CertificateAuthenticator(client_ca_pem, clock),
        BearerTokenAuthenticator(tokens),
    ]
    if allows_anonymous:
        kinds.append(AnonymousAuthenticator())
    return UnionAuthenticator(kinds)


def authorizer(policy: Policy, graph: NodeGraph) -> Authorizer:
    """Administrators, then nodes, then everybody by the rules."""
    return Deciders((PrivilegedGroupAuthorizer(MASTERS_GROUP), NodeAuthorizer(graph), RBACAuthorizer(policy)))
