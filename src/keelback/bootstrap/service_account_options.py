"""The API server's flags about service accounts' tokens, and the settings they become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from keelback.bootstrap.cluster_state import ClusterError
from keelback.component.flags import Duration, FlagError, Texts

if TYPE_CHECKING:
    from keelback.auth.service_account_settings import ServiceAccountSettings

FILE_FLAGS: Final = frozenset(("service-account-key-file", "service-account-signing-key-file"))
"""Flags whose values are files."""
_LEAST_SECONDS: Final = 3600
_MOST_SECONDS: Final = 1 << 32


@dataclass(frozen=True, kw_only=True)
class ServiceAccountOptions:
    service_account_issuer: Annotated[
        Texts,
        "Whom tokens of service accounts are from. Given several times, the first is; those of the others are believed "
        "too. https://kubernetes.default.svc if not given.",
    ] = ()
    service_account_key_file: Annotated[
        Texts, "A file with keys that verify these tokens, public or private; may be given several times."
    ] = ()
    service_account_signing_key_file: Annotated[str, "The key that signs them; the cluster's own if not given."] = ""
    service_account_jwks_uri: Annotated[str, "Where the issuer's discovery document says that the keys are."] = ""
    api_audiences: Annotated[
        tuple[str, ...], "Whom a token must be for that signs somebody in; the issuers if not given."
    ] = ()
    service_account_max_token_expiration: Annotated[
        Duration, "How long a token is good at most, an hour at least; as long as is asked for if not given."
    ] = 0.0
    service_account_extend_token_expiration: Annotated[
        bool, "Let tokens of pods be good for a year, for clients that do not read them again."
    ] = True

    def check_service_accounts(self) -> None:
        """Raises FlagError for what cannot be meant."""
        for issuer in self.service_account_issuer:
            if not issuer:
                raise FlagError("--service-account-issuer: the value must not be empty")
            if ":" in issuer and not urlsplit(issuer).scheme:
                raise FlagError(f"service-account-issuer \"{issuer}\" contained a ':' but was not a valid URL")
        keys_at = self.service_account_jwks_uri
        if keys_at and urlsplit(keys_at).scheme != "https":
            raise FlagError(f"service-account-jwks-uri requires https scheme, parsed as: {keys_at}")
        seconds = self.service_account_max_token_expiration
        if seconds and not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
            raise FlagError("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds")

    def own_issuers(self) -> tuple[str, ...]:
        """Whom tokens of service accounts are from."""
        from keelback.auth.service_accounts import DEFAULT_ISSUER

        return self.service_account_issuer or (DEFAULT_ISSUER,)

    def signing_key(self, own_pem: bytes) -> bytes:
        """What signs tokens; `own_pem` is the cluster's key. Raises ClusterError."""
        if not self.service_account_signing_key_file:
            return own_pem
        from keelback.auth.jwt import Signer

        pem = _read("--service-account-signing-key-file", self.service_account_signing_key_file)
        try:
            Signer(pem)
        except (ValueError, TypeError) as error:
            raise ClusterError(f"--service-account-signing-key-file: {error}") from error
        return pem

    def service_accounts(self, own_pem: bytes) -> ServiceAccountSettings:
        """What the flags say; tokens that the cluster's own key signs are believed unless there are files with others.

        Raises ClusterError.
        """
        from keelback.auth.service_account_settings import ServiceAccountSettings, keys_in

        keys = [] if self.service_account_key_file else [*keys_in(own_pem)]
        for path in self.service_account_key_file:
            try:
                keys.extend(keys_in(_read("--service-account-key-file", path)))
            except ValueError as error:
                raise ClusterError(f"--service-account-key-file {path}: {error}") from error
        return ServiceAccountSettings(
            issuers=self.own_issuers(),
            keys=tuple(keys),
            api_audiences=self.api_audiences,
            jwks_uri=self.service_account_jwks_uri,
            max_token_seconds=int(self.service_account_max_token_expiration),
            extends_expiration=self.service_account_extend_token_expiration,
        )


def _read(flag: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ClusterError(f"{flag}: {error}") from error
