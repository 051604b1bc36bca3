"""What providers may say amiss, and that none of it is asked for without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from keelback.auth.json_web_keys import parse_token
from keelback.auth.oidc_provider import OIDCProvider, ProviderError
from keelback.component.http import AnyResponse, Request, Response
from keelback.testing.access_servers import OIDCIssuer, authority, serving
from keelback.testing.clock import HandClock


def with_provider(
    folder: Path, issuer: OIDCIssuer, test: Callable[[OIDCProvider, HandClock], Awaitable[None]], *, trusts: bool = True
) -> None:
    async def main() -> None:
        pki = authority(folder / "pki")
        other = authority(folder / "other")
        clock = HandClock()
        async with serving(issuer, pki), asyncio.timeout(30):
            ca = issuer.ca_pem if trusts else other.ca.certificate_pem.decode()
            await test(OIDCProvider(issuer.url, "", ca, clock), clock)

    asyncio.run(main())


class Saying(OIDCIssuer):
    """A provider that says other things."""

    def __init__(self, document: bytes = b"", keys: bytes = b"") -> None:
        super().__init__()
        self.document = document
        self.set = keys

    async def handle(self, request: Request) -> AnyResponse:
        answer = await super().handle(request)
        said = self.set if request.path == "/keys" else self.document
        return Response(200, {}, said.replace(b"URL", self.url.encode())) if said else answer


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"<html>", "oidc: failed to decode provider discovery object"),
        (b'{"issuer":"https://other"}', "oidc: issuer did not match the issuer returned by provider, expected"),
        (b'{"issuer":"URL","jwks_uri":"http://a/keys"}', "is no https URL"),
        (b'{"issuer":"URL"}', "is no https URL"),
        (b'{"issuer":"URL","jwks_uri":"file:///etc/passwd"}', "is no https URL"),
    ],
)
def test_a_document_that_is_wrong_is_told(tmp_path: Path, document: bytes, said: str) -> None:
    async def test(provider: OIDCProvider, clock: HandClock) -> None:
        with pytest.raises(ProviderError, match=said):
            await provider.initialize()
        assert not provider.is_initialized

    with_provider(tmp_path, Saying(document), test)


def test_a_provider_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    async def test(provider: OIDCProvider, clock: HandClock) -> None:
        with pytest.raises(ProviderError, match="tls: failed to verify certificate"):
            await provider.initialize()

    with_provider(tmp_path, OIDCIssuer(), test, trusts=False)


def test_nobody_there_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        ca = authority(tmp_path).ca.certificate_pem.decode()
        for url in ("https://127.0.0.1:1", "https://[", "https://127.0.0.1:x"):
            with pytest.raises(ProviderError):
                await OIDCProvider(url, "", ca, HandClock()).initialize()

    asyncio.run(main())


def test_keys_that_cannot_be_had_are_not_asked_for_with_every_token(tmp_path: Path) -> None:
    issuer = Saying(keys=b"<html>")
    token = parse_token(issuer.keys[0].sign({}))

    async def test(provider: OIDCProvider, clock: HandClock) -> None:
        await provider.initialize()
        for _ in range(3):
            with pytest.raises(ProviderError, match="failed to decode keys"):
                await provider.has_signed(token)
        assert issuer.asked.count("/keys") == 1
        issuer.set = b""
        clock.advance(1.0)
        assert await provider.has_signed(token)
        assert issuer.asked.count("/keys") == 2

    with_provider(tmp_path, issuer, test)
