"""Tokens of OpenID Connect issuers: signed by the issuer, for this cluster, good now; their claims say who it is.

Which issuers there are may change while the server runs. A provider need not be there when the server starts: it may
run in the very cluster. Until it has answered, its tokens are refused.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.go_text import aggregate, go_quoted
from keelback.auth.answer_cache import AnswerCache
from keelback.auth.authentication import Authenticated, AuthenticationFailed
from keelback.auth.authentication_configuration import JWTAuthenticatorConfiguration
from keelback.auth.claim_mapping import ClaimMapping
from keelback.auth.json_web_keys import ALGORITHMS, claims_of, parse_token
from keelback.auth.jwt import InvalidToken, unverified_payload
from keelback.auth.oidc_provider import OIDCProvider, ProviderError
from keelback.auth.users import UserInfo
from keelback.component.logs import logger
from keelback.component.metrics import Histogram, Registry
from keelback.concurrency.clock import Clock

_INITIALIZE_SECONDS: Final = 10.0
_HEALTHY_SECONDS: Final = 60.0
"""How long the issuers of a file that is read again may take to answer, before it is given up."""
_NOT_BEFORE_LEEWAY: Final = timedelta(minutes=5)
_KEPT_SECONDS: Final = 10.0
_KEPT: Final = 4096
_GOOGLE: Final = "accounts.google.com"
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
        self._audiences = issuer.audiences
        self._algorithms = frozenset(algorithms)
        self._mapping = ClaimMapping(configuration)
        self._clock = clock
        self._latency = latency
        self._label = f"sha256:{hashlib.sha256(issuer.url.encode()).hexdigest()}"
        self._known: AnswerCache[tuple[UserInfo, datetime]] = AnswerCache(clock, _KEPT)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        if _claimed_issuer(token) != self._issuer:
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
            signed = parse_token(token)
        except InvalidToken as error:
            raise AuthenticationFailed(f"oidc: verify token: oidc: malformed jwt: {error}") from error
        claims = claims_of(signed.payload)
        if claims is None:
            raise AuthenticationFailed("oidc: verify token: oidc: failed to unmarshal claims")
        self._check_audience(claims)
        expires = self._check_times(claims)
        # The algorithm is one of those that the administrator allows and that fits the key, never the token's choice.
        if signed.algorithm not in self._algorithms:
            listed = " ".join(map(go_quoted, sorted(self._algorithms)))
            raise AuthenticationFailed(
                "oidc: verify token: oidc: id token signed with unsupported algorithm, "
                f"expected [{listed}] got {go_quoted(signed.algorithm)}"
            )
        try:
            is_genuine = await self.provider.has_signed(signed)
        except ProviderError as error:
            raise AuthenticationFailed(f"oidc: verify token: failed to verify signature: {error}") from error
        if not is_genuine:
            raise AuthenticationFailed(
                "oidc: verify token: failed to verify signature: failed to verify id token signature"
            )
        return self._mapping.user(claims), expires

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        meant = claims.get("aud")
        audiences = [meant] if isinstance(meant, str) else meant if isinstance(meant, list) else []
        if not any(one in audiences for one in self._audiences):
            wanted = " ".join(map(go_quoted, sorted(self._audiences)))
            got = " ".join(go_quoted(one) for one in audiences if isinstance(one, str))
            raise AuthenticationFailed(f"oidc: verify token: oidc: expected audience in [{wanted}] got [{got}]")

    def _check_times(self, claims: Mapping[str, Any]) -> datetime:
        now = self._clock.now()
        expires = _time(claims.get("exp"))
        if expires is None or expires < now:
            raise AuthenticationFailed(f"oidc: verify token: oidc: token is expired (Token Expiry: {expires})")
        if "nbf" in claims:
            begins = _time(claims["nbf"])
            if begins is None or now + _NOT_BEFORE_LEEWAY < begins:
                raise AuthenticationFailed(
                    f"oidc: verify token: oidc: current time {now} before the nbf (not before) time: {begins}"
                )
        return expires


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


def _claimed_issuer(token: str) -> str | None:
    """Who the token says has issued it, before anything of it is checked."""
    try:
        claims = claims_of(unverified_payload(token))
    except InvalidToken:
        return None
    issuer = None if claims is None else claims.get("iss")
    if issuer == _GOOGLE:
        return f"https://{_GOOGLE}"
    return issuer if isinstance(issuer, str) else None


def _time(value: object) -> datetime | None:
    """A NumericDate (RFC 7519): seconds since 1970, perhaps with a fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None
