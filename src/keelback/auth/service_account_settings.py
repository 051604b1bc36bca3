"""What an administrator decides about service accounts' tokens, beside the key that signs them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from keelback.auth.jwt import VerifyingKey
from keelback.auth.service_accounts import DEFAULT_ISSUER, TokenIssuer

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountSettings:
    """The first issuer is whom tokens are from; those of the others are believed too, as of one that was renamed."""

    issuers: tuple[str, ...] = (DEFAULT_ISSUER,)
    keys: tuple[VerifyingKey, ...] = ()
    """What verifies tokens, beside the key that signs them."""
    api_audiences: tuple[str, ...] = ()
    """Whom tokens are for that say nothing else; the issuers, if none are given."""
    jwks_uri: str = ""
    max_token_seconds: int = 0
    """How long a token may be good; 0 for as long as somebody asks for."""
    extends_expiration: bool = True
    """Whether tokens of pods are good for a year, for clients that do not read them again."""

    def audiences(self) -> tuple[str, ...]:
        """Whom tokens must be for that sign somebody in."""
        return self.api_audiences or self.issuers

    def issuer(self, key_pem: bytes) -> TokenIssuer:
        """What signs tokens with a key."""
        return TokenIssuer(key_pem, self.issuers[0], self.audiences(), extends_expiration=self.extends_expiration)

    def all_keys(self, signing: VerifyingKey) -> tuple[VerifyingKey, ...]:
        """What verifies tokens, each key once."""
        return tuple({one.key_id: one for one in (*self.keys, signing)}.values())


DEFAULT: Final = ServiceAccountSettings()


def keys_in(pem: bytes) -> tuple[VerifyingKey, ...]:
    """The keys of a file, which may be several, private or public. Raises ValueError for what is none."""
    found = tuple(VerifyingKey.load(match.group()) for match in _PEM.finditer(pem))
    if not found:
        raise ValueError("data does not contain any valid RSA or ECDSA public keys")
    return found
