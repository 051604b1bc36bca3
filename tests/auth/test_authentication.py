from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.api.core_v1 import Secret
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.auth.authentication import (
    AnonymousAuthenticator,
    Authenticated,
    AuthenticationFailed,
    BearerTokenAuthenticator,
    UnionAuthenticator,
    UnionTokenAuthenticator,
)
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.static_tokens import BootstrapTokenAuthenticator, TokenFileAuthenticator
from keelback.auth.users import UserInfo
from keelback.bootstrap.pki import ensure_cluster_pki, ensure_node_credentials
from keelback.component.http import Request
from keelback.testing.clock import HandClock

T = TypeVar("T", bound=Object)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKENS = TokenFileAuthenticator.parse('t1,admin,admin,"system:masters"\n# a comment\nt2,joe,7\n')


class Secrets:
    def __init__(self, *secrets: Secret) -> None:
        self.held = {secret.metadata.name: secret for secret in secrets}

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        found = self.held.get(name) if namespace == "kube-system" else None
        if not isinstance(found, kind):
            raise errors.NotFound.of(kind.__kind__, name)
        return found


def _union() -> UnionAuthenticator:
    tokens = BearerTokenAuthenticator(UnionTokenAuthenticator([TOKENS]))
    return UnionAuthenticator([tokens], AnonymousAuthenticator())


def _ask(**headers: str) -> Authenticated | None:
    request = Request("GET", "/", headers={key.replace("_", "-"): value for key, value in headers.items()})
    return asyncio.run(_union().authenticate(request))


def test_a_listed_token_is_its_user() -> None:
    assert _ask(authorization="Bearer t1") == Authenticated(
        UserInfo("admin", "admin", ("system:masters", "system:authenticated"))
    )
    assert _ask(authorization="bearer  t2") == Authenticated(UserInfo("joe", "7", ("system:authenticated",)))


def test_without_a_credential_one_is_anonymous() -> None:
    assert _ask() == Authenticated(UserInfo("system:anonymous", groups=("system:unauthenticated",)))
    assert _ask(authorization="Basic x") == _ask()


def test_a_browser_carries_its_token_in_a_subprotocol() -> None:
    encoded = base64.urlsafe_b64encode(b"t2").decode().rstrip("=")
    known = _ask(
        upgrade="websocket",
        sec_websocket_protocol=f"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}",
    )
    assert known is not None
    assert known.user.name == "joe"


def test_a_bad_credential_is_not_anonymous() -> None:
    with pytest.raises(AuthenticationFailed, match="invalid bearer token"):
        _ask(authorization="Bearer wrong")


@pytest.mark.parametrize(
    ("text", "message"),
    [("t1,admin\n", "at least 3 columns"), (",admin,1\n", "empty token")],
)
def test_a_bad_token_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenFileAuthenticator.parse(text)


def _bootstrap_secret(**data: str) -> Secret:
    content = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        **{key.replace("_", "-"): value for key, value in data.items()},
    }
    return Secret(
        metadata=ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system"),
        type="bootstrap.kubernetes.io/token",
        data={key: value.encode() for key, value in content.items()},
    )


def _join(secret: Secret, token: str = "abcdef.0123456789abcdef") -> Authenticated | None:
    authenticator = BootstrapTokenAuthenticator(Secrets(secret), HandClock(NOW))
    audiences: Sequence[str] = ()
    return asyncio.run(authenticator.authenticate_token(token, audiences))


def test_a_bootstrap_token_is_a_new_nodes_user() -> None:
    assert _join(_bootstrap_secret()) == Authenticated(
        UserInfo(
            "system:bootstrap:abcdef",
            groups=("system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"),
        )
    )


@pytest.mark.parametrize(
    "secret",
    [
        _bootstrap_secret(token_secret="fedcba9876543210"),
        _bootstrap_secret(expiration="2025-12-31T00:00:00Z"),
        _bootstrap_secret(expiration="nonsense"),
        _bootstrap_secret(usage_bootstrap_authentication="false"),
        _bootstrap_secret(auth_extra_groups="system:masters"),
        _bootstrap_secret(token_id="fedcba"),
    ],
)
def test_a_bootstrap_token_must_be_good_in_every_way(secret: Secret) -> None:
    assert _join(secret) is None
    assert _join(_bootstrap_secret(), "nonsense") is None


CA_KEY, LEAF_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])


def _sign(subject: x509.Name, signer: ec.EllipticCurvePrivateKey, end: datetime = NOW + timedelta(days=1)) -> bytes:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(CA_NAME)
        .public_key(LEAF_KEY.public_key() if subject != CA_NAME else CA_KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(end)
        .sign(signer, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


CA_PEM = x509.load_der_x509_certificate(_sign(CA_NAME, CA_KEY)).public_bytes(serialization.Encoding.PEM)
JOE = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "dev"), x509.NameAttribute(NameOID.COMMON_NAME, "joe")])


def _by_certificate(der: bytes | None) -> Authenticated | None:
    authenticator = CertificateAuthenticator(CA_PEM, HandClock(NOW))
    return asyncio.run(authenticator.authenticate(Request("GET", "/", peer_certificate=der)))


def test_a_certificates_subject_is_the_user() -> None:
    known = _by_certificate(_sign(JOE, CA_KEY))
    assert known is not None
    assert (known.user.name, known.user.groups) == ("joe", ("dev", "system:authenticated"))
    assert known.user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    assert _by_certificate(None) is None


def test_a_servers_certificate_is_no_callers(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path, NOW)
    node = ensure_node_credentials(pki, "n1", NOW)
    authenticator = CertificateAuthenticator(pki.ca.certificate_pem, HandClock(NOW))

    def ask(pem: bytes) -> Authenticated | None:
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        return asyncio.run(authenticator.authenticate(Request("GET", "/", peer_certificate=der)))

    known = ask(node.client.certificate_pem)
    assert known is not None
    assert (known.user.name, known.user.groups) == ("system:node:n1", ("system:nodes", "system:authenticated"))
    with pytest.raises(AuthenticationFailed, match="incompatible key usage"):
        ask(node.serving.certificate_pem)
    with pytest.raises(AuthenticationFailed, match="unknown authority"):
        ask(pki.front_proxy_client.certificate_pem)


@pytest.mark.parametrize("der", [_sign(JOE, LEAF_KEY), _sign(JOE, CA_KEY, end=NOW - timedelta(seconds=1))])
def test_a_foreign_or_old_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        _by_certificate(der)
