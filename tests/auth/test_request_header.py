"""Proxies beside other callers: over TLS they are in `tests/apiserver/test_access.py`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keelback.auth.authentication import AnonymousAuthenticator, AuthenticationFailed, UnionAuthenticator
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.request_header import RequestHeaderAuthenticator, RequestHeaderSettings
from keelback.auth.users import UserInfo
from keelback.bootstrap.pki import ClusterPKI, KeyPair, issue_client
from keelback.component.http import Request
from keelback.concurrency.clock import SystemClock
from keelback.testing.access_servers import authority, signed_by

MASTERS = {"x-remote-user": "ann", "x-remote-group": "system:masters"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ClusterPKI:
    return authority(tmp_path_factory.mktemp("pki"))


def known(settings: RequestHeaderSettings, pki: ClusterPKI, der: bytes, headers: dict[str, str]) -> UserInfo:
    clock = SystemClock()
    kinds = [RequestHeaderAuthenticator(settings, clock), CertificateAuthenticator(pki.ca.certificate_pem, clock)]
    union = UnionAuthenticator(kinds, AnonymousAuthenticator())
    found = asyncio.run(union.authenticate(Request("GET", "/", headers=headers, peer_certificate=der)))
    assert found is not None
    return found.user


def der(pair: KeyPair) -> bytes:
    return x509.load_pem_x509_certificate(pair.certificate_pem).public_bytes(Encoding.DER)


def test_who_has_a_certificate_of_their_own_is_who_it_says(pki: ClusterPKI) -> None:
    settings = RequestHeaderSettings(ca_pem=pki.front_proxy_ca.certificate_pem)
    jane = der(issue_client(pki, "jane", "jane", ("dev",), datetime.now(UTC)))
    user = known(settings, pki, jane, MASTERS)
    assert (user.name, user.groups) == ("jane", ("dev", "system:authenticated"))


def test_without_listed_names_any_certificate_of_that_authority_is_a_proxys(pki: ClusterPKI) -> None:
    settings = RequestHeaderSettings(ca_pem=pki.front_proxy_ca.certificate_pem)
    assert known(settings, pki, signed_by(pki.front_proxy_ca, "whoever"), MASTERS).name == "ann"
    with pytest.raises(AuthenticationFailed):
        known(settings, pki, signed_by(pki.front_proxy_ca, "whoever"), {})


def test_headers_may_have_other_names(pki: ClusterPKI, tmp_path: Path) -> None:
    settings = RequestHeaderSettings(
        ca_pem=pki.front_proxy_ca.certificate_pem,
        username_headers=("X-First", "X-Second"),
        group_headers=("X-Group-A", "X-Group-B"),
        extra_header_prefixes=("X-More-", "X-Even-More-"),
    )
    headers = {
        "x-remote-user": "nobody",
        "x-second": "ann",
        "x-group-b": "b",
        "x-group-a": "a",
        "x-more-scope": "s",
        "x-even-more-scope": "t",
        "x-remote-extra-scope": "u",
    }
    user = known(settings, pki, der(pki.front_proxy_client), headers)
    assert (user.name, user.groups[:2], dict(user.extra)) == ("ann", ("a", "b"), {"scope": ("s", "t")})
    assert known(settings, pki, der(pki.front_proxy_client), {**headers, "x-first": "joe"}).name == "joe"
