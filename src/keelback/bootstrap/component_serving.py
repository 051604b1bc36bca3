"""What a component that runs alone serves: its health to anybody, its metrics to who may see them.

Callers are known by certificates, by what a proxy says of them, and by tokens; the API server is asked the rest.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keelback.api.authorization_v1 import NonResourceAttributes
from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery import codecs, errors
from keelback.auth.authentication import AuthenticationFailed
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.delegation import AccessReviews, TokenReviews, bearer_token
from keelback.auth.request_header import RequestHeaderAuthenticator, RequestHeaderSettings
from keelback.auth.users import UserInfo
from keelback.bootstrap import pki
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.component_options import ComponentServingOptions
from keelback.client import Client
from keelback.component import client_certificates, process_metrics
from keelback.component.health import Check, HealthChecks
from keelback.component.http import Request, Response
from keelback.component.logs import logger
from keelback.component.metrics import CONTENT_TYPE, Registry
from keelback.component.serving import Server, server_context
from keelback.concurrency.clock import Clock

_ANONYMOUS: Final = UserInfo("system:anonymous", groups=("system:unauthenticated",))
_MASTERS: Final = "system:masters"
_PUBLISHED: Final = ("kube-system", "extension-apiserver-authentication")
_VERBS: Final = {"GET": "get", "HEAD": "head"}
_log = logger("component-serving")


@dataclass(frozen=True, slots=True)
class Believed:
    """The authorities of certificates that are believed: those of clients, and those of proxies."""

    client_ca_pem: bytes = b""
    proxies: RequestHeaderSettings | None = None

    @property
    def authorities_pem(self) -> bytes:
        """All of them."""
        return self.client_ca_pem + b"\n" + (self.proxies.ca_pem if self.proxies is not None else b"")


def published(data: Mapping[str, str]) -> Believed:
    """What an API server publishes that it believes itself. Raises ValueError for what cannot be read."""
    ca_pem = data.get("requestheader-client-ca-file", "").encode()

    def listed(name: str) -> tuple[str, ...]:
        return tuple(json.loads(data.get(f"requestheader-{name}") or "[]"))

    proxies = RequestHeaderSettings(
        ca_pem=ca_pem,
        allowed_names=listed("allowed-names"),
        username_headers=listed("username-headers"),
        uid_headers=listed("uid-headers"),
        group_headers=listed("group-headers"),
        extra_header_prefixes=listed("extra-headers-prefix"),
    )
    return Believed(data.get("client-ca-file", "").encode(), proxies if ca_pem else None)


async def believed(options: ComponentServingOptions, client: Client) -> Believed:
    """What the flags say, and for the rest what the API server publishes. Raises ClusterError for bad files.

    Where that cannot be looked up, nobody is known by a certificate of those authorities: tokens are still good.
    """
    own = Believed(options.read("client_ca_file"), _proxies(options))
    if options.authentication_skip_lookup or (own.client_ca_pem and own.proxies):
        return own
    namespace, name = _PUBLISHED
    try:
        told = published((await client.get(ConfigMap, name, namespace)).data)
    except (errors.StatusError, OSError, TimeoutError, ValueError) as error:
        _log.warning("Failed to look up whose certificates to believe", configmap=f"{namespace}/{name}", error=error)
        return own
    return Believed(own.client_ca_pem or told.client_ca_pem, own.proxies or told.proxies)


def _proxies(options: ComponentServingOptions) -> RequestHeaderSettings | None:
    ca_pem = options.read("requestheader_client_ca_file")
    if not ca_pem:
        return None
    return RequestHeaderSettings(
        ca_pem=ca_pem,
        allowed_names=options.requestheader_allowed_names,
        username_headers=options.requestheader_username_headers,
        uid_headers=options.requestheader_uid_headers,
        group_headers=options.requestheader_group_headers,
        extra_header_prefixes=options.requestheader_extra_headers_prefix,
    )


@dataclass(slots=True)
class ComponentServer:
    """Answers one component's callers. Checks may still be added while it runs."""

    allowed_paths: tuple[str, ...]
    tokens: TokenReviews
    reviews: AccessReviews
    believed: Believed
    clock: Clock
    metrics: Registry = field(default_factory=Registry)
    endpoints: tuple[HealthChecks, ...] = field(
        default_factory=lambda: tuple(HealthChecks(name) for name in ("healthz", "livez", "readyz"))
    )
    _certificates: CertificateAuthenticator | None = field(default=None, init=False)
    _by_proxy: RequestHeaderAuthenticator | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.believed.client_ca_pem:
            self._certificates = CertificateAuthenticator(self.believed.client_ca_pem, self.clock)
        if self.believed.proxies is not None:
            self._by_proxy = RequestHeaderAuthenticator(self.believed.proxies, self.clock)
        process_metrics.add(self.metrics)

    def add_check(self, name: str, check: Check) -> None:
        """Have all three endpoints ask this, too."""
        for one in self.endpoints:
            one.add(name, check)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            await self._authorize(request)
        except AuthenticationFailed:
            return _refusal(errors.Unauthorized())
        except errors.StatusError as error:
            return _refusal(error)
        except (OSError, TimeoutError) as error:
            return _refusal(errors.InternalError(f"the API server cannot be asked: {error}"))
        for one in self.endpoints:
            if request.path in one.paths():
                return await one.respond(request)
        if request.path == "/metrics":
            return Response(200, {"content-type": CONTENT_TYPE}, self.metrics.exposition())
        return _refusal(errors.NotFound("the server could not find the requested resource"))

    async def _authorize(self, request: Request) -> None:
        """Raises AuthenticationFailed and StatusError for who must not be answered."""
        if any(_covers(pattern, request.path) for pattern in self.allowed_paths):
            return
        user = await self._user(request)
        verb = _VERBS.get(request.method, request.method.lower())
        if _MASTERS in user.groups:
            return
        if not await self.reviews.allow(user, NonResourceAttributes(path=request.path, verb=verb)):
            raise errors.Forbidden(f'forbidden: User "{user.name}" cannot {verb} path "{request.path}"')

    async def _user(self, request: Request) -> UserInfo:
        for authenticator in (self._by_proxy, self._certificates):
            found = None
            if authenticator is not None and request.peer_certificate is not None:
                found = await authenticator.authenticate(request)
            if found is not None:
                return found.user
        if not bearer_token(request):
            return _ANONYMOUS
        user = await self.tokens.user(request)
        if user is None:
            raise errors.Unauthorized
        return user


def _covers(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _refusal(error: errors.StatusError) -> Response:
    return Response(error.code, {"content-type": "application/json"}, codecs.encode(error.status))


async def serving(
    component: str, options: ComponentServingOptions, client: Client, client_of: Callable[[str], Client], clock: Clock
) -> tuple[ComponentServer, Server | None]:
    """What a component's flags say is served, and the server to start, if there is to be one.

    `client_of` gives the client of a kubeconfig file. Raises ClusterError for what cannot be used.
    """
    for flag, reason in options.without_effect().items():
        _log.warning("A flag has no effect", flag=flag, reason=reason)
    authority = await believed(options, client)
    asked, judge = (
        client_of(path) if path else client
        for path in (options.authentication_kubeconfig, options.authorization_kubeconfig)
    )
    try:
        made = ComponentServer(
            options.authorization_always_allow_paths,
            TokenReviews(asked, clock),
            AccessReviews(judge, clock),
            authority,
            clock,
        )
        if not options.secure_port:
            return made, None
        context = _context(component, options, authority, clock)
    except (ValueError, ssl.SSLError) as error:
        raise ClusterError(f"--tls-cert-file, --client-ca-file, --requestheader-client-ca-file: {error}") from error
    return made, Server(made.handle, context, options.bind_address, options.secure_port, clock=clock)


def _context(component: str, options: ComponentServingOptions, authority: Believed, clock: Clock) -> ssl.SSLContext:
    if options.tls_cert_file:
        for flag in ("tls_cert_file", "tls_private_key_file"):
            options.read(flag)
        context = server_context(options.tls_cert_file, options.tls_private_key_file)
    else:
        certificate, key = pki.self_signed(component, ("127.0.0.1",), clock.now())
        with tempfile.TemporaryDirectory() as folder:
            # Python's ssl takes a key from a file only; the folder is nobody else's, and gone at once.
            paths = (Path(folder) / "tls.crt", Path(folder) / "tls.key")
            for path, content in zip(paths, (certificate, key), strict=True):
                path.write_bytes(content)
            context = server_context(*paths)
    if authority.authorities_pem.strip():
        context.load_verify_locations(cadata=authority.authorities_pem.decode())
        client_certificates.accept_unverified(context)
    return context


async def run_beside(server: Server | None, work: Awaitable[None]) -> None:
    """Serve while a component works, and end with it."""
    if server is None:
        await work
        return
    async with server:
        await work
