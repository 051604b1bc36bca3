"""What must be true of a token before its claims are believed: its algorithm, audience and times, and who signed it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keelback.apimachinery.go_text import go_quoted
from keelback.auth.json_web_keys import claims_of, parse_token
from keelback.auth.jwt import InvalidToken, unverified_payload
from keelback.auth.oidc_provider import OIDCProvider, ProviderError
from keelback.concurrency.clock import Clock

_NOT_BEFORE_LEEWAY: Final = timedelta(minutes=5)
_GOOGLE: Final = "accounts.google.com"


class TokenRefused(Exception):
    """A token is not good; the text is go-oidc's."""


class TokenVerifier:
    """Judges tokens that are for some audience."""

    def __init__(self, audiences: Sequence[str], algorithms: Sequence[str], clock: Clock) -> None:
        self._audiences = tuple(audiences)
        self._algorithms = frozenset(algorithms)
        self._clock = clock

    async def verify(self, token: str, provider: OIDCProvider) -> tuple[dict[str, Any], datetime]:
        """The claims of a token that the provider has signed, and when it expires. Raises TokenRefused."""
        try:
            signed = parse_token(token)
        except InvalidToken as error:
            raise TokenRefused(f"oidc: malformed jwt: {error}") from error
        claims = claims_of(signed.payload)
        if claims is None:
            raise TokenRefused("oidc: failed to unmarshal claims")
        self._check_audience(claims)
        expires = self._check_times(claims)
        # The algorithm is one of those that the administrator allows and that fits the key, never the token's choice.
        if signed.algorithm not in self._algorithms:
            listed = " ".join(map(go_quoted, sorted(self._algorithms)))
            raise TokenRefused(
                "oidc: id token signed with unsupported algorithm, "
                f"expected [{listed}] got {go_quoted(signed.algorithm)}"
            )
        try:
            is_genuine = await provider.has_signed(signed)
        except ProviderError as error:
            raise TokenRefused(f"failed to verify signature: {error}") from error
        if not is_genuine:
            raise TokenRefused("failed to verify signature: failed to verify id token signature")
        return claims, expires

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        meant = claims.get("aud")
        audiences = [meant] if isinstance(meant, str) else meant if isinstance(meant, list) else []
        if not any(one in audiences for one in self._audiences):
            wanted = " ".join(map(go_quoted, sorted(self._audiences)))
            got = " ".join(go_quoted(one) for one in audiences if isinstance(one, str))
            raise TokenRefused(f"oidc: expected audience in [{wanted}] got [{got}]")

    def _check_times(self, claims: Mapping[str, Any]) -> datetime:
        now = self._clock.now()
        expires = _time(claims.get("exp"))
        if expires is None or expires < now:
            raise TokenRefused(f"oidc: token is expired (Token Expiry: {expires})")
        if "nbf" in claims:
            begins = _time(claims["nbf"])
            if begins is None or now + _NOT_BEFORE_LEEWAY < begins:
                raise TokenRefused(f"oidc: current time {now} before the nbf (not before) time: {begins}")
        return expires


def claimed_issuer(token: str) -> str | None:
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
