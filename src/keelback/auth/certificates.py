"""Client certificates: the common name is the user, the organizations are the groups.

TLS has already checked that the caller holds the key; here the issuer and the dates are checked, once per certificate.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keelback.auth.authentication import Authenticated, AuthenticationFailed
from keelback.auth.users import CREDENTIAL_ID_KEY, UserInfo, with_authenticated_group
from keelback.component.http import Request
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_LIFETIMES: Final = (
    *(0, _HOUR / 2, _HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY, 180 * _DAY, 360 * _DAY),
)
# Certificates remembered; far more than there are clients of one server.
_REMEMBERED = 4096


class _Known(NamedTuple):
    """What does not change about a certificate: whose it is, or why it is not good."""

    user: UserInfo | None
    caller: Authenticated | None
    problem: str
    not_before: datetime
    not_after: datetime


class CertificateAuthenticator:
    """Knows callers by certificates that one of the given authorities has signed."""

    def __init__(self, authorities_pem: bytes, clock: Clock, metrics: Registry | None = None) -> None:
        """With `metrics` it is counted how long the certificates that it believes will last."""
        self._lifetimes = (
            (metrics or Registry())
            .histogram(
                "apiserver_client_certificate_expiration_seconds",
                "Distribution of the remaining lifetime on the certificate used to authenticate a request.",
                buckets=_LIFETIMES,
            )
            .series()
        )
        self._authorities = x509.load_pem_x509_certificates(authorities_pem)
        self._clock = clock
        self._known: dict[bytes, _Known] = {}

    def trust(self, authorities_pem: bytes) -> None:
        """Believe these authorities from now on, and no other. Raises ValueError."""
        self._authorities = x509.load_pem_x509_certificates(authorities_pem)
        self._known.clear()

    async def authenticate(self, request: Request) -> Authenticated | None:
        der = request.peer_certificate
        return None if der is None else self._valid(der).caller

    def identify(self, der: bytes) -> UserInfo | None:
        """Whose certificate it is; None if it names nobody. Raises AuthenticationFailed for one that is not good."""
        return self._valid(der).user

    def _valid(self, der: bytes) -> _Known:
        known = self._known.get(der)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[der] = self._judged(der)
        if known.problem:
            raise AuthenticationFailed(known.problem)
        now = self._clock.now()
        if not known.not_before <= now <= known.not_after:
            raise AuthenticationFailed("x509: certificate has expired or is not yet valid")
        self._lifetimes.observe((known.not_after - now).total_seconds())
        return known

    def _judged(self, der: bytes) -> _Known:
        certificate = x509.load_der_x509_certificate(der)
        problem = ""
        if not any(_is_issued_by(certificate, authority) for authority in self._authorities):
            problem = "x509: certificate signed by unknown authority"
        elif not _is_for_clients(certificate):
            problem = "x509: certificate specifies an incompatible key usage"
        user = None if problem else user_of(certificate, der)
        caller = None if user is None else Authenticated(with_authenticated_group(user))
        return _Known(user, caller, problem, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def user_of(certificate: x509.Certificate, der: bytes) -> UserInfo | None:
    """The identity in a certificate; None without a common name."""
    names = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names or not names[0]:
        return None
    organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return UserInfo(
        names[0],
        groups=tuple(str(attribute.value) for attribute in organizations),
        extra={CREDENTIAL_ID_KEY: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)},
    )


def _is_for_clients(certificate: x509.Certificate) -> bool:
    """A server's certificate is no proof of who calls, even where its subject is a user."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
