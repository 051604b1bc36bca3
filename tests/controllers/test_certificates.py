from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.api.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.bootstrap import pki
from keelback.controllers import certificates
from keelback.controllers.certificate_signer import CASigner, subject_of

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def pem(name: str, organization: str = "", dns: str = "") -> bytes:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def request(signer: str, body: bytes, *usages: str) -> CertificateSigningRequest:
    spec = CertificateSigningRequestSpec(request=body, signer_name=signer, usages=usages)
    return CertificateSigningRequest(metadata=ObjectMeta(name="r", creation_timestamp=NOW), spec=spec)


def test_a_signed_certificate_is_what_was_asked_for_and_the_authoritys(tmp_path: Path) -> None:
    authority = pki.ensure_cluster_pki(tmp_path, NOW).ca
    signer = CASigner(authority.certificate_pem, authority.key_pem)
    signed = signer.sign(pem("jane", "dev", "jane.example"), ("client auth",), timedelta(hours=1), NOW)
    certificate = x509.load_pem_x509_certificate(signed)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_pem))
    assert certificate.not_valid_after_utc == NOW + timedelta(hours=1)
    assert certificate.subject.rfc4514_string() == "O=dev,CN=jane"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    ("usages", "signs"), [(("client auth",), None), (("client auth", "digital signature"), True), (("signing",), True)]
)
def test_a_certificate_has_key_usages_only_if_some_were_asked_for(
    tmp_path: Path, usages: tuple[str, ...], signs: bool | None
) -> None:
    authority = pki.ensure_cluster_pki(tmp_path, NOW).ca
    signer = CASigner(authority.certificate_pem, authority.key_pem)
    signed = x509.load_pem_x509_certificate(signer.sign(pem("jane"), usages, timedelta(hours=1), NOW))
    found = [one.value for one in signed.extensions if isinstance(one.value, x509.KeyUsage)]
    assert [one.digital_signature for one in found] == ([] if signs is None else [signs])


def test_nonsense_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r".*"):
        subject_of(b"nonsense")
    assert certificates.complaint(request(certificates.CLIENT, b"nonsense", "client auth")).startswith(
        "unable to parse"
    )


def test_each_signer_refuses_what_is_not_its_business() -> None:
    node = pem("system:node:n1", "system:nodes")
    serving = pem("system:node:n1", "system:nodes", "n1")
    assert not certificates.complaint(request(certificates.CLIENT, pem("jane"), "client auth"))
    assert certificates.complaint(request(certificates.CLIENT, pem("jane"), "server auth"))
    assert not certificates.complaint(request(certificates.KUBELET_CLIENT, node, "client auth", "digital signature"))
    assert certificates.complaint(request(certificates.KUBELET_CLIENT, pem("jane"), "client auth"))
    assert certificates.complaint(request(certificates.KUBELET_CLIENT, serving, "client auth"))
    assert not certificates.complaint(request(certificates.KUBELET_SERVING, serving, "server auth"))
    assert certificates.complaint(request(certificates.KUBELET_SERVING, node, "server auth"))


def test_old_requests_go_an_hour_after_they_were_answered_or_a_day_after_they_were_made() -> None:
    pending = request(certificates.CLIENT, b"")
    assert certificates.expiry(pending) == NOW + timedelta(days=1)
    approved = CertificateSigningRequestCondition(type="Approved", status="True", last_update_time=NOW)
    answered = CertificateSigningRequest(status=CertificateSigningRequestStatus(conditions=(approved,)))
    assert certificates.is_approved(answered)
    assert certificates.expiry(answered) == NOW + timedelta(hours=1)
