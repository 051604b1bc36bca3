"""Who calls and what they may do: authenticators and authorizers as configured, and what keeps them up to date.

Roles, bindings and the graph of nodes are followed in memory; configuration files are read again when they change.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from keelback.api import rbac_v1, resource_v1, storage_v1
from keelback.api.core_v1 import PersistentVolume
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.meta import Object
from keelback.apiserver.cache_follower import CacheFollower
from keelback.apiserver.lookup import CacheLookup
from keelback.auth import authentication_configuration, builtin
from keelback.auth.authentication import AnonymousAuthenticator, Authenticated, RequestAuthenticator, TokenAuthenticator
from keelback.auth.authentication_configuration import AnonymousConfiguration, AuthenticationConfiguration
from keelback.auth.authorization_configuration import unchanged_types
from keelback.auth.authorizers import AuthorizationSettings, Authorizers, RuleSource, SwitchingAuthorizer
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.configuration_reload import ConfigurationReload, ReloadMetrics
from keelback.auth.jwt import VerifyingKey
from keelback.auth.node_graph import NodeGraph, ReferringPod
from keelback.auth.oidc import JWTAuthenticators
from keelback.auth.rbac import Policy
from keelback.auth.request_header import RequestHeaderAuthenticator
from keelback.auth.review_webhook import ReviewWebhook
from keelback.auth.service_account_settings import ServiceAccountSettings
from keelback.auth.settings import AuthenticationSettings
from keelback.auth.static_tokens import TokenFileAuthenticator
from keelback.auth.token_uses import TokenUses
from keelback.auth.token_webhook import TokenWebhookSettings, WebhookTokenAuthenticator
from keelback.client import kubeconfig
from keelback.client.kubeconfig import KubeconfigError
from keelback.component.http import Request
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock

Work = Callable[[], Any]


class Authentication:
    """Who calls. `tokens` is also what TokenReview asks."""

    def __init__(
        self,
        settings: AuthenticationSettings,
        *,
        client_ca_pem: bytes,
        service_account_keys: Sequence[VerifyingKey],
        service_accounts: ServiceAccountSettings,
        token_file_text: str,
        lookup: CacheLookup,
        clock: Clock,
        chance: random.Random,
        metrics: Registry,
        server_id: str = "",
    ) -> None:
        """Raises ConfigurationError."""
        self._server_id = server_id
        self.followers: list[Work] = []
        """What must run as long as the server does."""
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._clock = clock
        self._settings = settings
        self._own_issuers = service_accounts.issuers
        self._anonymous = _Anonymous(settings.anonymous_auth)
        others: list[TokenAuthenticator] = []
        jwt = self._jwt(settings, metrics)
        if jwt is not None:
            others.append(jwt)
        if settings.token_webhook is not None:
            webhook = _token_webhook(settings.token_webhook, clock, chance, service_accounts.audiences())
            self._closers.append(webhook.close)
            others.append(webhook)
        self.token_uses = TokenUses(metrics, clock)
        self.tokens = builtin.token_authenticator(
            service_account_keys=service_account_keys,
            issuers=service_accounts.issuers,
            api_audiences=service_accounts.audiences(),
            allows_bootstrap_tokens=settings.allows_bootstrap_tokens,
            reader=lookup,
            clock=clock,
            token_file=TokenFileAuthenticator.parse(token_file_text) if token_file_text else None,
            others=others,
            uses=self.token_uses,
        )
        self.certificates = CertificateAuthenticator(client_ca_pem, clock, metrics)
        proxies = settings.request_header
        self.requests: RequestAuthenticator = builtin.request_authenticator(
            certificates=self.certificates,
            tokens=self.tokens,
            proxies=None if proxies is None else RequestHeaderAuthenticator(proxies, clock),
            anonymous=self._anonymous,
        )

    async def close(self) -> None:
        """Close the connections that are kept."""
        for close in self._closers:
            await close()

    def _jwt(self, settings: AuthenticationSettings, metrics: Registry) -> JWTAuthenticators | None:
        """Those whose tokens are believed: a file may name the first one later."""
        path = settings.configuration_file
        if path is None and not settings.jwt:
            return None
        jwt = JWTAuthenticators(self._clock, metrics, settings.signing_algorithms)
        self.followers.append(jwt.run)
        if path is None:
            jwt.begin(settings.jwt)
            return jwt
        text = _text(path)
        configuration = self._read(text)
        jwt.begin(configuration.jwt)
        self._anonymous.configure(configuration.anonymous)

        async def apply(changed: str) -> None:
            configuration = self._read(changed)
            await jwt.switch(configuration.jwt)
            self._anonymous.configure(configuration.anonymous)

        counted = ReloadMetrics(metrics, "authentication", self._clock, self._server_id)
        self.followers.append(ConfigurationReload(path, text, apply, self._clock, counted).run)
        return jwt

    def _read(self, text: str) -> AuthenticationConfiguration:
        configuration = authentication_configuration.read(text, self._own_issuers)
        if configuration.anonymous is not None and not self._settings.configures_anonymous:
            raise ConfigurationError(
                "--anonymous-auth flag cannot be set when anonymous field is configured in authentication "
                "configuration file"
            )
        return configuration


class _Anonymous:
    """Everyone else, if that is allowed, where it is."""

    def __init__(self, is_allowed: bool) -> None:
        self._default = AnonymousAuthenticator() if is_allowed else None
        self._present = self._default

    def configure(self, given: AnonymousConfiguration | None) -> None:
        if given is None:
            self._present = self._default
        elif not given.enabled:
            self._present = None
        else:
            self._present = AnonymousAuthenticator([one.path for one in given.conditions] or None)

    async def authenticate(self, request: Request) -> Authenticated | None:
        return None if self._present is None else await self._present.authenticate(request)


class Authorization:
    """What they may do."""

    def __init__(
        self,
        settings: AuthorizationSettings,
        clock: Clock,
        chance: random.Random,
        metrics: Registry,
        server_id: str = "",
    ) -> None:
        """Raises ConfigurationError."""
        self._server_id = server_id
        self.policy = Policy()
        self.graph = NodeGraph()
        self.followers: list[Work] = []
        """What must run as long as the server does, besides what `follow` gives."""
        self._clock = clock
        authorizers = Authorizers(self.policy, self.graph, settings.abac, clock, chance, metrics)
        if settings.configuration_file is None:
            chain = authorizers.of_modes(settings.modes, settings.webhook)
            self.authorizer = chain.authorizer
            self.rules: RuleSource = chain
            self.close = chain.close
        else:
            switching = self._of_file(settings.configuration_file, authorizers, metrics)
            self.authorizer = switching
            self.rules = switching
            self.close = switching.close

    def _of_file(self, path: Path, authorizers: Authorizers, metrics: Registry) -> SwitchingAuthorizer:
        text = _text(path)
        chain, configuration = authorizers.read(text)
        switching = SwitchingAuthorizer(chain)
        check = unchanged_types(configuration)

        async def apply(changed: str) -> None:
            chain, configuration = authorizers.read(changed)
            check(configuration)
            await switching.switch(chain)

        counted = ReloadMetrics(metrics, "authorization", self._clock, self._server_id)
        self.followers.append(ConfigurationReload(path, text, apply, self._clock, counted).run)
        return switching

    def follow(self, lookup: CacheLookup) -> Sequence[CacheFollower]:
        """Take in what there is, and give what takes in what changes."""
        policy, graph = self.policy, self.graph
        roles = (rbac_v1.ClusterRole, rbac_v1.ClusterRoleBinding, rbac_v1.Role, rbac_v1.RoleBinding)
        kinds: Sequence[tuple[type[Object], Callable[[Any], None], Callable[[str, str], None]]] = (
            *((kind, policy.put, functools.partial(policy.forget, kind)) for kind in roles),
            (ReferringPod, graph.put_pod, graph.remove_pod),
            (PersistentVolume, graph.put_persistent_volume, lambda _, name: graph.remove_persistent_volume(name)),
            (
                storage_v1.VolumeAttachment,
                graph.put_volume_attachment,
                lambda _, name: graph.remove_volume_attachment(name),
            ),
            (resource_v1.ResourceSlice, graph.put_resource_slice, lambda _, name: graph.remove_resource_slice(name)),
        )
        return [CacheFollower(kind, lookup, self._clock, put, remove) for kind, put, remove in kinds]


def _token_webhook(
    settings: TokenWebhookSettings, clock: Clock, chance: random.Random, api_audiences: Sequence[str]
) -> WebhookTokenAuthenticator:
    try:
        access = kubeconfig.load(settings.config_file)
        webhook = ReviewWebhook(access, f"authentication.k8s.io/{settings.version}", "TokenReview", clock, chance)
    except KubeconfigError as error:
        raise ConfigurationError(str(error)) from error
    return WebhookTokenAuthenticator(webhook, clock, settings.cache_seconds, api_audiences)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
