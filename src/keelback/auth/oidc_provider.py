"""An OpenID Connect provider as far as its tokens need it: its discovery document and its keys, fetched and kept."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from keelback.auth.json_web_keys import JSONWebKey, SignedToken, parse_keys
from keelback.client.https import HTTPSTransport, client_context
from keelback.component.http import Request
from keelback.concurrency.clock import Clock

_FETCH_SECONDS: Final = 30.0
_MOST_BYTES: Final = 4 * 1024 * 1024
_REFRESH_SECONDS: Final = 1.0
"""How long the keys are not fetched again, whatever tokens come: a forged one must not make this server a flood."""
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


class ProviderError(Exception):
    """The provider does not answer, or with something else."""


class _Discovery(msgspec.Struct):
    issuer: str = ""
    jwks_uri: str = ""


class OIDCProvider:
    """One issuer. Its keys are fetched with the first token, and again with one that none of them has signed."""

    def __init__(self, issuer: str, discovery_url: str, ca_pem: str, clock: Clock) -> None:
        self.issuer = issuer
        self._discovery_url = discovery_url or issuer.rstrip("/") + _WELL_KNOWN
        self._context = client_context(ca_pem or None)
        self._clock = clock
        self._jwks_uri = ""
        self._keys: tuple[JSONWebKey, ...] = ()
        self._fetched = float("-inf")
        self._problem = ""
        self._lock = asyncio.Lock()

    @property
    def is_initialized(self) -> bool:
        """Whether it is known where the keys are."""
        return bool(self._jwks_uri)

    async def initialize(self) -> None:
        """Learn where the keys are. Raises ProviderError."""
        try:
            found = msgspec.json.decode(await self._get(self._discovery_url), type=_Discovery)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderError(f"oidc: failed to decode provider discovery object: {error}") from error
        if found.issuer != self.issuer:
            raise ProviderError(
                "oidc: issuer did not match the issuer returned by provider, "
                f'expected "{self.issuer}" got "{found.issuer}"'
            )
        if not found.jwks_uri.startswith("https://"):
            raise ProviderError(f'oidc: the provider\'s jwks_uri "{found.jwks_uri}" is no https URL')
        self._jwks_uri = found.jwks_uri

    async def has_signed(self, token: SignedToken) -> bool:
        """Whether the token's signature is by one of the provider's present keys. Raises ProviderError."""
        known = self._keys
        if token.is_signed_by(known):
            return True
        await self._refresh(known)
        return self._keys is not known and token.is_signed_by(self._keys)

    async def _refresh(self, known: tuple[JSONWebKey, ...]) -> None:
        """Fetch the keys again, unless somebody else just has."""
        async with self._lock:
            if self._keys is not known:
                return
            if self._clock.monotonic() - self._fetched < _REFRESH_SECONDS:
                if self._problem:
                    raise ProviderError(self._problem)
                return
            self._problem = ""
            try:
                self._keys = parse_keys(await self._get(self._jwks_uri))
            except ValueError as error:
                self._problem = f"oidc: failed to decode keys: {error}"
                raise ProviderError(self._problem) from error
            except ProviderError as error:
                self._problem = f"fetching keys {error}"
                raise ProviderError(self._problem) from error
            finally:
                self._fetched = self._clock.monotonic()

    async def _get(self, url: str) -> bytes:
        return await fetch(url, self._context, self._clock)


async def fetch(url: str, context: ssl.SSLContext, clock: Clock, access_token: str = "") -> bytes:
    """What is at a URL. Raises ProviderError."""
    try:
        parts = urlsplit(url)
        transport = HTTPSTransport(f"{parts.scheme}://{parts.netloc}", context, token=access_token, clock=clock)
    except ValueError as error:
        raise ProviderError(f'parse "{url}": {error}') from error
    request = Request("GET", unquote(parts.path) or "/", parts.query, {"accept": "application/json"})
    try:
        response = await transport.send(request, timeout_seconds=_FETCH_SECONDS)
    except TimeoutError:
        raise ProviderError(f'Get "{url}": context deadline exceeded') from None
    except ssl.SSLCertVerificationError as error:
        raise ProviderError(f'Get "{url}": tls: failed to verify certificate: {error.verify_message}') from error
    except (OSError, ValueError) as error:
        raise ProviderError(f'Get "{url}": {error or type(error).__name__}') from error
    finally:
        await transport.close()
    body = response.content()
    if response.status != 200:
        raise ProviderError(f"{response.status}: {body[:200].decode(errors='replace')}")
    if len(body) > _MOST_BYTES:
        raise ProviderError(f'Get "{url}": the answer is too large')
    return body
