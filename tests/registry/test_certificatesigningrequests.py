"""CertificateSigningRequests: what may be asked for, and that what was decided stays decided."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry.certificatesigningrequests import CertificateSigningRequestStrategy

STRATEGY = CertificateSigningRequestStrategy()
KEY = ec.generate_private_key(ec.SECP256R1())
REQUEST = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")]))
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
)


def request(**spec: Any) -> CertificateSigningRequest:
    given = {"request": REQUEST, "signer_name": "example.com/signer", "usages": ("client auth",), **spec}
    return CertificateSigningRequest(metadata=ObjectMeta(name="x"), spec=CertificateSigningRequestSpec(**given))


def decided(*types: str, status: str = "True") -> CertificateSigningRequest:
    held = tuple(CertificateSigningRequestCondition(type=one, status=status) for one in types)
    return replace(request(), status=CertificateSigningRequestStatus(conditions=held))


def said(found: Any) -> list[str]:
    errors: list[FieldError] = list(found)
    return [f"{one.field}: {one.body}" for one in errors]


def test_what_may_be_asked_for() -> None:
    assert said(STRATEGY.validate(request())) == []
    assert said(STRATEGY.validate(request(usages=("client auth", "client auth", "fun")))) == [
        'spec.usages[2]: Unsupported value: "fun": supported values: "any", "cert sign", "client auth", '
        '"code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", '
        '"email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", '
        '"key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", '
        '"timestamping"',
        'spec.usages[1]: Duplicate value: "client auth"',
    ]
    assert said(STRATEGY.validate(request(request=b"none", usages=(), signer_name="signer"))) == [
        'spec.request: Invalid value: "bm9uZQ==": PEM block type must be CERTIFICATE REQUEST',
        "spec.usages: Required value",
        'spec.signerName: Invalid value: "signer": must be a fully qualified domain and path of the form '
        "'example.com/signer-name'",
    ]
    assert said(STRATEGY.validate(request(signer_name="kubernetes.io/legacy-unknown", expiration_seconds=60))) == [
        'spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this '
        "API version",
        "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)",
    ]


def test_nobody_is_both_approved_and_denied_nor_half_approved() -> None:
    both = decided("Approved", "Denied")
    assert said(STRATEGY.validate_part_update("approval", both, decided("Approved"))) == [
        'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    ]
    assert said(STRATEGY.validate_part_update("approval", decided("Approved", status="False"), request())) == [
        'status.conditions[0].status: Unsupported value: "False": supported values: "True"'
    ]


def test_what_was_decided_stays() -> None:
    assert said(STRATEGY.validate_part_update("approval", request(), decided("Denied"))) == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Denied"'
    ]


def test_who_writes_the_status_does_not_decide() -> None:
    written = STRATEGY.prepare_for_status_update(decided("Approved", "Failed"), request())
    told = 'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    assert said(STRATEGY.validate_status_update(written, request())) == [told]
    removed = STRATEGY.prepare_for_status_update(request(), decided("Approved"))
    told = 'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    assert said(STRATEGY.validate_status_update(removed, decided("Approved"))) == [told]
    before = decided("Approved")
    changed = tuple(replace(one, message="else") for one in before.status.conditions)
    changing = replace(before, status=replace(before.status, conditions=changed))
    assert STRATEGY.prepare_for_status_update(changing, before) == before


def test_a_certificate_that_was_issued_is_not_exchanged() -> None:
    issued = replace(request(), status=CertificateSigningRequestStatus(certificate=b"old"))
    found = said(STRATEGY.validate_status_update(replace(issued, status=CertificateSigningRequestStatus()), issued))
    assert found[-1] == "status.certificate: Forbidden: updates may not modify existing certificate content"


def test_conditions_say_since_when_they_hold() -> None:
    first, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    approved = STRATEGY.with_times(decided("Approved"), request(), first)
    (said_first,) = approved.status.conditions
    assert (said_first.last_update_time, said_first.last_transition_time) == (first, first)
    (said_again,) = STRATEGY.with_times(decided("Approved"), approved, later).status.conditions
    assert (said_again.last_update_time, said_again.last_transition_time) == (later, first)
    assert STRATEGY.with_times(approved, approved, later) is approved
