"""What an administrator decides about authentication, beside the cluster's own certificates and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keelback.auth.authentication_configuration import JWTAuthenticatorConfiguration
from keelback.auth.json_web_keys import ALGORITHMS
from keelback.auth.request_header import RequestHeaderSettings
from keelback.auth.token_webhook import TokenWebhookSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationSettings:
    """`jwt` are the issuers that flags name; a configuration file names its own, and is read again when it changes."""

    anonymous_auth: bool = True
    allows_bootstrap_tokens: bool = True
    token_webhook: TokenWebhookSettings | None = None
    request_header: RequestHeaderSettings | None = None
    jwt: tuple[JWTAuthenticatorConfiguration, ...] = ()
    signing_algorithms: tuple[str, ...] = ALGORITHMS
    configuration_file: Path | None = None
    configures_anonymous: bool = True
    """Whether the file may say who is anonymous where; not if a flag has said it."""


DEFAULT: Final = AuthenticationSettings()
