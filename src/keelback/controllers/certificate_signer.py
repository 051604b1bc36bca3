"""Signs certificate requests with a certificate authority's key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

_BACKDATE = timedelta(minutes=5)
_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}
_KEY_USAGES = frozenset(
    {
        "digital signature",
        "signing",
        "content commitment",
        "key encipherment",
        "data encipherment",
        "key agreement",
    }
)


class CASigner:
    """Holds the authority's certificate and key, both PEM. Raises ValueError for anything else."""

    def __init__(self, certificate_pem: bytes, key_pem: bytes) -> None:
        self._certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("the certificate authority's key is neither ECDSA nor RSA")
        self._key = key

    def sign(self, request_pem: bytes, usages: tuple[str, ...], duration: timedelta, now: datetime) -> bytes:
        """A certificate for the request's key, subject and names, as PEM. Raises ValueError for a bad request."""
        request = x509.load_pem_x509_csr(request_pem)
        if not request.is_signature_valid:
            raise ValueError("the request's signature is not valid")
        # No certificate outlives its authority.
        until = min(now + duration, self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before((now - _BACKDATE).astimezone(UTC))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        # An extension that allows nothing makes the whole certificate invalid to OpenSSL.
        if _KEY_USAGES.intersection(usages):
            builder = builder.add_extension(_key_usage(usages), critical=True)
        extended = [_EXTENDED[usage] for usage in usages if usage in _EXTENDED]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        try:
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=False)
        except x509.ExtensionNotFound:
            pass
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def subject_of(request_pem: bytes) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(common name, organizations, alternative names) that a request asks for. Raises ValueError."""
    request = x509.load_pem_x509_csr(request_pem)
    names: tuple[str, ...] = ()
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(one.value) for one in found)
    except x509.ExtensionNotFound:
        pass
    common = _values(request.subject, NameOID.COMMON_NAME)
    return (common[0] if common else ""), _values(request.subject, NameOID.ORGANIZATION_NAME), names


def _values(name: x509.Name, oid: ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(oid))


def _key_usage(usages: tuple[str, ...]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital signature" in usages or "signing" in usages,
        content_commitment="content commitment" in usages,
        key_encipherment="key encipherment" in usages,
        data_encipherment="data encipherment" in usages,
        key_agreement="key agreement" in usages,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
