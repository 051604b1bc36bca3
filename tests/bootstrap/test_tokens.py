from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keelback.bootstrap.tokens import BootstrapToken, as_secret, generate


def test_a_new_token_reads_back_and_does_not_show_its_secret() -> None:
    token = generate()
    assert BootstrapToken.parse(str(token)) == token
    assert token.secret not in repr(token)
    assert generate() != token


def test_nonsense_is_not_a_token() -> None:
    with pytest.raises(ValueError, match="not of the form"):
        BootstrapToken.parse("abc.def")


def test_the_secret_says_until_when_and_for_whom() -> None:
    secret = as_secret(BootstrapToken("abcdef", "0123456789abcdef"), expires=datetime(2026, 1, 2, tzinfo=UTC))
    assert (secret.metadata.namespace, secret.metadata.name) == ("kube-system", "bootstrap-token-abcdef")
    assert secret.type == "bootstrap.kubernetes.io/token"
    assert secret.data == {
        "auth-extra-groups": b"system:bootstrappers:kubeadm:default-node-token",
        "expiration": b"2026-01-02T00:00:00Z",
        "token-id": b"abcdef",
        "token-secret": b"0123456789abcdef",
        "usage-bootstrap-authentication": b"true",
        "usage-bootstrap-signing": b"true",
    }
