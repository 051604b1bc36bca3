"""Client certificates: the common name is the user, the organizations are the groups.

TLS has already checked that the caller holds the key; here the issuer and the dates are checked, once per certificate.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keelback.auth.authentication import Authenticated, AuthenticationFailed
from keelback.auth.users import CREDENTIAL_ID_KEY, UserInfo
from keelback.component.http import Request
from keelback.concurrency.clock import Clock

# Certificates remembered; far more than there are clients of one server.
_REMEMBERED = 4096


class CertificateAuthenticator:
    """Knows callers by certificates that one of the given authorities has signed."""

    def __init__(self, authorities_pem: bytes, clock: Clock) -> None:
        self._authorities = x509.load_pem_x509_certificates(authorities_pem)
        self._clock = clock
        self._known: dict[bytes, tuple[UserInfo | None, datetime, datetime]] = {}

    async def authenticate(self, request: Request) -> Authenticated | None:
        der = request.peer_certificate
        user = None if der is None else self.identify(der)
        return None if user is None else Authenticated(user)

    def identify(self, der: bytes) -> UserInfo | None:
        """Whose certificate it is; None if it names nobody. Raises AuthenticationFailed for one that is not good."""
        known = self._known.get(der)
        if known is None:
            certificate = x509.load_der_x509_certificate(der)
            if not any(_is_issued_by(certificate, authority) for authority in self._authorities):
                raise AuthenticationFailed("x509: certificate signed by unknown authority")
            if not _is_for_clients(certificate):
                raise AuthenticationFailed("x509: certificate specifies an incompatible key usage")
            user = user_of(certificate, der)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = (user, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
            self._known[der] = known
        user, not_before, not_after = known
        if not not_before <= self._clock.now() <= not_after:
            raise AuthenticationFailed("x509: certificate has expired or is not yet valid")
        return user


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
