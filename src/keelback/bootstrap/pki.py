"""The cluster's certificates and keys: made once, kept in one folder with mode 0600, renewed when near expiry.

All keys are ECDSA P-256: the whole set takes a few milliseconds. A certificate authority near its end is signed anew
with the key it has, so that what it issued stays valid.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
CERTIFICATE_LIFETIME = timedelta(days=365)
# Renewed when less than this is left; a certificate authority when it could not outlive a fresh leaf.
RENEWAL_WINDOW = timedelta(days=90)
# Clocks of other machines may be a little behind.
_BACKDATED = timedelta(minutes=5)

APISERVER_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)
APISERVER_ADDRESSES = ("127.0.0.1", "::1")

_CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
_SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM, and where they lie."""

    certificate_pem: bytes
    key_pem: bytes
    certificate_path: Path
    key_path: Path


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key without a certificate: what service-account tokens are signed with."""

    key_pem: bytes
    public_key_pem: bytes
    key_path: Path
    public_key_path: Path


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """What one kubelet holds: who it is to the API server, and what it serves with."""

    client: KeyPair
    serving: KeyPair


@dataclass(frozen=True, slots=True)
class ClusterPKI:
    """Everything the control plane needs, under one folder."""

    directory: Path
    ca: KeyPair
    front_proxy_ca: KeyPair
    service_account: SigningKey
    apiserver: KeyPair
    apiserver_kubelet_client: KeyPair
    front_proxy_client: KeyPair
    admin: KeyPair
    controller_manager: KeyPair
    scheduler: KeyPair
    proxy: KeyPair


@dataclass(frozen=True, slots=True)
class _Request:
    """What a leaf certificate should say."""

    common_name: str
    organizations: tuple[str, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] = _CLIENT
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def ensure_cluster_pki(
    directory: Path, now: datetime, *, names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> ClusterPKI:
    """The cluster's certificates, made or renewed where needed.

    `names` and `addresses` are further names of the API server, as the `kubernetes` Service's address; certificates
    that lack one are issued again.
    """
    _make_private(directory)
    ca = _ensure_authority(directory, "ca", "kubernetes", now)
    front_proxy_ca = _ensure_authority(directory, "front-proxy-ca", "front-proxy-ca", now)

    def leaf(stem: str, request: _Request, authority: _Authority = ca) -> KeyPair:
        return _ensure_leaf(directory, stem, request, authority, now)

    return ClusterPKI(
        directory=directory,
        ca=ca.pair,
        front_proxy_ca=front_proxy_ca.pair,
        service_account=_ensure_signing_key(directory, "sa"),
        apiserver=leaf(
            "apiserver",
            _Request(
                "kube-apiserver",
                usages=_SERVER,
                names=_unique((*APISERVER_NAMES, *names)),
                addresses=_unique((*APISERVER_ADDRESSES, *addresses)),
            ),
        ),
        apiserver_kubelet_client=leaf(
            "apiserver-kubelet-client", _Request("kube-apiserver-kubelet-client", ("kubeadm:cluster-admins",))
        ),
        front_proxy_client=leaf("front-proxy-client", _Request("front-proxy-client"), front_proxy_ca),
        admin=leaf("admin", _Request("kubernetes-admin", ("system:masters",))),
        controller_manager=leaf("controller-manager", _Request("system:kube-controller-manager")),
        scheduler=leaf("scheduler", _Request("system:kube-scheduler")),
        proxy=leaf("proxy", _Request("system:kube-proxy", ("system:node-proxier",))),
    )


def ensure_node_credentials(
    pki: ClusterPKI, node_name: str, now: datetime, *, names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> NodeCredentials:
    """The certificates of the kubelet on `node_name`, made or renewed where needed."""
    directory = pki.directory / "nodes" / node_name
    _make_private(pki.directory / "nodes")
    _make_private(directory)
    authority = _Authority.of(pki.ca)
    client = _Request(f"system:node:{node_name}", ("system:nodes",))
    serving = _Request(
        f"system:node:{node_name}",
        ("system:nodes",),
        usages=_SERVER,
        names=_unique((node_name, *names)),
        addresses=_unique(addresses),
    )
    return NodeCredentials(
        client=_ensure_leaf(directory, "kubelet-client", client, authority, now),
        serving=_ensure_leaf(directory, "kubelet", serving, authority, now),
    )


def issue_client(pki: ClusterPKI, stem: str, user: str, groups: Sequence[str], now: datetime) -> KeyPair:
    """A client certificate for any user, kept beside the others under `stem`."""
    return _ensure_leaf(pki.directory, stem, _Request(user, tuple(groups)), _Authority.of(pki.ca), now)


def certificate_hash(certificate_pem: bytes) -> str:
    """What `--discovery-token-ca-cert-hash` takes: the hash of the certificate's public key, as `sha256:<hex>`."""
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Authority:
    pair: KeyPair
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, pair: KeyPair) -> _Authority:
        return cls(pair, x509.load_pem_x509_certificate(pair.certificate_pem), _load_key(pair.key_pem))


def self_signed(common_name: str, addresses: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
    """A certificate that only who knows it can trust, and its key, as PEM: for a server that nobody gave another."""
    key = ec.generate_private_key(ec.SECP256R1())
    nowhere = KeyPair(b"", b"", Path(), Path())
    authority = _Authority(nowhere, _self_signed(f"{common_name}-ca", key, now), key)
    usages = (ExtendedKeyUsageOID.SERVER_AUTH,)
    request = _Request(common_name, usages=usages, names=("localhost",), addresses=tuple(addresses))
    return _issue(request, key, authority, now).public_bytes(serialization.Encoding.PEM), _key_pem(key)


def _ensure_authority(directory: Path, stem: str, common_name: str, now: datetime) -> _Authority:
    certificate_path, key_path = directory / f"{stem}.crt", directory / f"{stem}.key"
    key_pem = _read(key_path)
    certificate_pem = _read(certificate_path)
    key = ec.generate_private_key(ec.SECP256R1()) if key_pem is None else _load_key(key_pem)
    if key_pem is None:
        key_pem, certificate_pem = _key_pem(key), None
        _write_private(key_path, key_pem)
    certificate = None if certificate_pem is None else x509.load_pem_x509_certificate(certificate_pem)
    if certificate is None or certificate.not_valid_after_utc - now < CERTIFICATE_LIFETIME + RENEWAL_WINDOW:
        certificate = _self_signed(common_name, key, now)
        certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        _write_private(certificate_path, certificate_pem)
    assert certificate_pem is not None
    return _Authority(KeyPair(certificate_pem, key_pem, certificate_path, key_path), certificate, key)


def _ensure_leaf(directory: Path, stem: str, request: _Request, authority: _Authority, now: datetime) -> KeyPair:
    certificate_path, key_path = directory / f"{stem}.crt", directory / f"{stem}.key"
    certificate_pem, key_pem = _read(certificate_path), _read(key_path)
    if certificate_pem is None or key_pem is None or not _is_usable(certificate_pem, key_pem, request, authority, now):
        key = ec.generate_private_key(ec.SECP256R1())
        key_pem = _key_pem(key)
        certificate_pem = _issue(request, key, authority, now).public_bytes(serialization.Encoding.PEM)
        _write_private(key_path, key_pem)
        _write_private(certificate_path, certificate_pem)
    return KeyPair(certificate_pem, key_pem, certificate_path, key_path)


def _ensure_signing_key(directory: Path, stem: str) -> SigningKey:
    key_path, public_path = directory / f"{stem}.key", directory / f"{stem}.pub"
    key_pem = _read(key_path)
    if key_pem is None:
        key_pem = _key_pem(ec.generate_private_key(ec.SECP256R1()))
        _write_private(key_path, key_pem)
    loaded = serialization.load_pem_private_key(key_pem, None)
    public_pem = loaded.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if _read(public_path) != public_pem:
        _write_private(public_path, public_pem)
    return SigningKey(key_pem, public_pem, key_path, public_path)


def _is_usable(certificate_pem: bytes, key_pem: bytes, request: _Request, authority: _Authority, now: datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    if certificate.not_valid_after_utc - now < RENEWAL_WINDOW or certificate.subject != _subject(request):
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    if _load_key(key_pem).public_key() != certificate.public_key():
        return False
    return {*request.names, *map(_normal_address, request.addresses)} <= _alternative_names(certificate)


def _alternative_names(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {
        *extension.get_values_for_type(x509.DNSName),
        *(str(address) for address in extension.get_values_for_type(x509.IPAddress)),
    }


def _self_signed(common_name: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(name, name, key, now, CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _issue(
    request: _Request, key: ec.EllipticCurvePrivateKey, authority: _Authority, now: datetime
) -> x509.Certificate:
    issuer_key = x509.SubjectKeyIdentifier.from_public_key(authority.key.public_key())
    builder = (
        _builder(_subject(request), authority.certificate.subject, key, now, CERTIFICATE_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(request.usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
    )
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in request.names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in request.addresses]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _subject(request: _Request) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in request.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, request.common_name)])


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not is_authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the private key is not an elliptic-curve key")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _normal_address(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _unique(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_private(path: Path, content: bytes) -> None:
    """Write so that nobody else can ever read it and no reader sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
