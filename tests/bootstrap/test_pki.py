from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from keelback.bootstrap.pki import (
    CA_LIFETIME,
    CERTIFICATE_LIFETIME,
    KeyPair,
    certificate_hash,
    ensure_cluster_pki,
    ensure_node_credentials,
    issue_client,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _certificate(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate_pem)


def _names(pair: KeyPair) -> set[str]:
    names = _certificate(pair).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _subject(pair: KeyPair, attribute: x509.ObjectIdentifier) -> list[str | bytes]:
    return [name.value for name in _certificate(pair).subject.get_attributes_for_oid(attribute)]


def test_the_api_server_answers_to_every_name_clients_use(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path / "pki", NOW, names=["cluster.example"], addresses=["192.0.2.7"])
    assert _names(pki.apiserver) == {
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "::1",
        "cluster.example",
        "192.0.2.7",
    }


def test_identities_are_those_of_kubernetes(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path / "pki", NOW)
    node = ensure_node_credentials(pki, "n1", NOW, addresses=["192.0.2.1"])
    assert _subject(pki.admin, NameOID.ORGANIZATION_NAME) == ["system:masters"]
    assert _subject(pki.scheduler, NameOID.COMMON_NAME) == ["system:kube-scheduler"]
    assert _subject(pki.controller_manager, NameOID.COMMON_NAME) == ["system:kube-controller-manager"]
    assert _subject(node.client, NameOID.COMMON_NAME) == ["system:node:n1"]
    assert _subject(node.client, NameOID.ORGANIZATION_NAME) == ["system:nodes"]
    assert _names(node.serving) == {"n1", "192.0.2.1"}
    assert _subject(issue_client(pki, "joe", "joe", ["dev"], NOW), NameOID.COMMON_NAME) == ["joe"]


def test_everything_is_private_and_made_only_once(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    first = ensure_cluster_pki(directory, NOW)
    assert ensure_cluster_pki(directory, NOW + timedelta(days=1)) == first
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_further_name_renews_only_the_api_server_certificate(tmp_path: Path) -> None:
    first = ensure_cluster_pki(tmp_path, NOW)
    second = ensure_cluster_pki(tmp_path, NOW, addresses=["192.0.2.9"])
    assert second.apiserver != first.apiserver
    assert "192.0.2.9" in _names(second.apiserver)
    assert (second.ca, second.admin, second.service_account) == (first.ca, first.admin, first.service_account)


def test_certificates_near_their_end_are_renewed(tmp_path: Path) -> None:
    first = ensure_cluster_pki(tmp_path, NOW)
    later = NOW + CERTIFICATE_LIFETIME - timedelta(days=10)
    second = ensure_cluster_pki(tmp_path, later)
    assert second.ca == first.ca
    assert _certificate(second.admin).not_valid_after_utc > later + timedelta(days=300)


def test_an_authority_near_its_end_keeps_its_key(tmp_path: Path) -> None:
    first = ensure_cluster_pki(tmp_path, NOW)
    later = NOW + CA_LIFETIME - timedelta(days=10)
    second = ensure_cluster_pki(tmp_path, later)
    assert second.ca.key_pem == first.ca.key_pem
    assert certificate_hash(second.ca.certificate_pem) == certificate_hash(first.ca.certificate_pem)
    assert _certificate(second.ca).not_valid_after_utc > later + timedelta(days=1000)


def test_openssl_accepts_the_chain(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path, datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.apiserver.certificate_path, pki.apiserver.key_path)
    server.load_verify_locations(cadata=pki.ca.certificate_pem.decode())
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cadata=pki.ca.certificate_pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(pki.admin.certificate_path, pki.admin.key_path)
    certificate = _handshake(server, client, "127.0.0.1")
    assert certificate is not None
    assert x509.load_der_x509_certificate(certificate) == _certificate(pki.admin)


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes | None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    pending = {server_side, client_side}
    while pending:
        for side in (server_side, client_side):
            try:
                side.do_handshake()
                pending.discard(side)
            except ssl.SSLWantReadError:
                continue
    return server_side.getpeercert(binary_form=True)
