"""Claims that a token does not have itself, but says where to ask for: so issuers tell many groups.

OpenID Connect Core 1.0, section 5.6.2: `_claim_names` says which source has a claim, `_claim_sources` where that is.
What is there is a token too, by an issuer of its own, and must be for the same audience. As upstream, for groups alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keelback.auth.oidc_provider import OIDCProvider, ProviderError, fetch
from keelback.auth.token_verifier import TokenRefused, TokenVerifier, claimed_issuer
from keelback.client.https import client_context
from keelback.concurrency.clock import Clock

_MOST_ISSUERS: Final = 64


class ClaimsElsewhereError(Exception):
    """The claim cannot be had; the text is upstream's."""


class DistributedClaims:
    """Asks for one claim where a token says that it is."""

    def __init__(self, claim: str, verifier: TokenVerifier, ca_pem: str, clock: Clock) -> None:
        self._claim = claim
        self._verifier = verifier
        self._ca_pem = ca_pem
        self._clock = clock
        self._providers: dict[str, OIDCProvider] = {}

    async def expanded(self, claims: dict[str, Any]) -> dict[str, Any]:
        """The claims with the one that is elsewhere, if it is. Raises ClaimsElsewhereError."""
        if self._claim in claims or "_claim_names" not in claims:
            return claims
        endpoint = self._endpoint(claims)
        if endpoint is None:
            return claims
        return {**claims, self._claim: await self._resolved(*endpoint)}

    def _endpoint(self, claims: Mapping[str, Any]) -> tuple[str, str] | None:
        """Where to ask, and the token that lets one."""
        names = claims["_claim_names"]
        if not isinstance(names, dict):
            raise ClaimsElsewhereError("oidc: error parsing distributed claim names: they are no object")
        if "_claim_sources" not in claims:
            raise ClaimsElsewhereError("oidc: no claim sources")
        sources = claims["_claim_sources"]
        if not isinstance(sources, dict):
            raise ClaimsElsewhereError("oidc: could not parse claim sources: they are no object")
        name = names.get(self._claim)
        if name is None:
            return None
        source = sources.get(name) if isinstance(name, str) else None
        if not isinstance(source, dict):
            raise ClaimsElsewhereError(f"id token _claim_names contained a source {name} missing in _claims_sources")
        url, token = source.get("endpoint", ""), source.get("access_token", "")
        if not isinstance(url, str) or not isinstance(token, str):
            raise ClaimsElsewhereError("oidc: could not parse claim sources: an endpoint is no text")
        # Without an address it may be an aggregated claim, of which nothing is known here.
        return (url, token) if url else None

    async def _resolved(self, url: str, access_token: str) -> Any:
        claim = self._claim
        if not url.startswith("https://"):
            raise ClaimsElsewhereError(f'while getting distributed claim "{claim}": {url} is no https URL')
        try:
            context = client_context(self._ca_pem or None)
            answer = (await fetch(url, context, self._clock, access_token)).decode("ascii", "replace").strip()
        except ProviderError as error:
            raise ClaimsElsewhereError(f'while getting distributed claim "{claim}": {error}') from error
        issuer = claimed_issuer(answer)
        if issuer is None:
            raise ClaimsElsewhereError(
                f'getting untrusted issuer from endpoint {url} failed for claim "{claim}": malformed token'
            )
        try:
            found, _ = await self._verifier.verify(answer, await self._provider(issuer))
        except (TokenRefused, ProviderError) as error:
            raise ClaimsElsewhereError(f"verify distributed claim token: {error}") from error
        if claim not in found:
            raise ClaimsElsewhereError(
                f'jwt returned by distributed claim endpoint "{url}" did not contain claim: {claim}'
            )
        return found[claim]

    async def _provider(self, issuer: str) -> OIDCProvider:
        provider = self._providers.get(issuer)
        if provider is None:
            if not issuer.startswith("https://"):
                raise ProviderError(f"the issuer {issuer} is no https URL")
            if len(self._providers) >= _MOST_ISSUERS:
                self._providers.clear()
            provider = self._providers[issuer] = OIDCProvider(issuer, "", self._ca_pem, self._clock)
        if not provider.is_initialized:
            await provider.initialize()
        return provider
