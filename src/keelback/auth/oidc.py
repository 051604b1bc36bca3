"""Tokens of OpenID Connect issuers: signed by the issuer, for this cluster, good now; their claims say who it is.

Which issuers there are may change while the server runs. A provider need not be there when the server starts: it may
run in the very cluster. Until it has answered, its tokens are refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NoReturn

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.go_text import aggregate
from keelback.auth.answer_cache import AnswerCache
from keelback.auth.authentication import Authenticated, AuthenticationFailed
from keelback.auth.authentication_configuration import JWTAuthenticatorConfiguration
from keelback.auth.claim_mapping import ClaimMapping
from keelback.auth.distributed_claims import ClaimsElsewhereError, DistributedClaims
from keelback.auth.json_web_keys import ALGORITHMS
from keelback.auth.oidc_provider import OIDCProvider, ProviderError
from keelback.auth.token_verifier import TokenRefused, TokenVerifier, claimed_issuer
from keelback.auth.users import UserInfo
from keelback.component.logs import logger
from keelback.component.metrics import Histogram, Registry
from keelback.concurrency.clock import Clock

_INITIALIZE_SECONDS: Final = 10.0
_HEALTHY_SECONDS: Final = 60.0
"""How long the issuers of a file that is read again may take to answer, before it is given up."""
_KEPT_SECONDS: Final = 10.0
_KEPT: Final = 4096
_log = logger("oidc")


class JWTAuthenticator:
    """Knows callers by the tokens of one issuer."""

    def __init__(
        self,
        configuration: JWTAuthenticatorConfiguration,
        clock: Clock,
        latency: Histogram,
        algorithms: Sequence[str] = ALGORITHMS,
    ) -> None:
        issuer = configuration.issuer
        self.provider = OIDCProvider(issuer.url, issuer.discovery_url, issuer.certificate_authority, clock)
        self._issuer = issuer.url
        self._verifier = TokenVerifier(issuer.audiences, algorithms, clock)
        groups = configuration.claim_mappings.groups.claim
        self._distributed = (
            DistributedClaims(groups, self._verifier, issuer.certificate_authority, clock) if groups else None
        )
        self._mapping = ClaimMapping(configuration)
        self._clock = clock
        self._latency = latency
        self._label = f"sha256:{hashlib.sha256(issuer.url.encode()).hexdigest()}"
        self._known: AnswerCache[tuple[UserInfo, datetime]] = AnswerCache(clock, _KEPT)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        if claimed_issuer(token) != self._issuer:
            return None
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and self._clock.now() <= known[1]:
            return Authenticated(known[0])
        started = time.perf_counter()
        result = "failure"
        try:
            user, expires = await self._verified(token)
            result = "success"
        finally:
            self._latency.observe(time.perf_counter() - started, result, self._label)
        self._known.put(key, (user, expires), _KEPT_SECONDS)
        return Authenticated(user)

    async def _verified(self, token: str) -> tuple[UserInfo, datetime]:
        if not self.provider.is_initialized:
            raise AuthenticationFailed("oidc: authenticator not initialized")
        try:
            claims, expires = await self._verifier.verify(token, self.provider)
        except TokenRefused as refused:
            raise AuthenticationFailed(f"oidc: verify token: {refused}") from refused
        if self._distributed is not None:
            try:
                claims = await self._distributed.expanded(claims)
            except ClaimsElsewhereError as error:
                raise AuthenticationFailed(f"oidc: could not expand distributed claims: {error}") from error
        return self._mapping.user(claims), expires


class JWTAuthenticators:
    """All issuers whose tokens are believed at present."""

    def __init__(self, clock: Clock, metrics: Registry, algorithms: Sequence[str] = ALGORITHMS) -> None:
        self._clock = clock
        self._algorithms = tuple(algorithms)
        self._authenticators: tuple[JWTAuthenticator, ...] = ()
        self._latency = metrics.histogram(
            "apiserver_authentication_jwt_authenticator_latency_seconds",
            "Latency of jwt authentication operations in seconds. This is the time spent authenticating a token for "
            "cache miss only (i.e. when the token is not found in the cache).",
            ("result", "jwt_issuer_hash"),
            tuple(0.001 * 2**power for power in range(15)),
        )

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        for authenticator in self._authenticators:
            known = await authenticator.authenticate_token(token, audiences)
            if known is not None:
                return known
        return None

    def begin(self, configurations: Sequence[JWTAuthenticatorConfiguration]) -> None:
        """Believe these from now on, each as soon as its provider has answered."""
        self._authenticators = self._made(configurations)

    async def switch(self, configurations: Sequence[JWTAuthenticatorConfiguration]) -> None:
        """Believe these instead, once all their providers have answered. Raises ConfigurationError if one does not."""
        made = self._made(configurations)
        until = self._clock.monotonic() + _HEALTHY_SECONDS
        while problems := await _initialize(made):
            if self._clock.monotonic() >= until:
                raise ConfigurationError(f"the issuers are not healthy: {aggregate(problems)}")
            await self._clock.sleep(_INITIALIZE_SECONDS)
        self._authenticators = made

    async def run(self) -> NoReturn:
        """Ask the providers that have not answered yet, for ever."""
        while True:
            for problem in await _initialize(self._authenticators):
                _log.error("oidc authenticator: initializing plugin", error=problem)
            await self._clock.sleep(_INITIALIZE_SECONDS)

    def _made(self, configurations: Sequence[JWTAuthenticatorConfiguration]) -> tuple[JWTAuthenticator, ...]:
        return tuple(JWTAuthenticator(one, self._clock, self._latency, self._algorithms) for one in configurations)


async def _initialize(authenticators: Sequence[JWTAuthenticator]) -> list[str]:
    problems: list[str] = []
    for one in authenticators:
        if not one.provider.is_initialized:
            try:
                await one.provider.initialize()
            except ProviderError as error:
                problems.append(str(error))
    return problems
