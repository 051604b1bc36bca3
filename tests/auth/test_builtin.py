from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keelback.api.core_v1 import ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.auth import bootstrap_policy, builtin
from keelback.auth.attributes import Attributes
from keelback.auth.authentication import AuthenticationFailed, RequestAuthenticator
from keelback.auth.authorizers import DEFAULT_MODES, Authorizers
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.jwt import VerifyingKey
from keelback.auth.node_graph import NodeGraph
from keelback.auth.rbac import Policy
from keelback.auth.service_accounts import TokenIssuer
from keelback.auth.static_tokens import TokenFileAuthenticator
from keelback.auth.users import UserInfo
from keelback.bootstrap.pki import ClusterPKI, ensure_cluster_pki
from keelback.component.http import Request
from keelback.component.metrics import Registry
from keelback.testing.clock import HandClock

T = TypeVar("T", bound=Object)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = ObjectMeta(name="default", namespace="x", uid="u")


class OneAccount:
    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        if (kind.__kind__, name, namespace) != (ServiceAccount.__kind__, "default", "x"):
            raise errors.NotFound.of(kind.__kind__, name)
        return kind(metadata=ACCOUNT)


@pytest.fixture
def pki(tmp_path: Path) -> ClusterPKI:
    return ensure_cluster_pki(tmp_path, NOW)


def _authenticator(pki: ClusterPKI) -> RequestAuthenticator:
    clock = HandClock(NOW)
    tokens = builtin.token_authenticator(
        service_account_keys=(VerifyingKey.load(pki.service_account.public_key_pem),),
        reader=OneAccount(),
        clock=clock,
        token_file=TokenFileAuthenticator.parse("t,joe,7"),
    )
    certificates = CertificateAuthenticator(pki.ca.certificate_pem, clock)
    return builtin.request_authenticator(certificates=certificates, tokens=tokens)


def _name(pki: ClusterPKI, request: Request) -> str:
    known = asyncio.run(_authenticator(pki).authenticate(request))
    assert known is not None
    return known.user.name


def test_every_credential_of_a_new_cluster_is_known(pki: ClusterPKI) -> None:
    issued = TokenIssuer(pki.service_account.key_pem).issue(ACCOUNT, now=NOW, token_id="i", lifetime_seconds=600)
    admin = x509.load_pem_x509_certificate(pki.admin.certificate_pem).public_bytes(Encoding.DER)

    def bearing(token: str) -> Request:
        return Request("GET", "/", headers={"authorization": f"Bearer {token}"})

    assert _name(pki, Request("GET", "/")) == "system:anonymous"
    assert _name(pki, Request("GET", "/", peer_certificate=admin)) == "kubernetes-admin"
    assert _name(pki, Request("GET", "/", identity=UserInfo("system:apiserver"))) == "system:apiserver"
    assert _name(pki, bearing("t")) == "joe"
    assert _name(pki, bearing(issued.token)) == "system:serviceaccount:x:default"
    with pytest.raises(AuthenticationFailed):
        _name(pki, bearing("abcdef.0123456789abcdef"))


def test_clients_of_an_authority_that_was_replaced_are_known_no_more(pki: ClusterPKI, tmp_path: Path) -> None:
    other = ensure_cluster_pki(tmp_path / "other", NOW)
    certificates = CertificateAuthenticator(pki.ca.certificate_pem, HandClock(NOW))
    admins = [
        x509.load_pem_x509_certificate(one.admin.certificate_pem).public_bytes(Encoding.DER) for one in (pki, other)
    ]
    assert certificates.identify(admins[0]) is not None
    with pytest.raises(AuthenticationFailed):
        certificates.identify(admins[1])
    certificates.trust(other.ca.certificate_pem)
    assert certificates.identify(admins[1]) is not None
    with pytest.raises(AuthenticationFailed):
        certificates.identify(admins[0])
    with pytest.raises(ValueError, match="PEM"):
        certificates.trust(b"half a certificate")
    assert certificates.identify(admins[1]) is not None, "what is no certificate changes nothing"


@pytest.mark.parametrize(
    ("user", "is_allowed"),
    [
        (UserInfo("root", groups=("system:masters",)), True),
        (UserInfo("system:kube-controller-manager"), True),
        (UserInfo("system:node:n1", groups=("system:nodes",)), False),
        (UserInfo("joe", groups=("system:authenticated",)), False),
    ],
)
def test_who_lists_secrets_in_a_new_cluster(user: UserInfo, is_allowed: bool) -> None:
    policy = Policy(bootstrap_policy.objects())
    authorizers = Authorizers(policy, NodeGraph(), None, HandClock(), random.Random(1), Registry())
    authorizer = authorizers.of_modes(DEFAULT_MODES, None).authorizer
    verdict = asyncio.run(authorizer.authorize(Attributes(user, "list", resource="secrets")))
    assert verdict.is_allowed is is_allowed
