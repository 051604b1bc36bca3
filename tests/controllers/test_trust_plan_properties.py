"""What holds of the plans for tokens, accounts and certificates, whatever they are given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
)
from keelback.api.core_v1 import ConfigMap, Namespace, NamespaceStatus, Secret, ServiceAccount
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import bootstrap_tokens, certificates, serviceaccount_tokens, serviceaccounts

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Token:
    """One bootstrap token of a case."""

    id: str = "abcdef"
    is_named_so: bool = True
    secret: str = "0123456789abcdef"
    signs: str = "true"
    expiration: str = ""

    def built(self) -> Secret:
        data = {"token-id": self.id, "token-secret": self.secret, "usage-bootstrap-signing": self.signs}
        if self.expiration:
            data["expiration"] = self.expiration
        name = f"bootstrap-token-{self.id if self.is_named_so else 'other1'}"
        return Secret(metadata=ObjectMeta(name=name), data={key: value.encode() for key, value in data.items()})


times = st.sampled_from(["", "nonsense", "2026-05-01T12:00:00", "2026-05-01T12:00:00Z"]) | st.integers(-9, 9).map(
    lambda hours: (NOW + timedelta(hours=hours)).isoformat()
)
tokens = st.lists(
    st.builds(
        Token,
        id=st.sampled_from(["abcdef", "000000", "ABCDEF", "short"]),
        is_named_so=st.booleans(),
        secret=st.sampled_from(["0123456789abcdef", "0" * 16, "short"]),
        signs=st.sampled_from(["true", "false", ""]),
        expiration=times,
    ),
    unique_by=lambda one: one.id,
    max_size=4,
)
words = st.dictionaries(
    st.sampled_from(["note", "jws-kubeconfig-gone00", "jws-kubeconfig-abcdef"]), st.text(max_size=3)
)


@given(tokens, words, st.booleans())
def test_cluster_info_is_signed_by_each_good_token_and_by_no_other(
    given_tokens: list[Token], data: dict[str, str], has_content: bool
) -> None:
    held = ConfigMap(data=data | ({"kubeconfig": "content"} if has_content else {}))
    good = bootstrap_tokens.signing_tokens([one.built() for one in given_tokens], NOW)
    assert set(good) <= {one.id for one in given_tokens if one.is_named_so and one.signs == "true"}
    signed = bootstrap_tokens.signed(held, good)
    assert bootstrap_tokens.signed(signed, good) is signed
    if not has_content:
        assert signed is held
        return
    signatures = {key for key in signed.data if key.startswith("jws-kubeconfig-")}
    assert signatures == {f"jws-kubeconfig-{id}" for id in good}
    others = {key: value for key, value in held.data.items() if not key.startswith("jws-kubeconfig-")}
    assert others.items() <= signed.data.items()
    for id, secret in good.items():
        head, content, signature = signed.data[f"jws-kubeconfig-{id}"].split(".")
        assert (bool(head), content, bool(signature)) == (True, "", True)
        assert bootstrap_tokens.detached_signature("other", id, secret) != signed.data[f"jws-kubeconfig-{id}"]


@given(times, st.integers(0, 48))
def test_what_has_ended_stays_ended_and_signs_no_more(expiration: str, hours: int) -> None:
    secret = Token(expiration=expiration).built()
    later = NOW + timedelta(hours=hours)
    if bootstrap_tokens.is_expired(secret, NOW):
        assert bootstrap_tokens.is_expired(secret, later)
        assert not bootstrap_tokens.signing_tokens([secret], NOW)
    else:
        assert bootstrap_tokens.signing_tokens([secret], NOW)
        # Who waits until it ends finds that it has.
        end = bootstrap_tokens.expiration(secret)
        assert (end is None) == (not expiration)
        assert end is None or bootstrap_tokens.is_expired(secret, end)


@given(
    st.dictionaries(st.sampled_from(["token", "ca.crt", "namespace", "extra"]), st.binary(max_size=3)),
    st.sampled_from([b"", b"CA"]),
)
def test_a_secret_of_an_account_is_completed_once_and_keeps_what_it_has(held: dict[str, bytes], root_ca: bytes) -> None:
    account = ServiceAccount(metadata=ObjectMeta(name="robot", uid="u1"))
    secret = Secret(metadata=ObjectMeta(name="s", namespace="shop", annotations={"note": "kept"}), data=held)
    whole = serviceaccount_tokens.completed(secret, account, root_ca, lambda: "made")
    assert serviceaccount_tokens.completed(whole, account, root_ca, lambda: "again") is whole
    assert {key for key, value in whole.data.items() if value} >= {"token", "namespace"}
    assert whole.data["token"] == (held.get("token") or b"made")
    assert not root_ca or whole.data["ca.crt"] == root_ca
    assert whole.data.get("extra") == held.get("extra")
    assert whole.metadata.annotations["note"] == "kept"


@given(st.lists(st.sampled_from(["default", "other"])), st.booleans(), st.sampled_from(["Active", "Terminating"]))
def test_a_namespace_lacks_no_account_once_what_it_lacked_is_made(held: list[str], is_going: bool, phase: str) -> None:
    metadata = ObjectMeta(name="shop", deletion_timestamp=NOW if is_going else None)
    namespace = Namespace(metadata=metadata, status=NamespaceStatus(phase=phase))
    lacking = serviceaccounts.missing(namespace, held)
    assert not set(lacking) & set(held)
    assert not serviceaccounts.missing(namespace, [*held, *lacking])
    assert not (lacking and (is_going or phase == "Terminating"))


KEY = ec.generate_private_key(ec.SECP256R1())


def pem(name: str, organization: str, dns: str) -> bytes:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


ALLOWED = {
    certificates.CLIENT: {"client auth", "digital signature", "key encipherment"},
    certificates.KUBELET_CLIENT: {"client auth", "digital signature", "key encipherment"},
    certificates.KUBELET_SERVING: {"server auth", "digital signature", "key encipherment"},
}
BODIES = {
    (name, organization, dns): pem(name, organization, dns)
    for name in ("jane", "system:node:n1")
    for organization in ("", "system:nodes")
    for dns in ("", "n1")
}
USAGES = ("client auth", "server auth", "digital signature", "key encipherment", "cert sign")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(ALLOWED)),
    st.sampled_from(sorted(BODIES)),
    st.sets(st.sampled_from(USAGES)),
    st.sampled_from(USAGES),
)
def test_a_signer_never_signs_more_than_its_business_and_nobody_makes_a_complaint_go_by_asking_for_more(
    signer: str, who: tuple[str, str, str], usages: set[str], more: str
) -> None:
    def complaint(asked: set[str]) -> str:
        spec = CertificateSigningRequestSpec(request=BODIES[who], signer_name=signer, usages=tuple(sorted(asked)))
        return certificates.complaint(CertificateSigningRequest(metadata=ObjectMeta(name="r"), spec=spec))

    if not complaint(usages):
        assert usages <= ALLOWED[signer]
        assert usages & {"client auth", "server auth"}
        if signer != certificates.CLIENT:
            assert who[:2] == ("system:node:n1", "system:nodes")
            assert bool(who[2]) == (signer == certificates.KUBELET_SERVING)
    if usages - ALLOWED[signer]:
        assert complaint(usages | {more})


moments = st.none() | st.integers(0, 100).map(lambda hours: NOW - timedelta(hours=hours))


@given(
    moments,
    st.lists(
        st.tuples(st.sampled_from(["Approved", "Denied", "Failed", "Other"]), moments),
        unique_by=lambda one: one[0],
        max_size=3,
    ),
)
def test_a_request_that_is_denied_is_not_approved_and_each_has_its_time(
    created: datetime | None, told: list[tuple[str, datetime | None]]
) -> None:
    found = tuple(
        CertificateSigningRequestCondition(type=type, status="True", last_update_time=when) for type, when in told
    )
    request = CertificateSigningRequest(
        metadata=ObjectMeta(creation_timestamp=created), status=CertificateSigningRequestStatus(conditions=found)
    )
    types = {type for type, _ in told}
    assert certificates.is_approved(request) == ("Approved" in types and "Denied" not in types)
    denied = CertificateSigningRequestCondition(type="Denied", status="True", last_update_time=NOW)
    assert not certificates.is_approved(
        replace(request, status=CertificateSigningRequestStatus(conditions=(*found, denied)))
    )
    due = certificates.expiry(request)
    answered = [when for type, when in told if when is not None and type != "Other"]
    if answered:
        assert due is not None
        assert min(answered) <= due - timedelta(hours=1) <= max(answered)
    else:
        assert due == (None if created is None else created + timedelta(days=1))
