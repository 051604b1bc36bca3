"""Configurations that cannot be are refused in Kubernetes' words, and no word is of a key."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from keelback.encryption.config import GroupResource, parse
from keelback.encryption.options import EncryptionError

KEY = base64.b64encode(bytes(range(32))).decode()
IDENTITY: dict[str, Any] = {"identity": {}}


def text(*resources: dict[str, Any], **more: Any) -> bytes:
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
    return json.dumps({**head, "resources": list(resources), **more}).encode()


def rule(*resources: str, providers: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"resources": list(resources), "providers": [IDENTITY] if providers is None else providers}


def keyed(cipher: str, name: str = "a", secret: str = KEY) -> dict[str, Any]:
    return {cipher: {"keys": [{"name": name, "secret": secret}]}}


def kms(**given: Any) -> dict[str, Any]:
    return {"kms": {"apiVersion": "v2", "name": "k", "endpoint": "unix:///run/kms.sock", **given}}


def test_what_upstream_takes_is_taken() -> None:
    found = parse(
        text(
            rule("secrets", "configmaps", "*.apps", providers=[keyed("aescbc"), keyed("secretbox"), IDENTITY]),
            rule(
                "*.*", providers=[kms(timeout="1500ms"), keyed("aesgcm", secret=base64.b64encode(b"x" * 16).decode())]
            ),
        ),
        "f",
    )
    assert found.resources is not None
    last = found.resources[1].providers
    assert last is not None
    assert last[0].kms is not None
    assert last[0].kms.timeout_seconds() == 1.5


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("secrets", "secrets"),
        ("deployments.apps", "deployments.apps"),
        ("*.", "*."),
        ("*.*", "*.*"),
        ("*.apps", "*.apps"),
    ],
)
def test_resources_are_shown_as_they_are_written(given: str, shown: str) -> None:
    assert str(GroupResource.parse(given)) == shown


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (b"", 'encryption provider configuration file "f" is empty'),
        (b"[", "error decoding encryption provider configuration"),
        (b'{"kind":"Pod","apiVersion":"v1"}', "got unexpected config type"),
        (text(), "resources: Required value: at least one resources is required"),
        (text(rule("secrets"), extra=1), "unknown field `extra`"),
        (text(rule()), "resources[0].resources: Required value"),
        (text(rule("secrets", providers=[])), "resources[0].providers: Required value"),
        (text(rule("secrets", "secrets")), "the same resource cannot be specified multiple times"),
        (text(rule("secrets", "*.")), "using overlapping resources such as 'secrets' and '*.'"),
        (text(rule("pods.apps", "*.*")), "using overlapping resources"),
        (text(rule("Secrets")), "resource name should not contain capital letters"),
        (text(rule("*")), "use '*.' to encrypt all the resources from core API group"),
        (text(rule("events.events.k8s.io")), "Use 'events' instead in the config file"),
        (text(rule("ingresses.extensions")), "'extensions' group has been removed"),
        (text(rule("secrets.*")), "encrypting the same resource across groups is not supported"),
        (text(rule("serviceipallocations")), "resources which do not have REST API/s cannot be encrypted"),
        (text(rule("secrets", providers=[{}])), "provider does not contain any of the expected providers"),
        (text(rule("secrets", providers=[{**IDENTITY, **keyed("aesgcm")}])), "more than one provider specified"),
        (text(rule("secrets", providers=[{"aesgcm": {"keys": []}}])), "at least one keys is required"),
        (text(rule("secrets", providers=[keyed("aescbc", name="")])), "name is a mandatory field for a key"),
        (text(rule("secrets", providers=[keyed("aescbc", secret="")])), "secret is a mandatory field for a key"),
        (
            text(rule("secrets", providers=[keyed("aescbc", secret="a~")])),
            'aescbc.keys[0].secret: Invalid value: "REDACTED": secrets must be base64 encoded',
        ),
        (
            text(rule("secrets", providers=[keyed("secretbox", secret=base64.b64encode(b"x" * 16).decode())])),
            "secret is not of the expected length, got 16, expected one of [32]",
        ),
        (text(rule("secrets", providers=[kms(apiVersion="v1")])), "KMSv1 is deprecated"),
        (text(rule("secrets", providers=[kms(apiVersion="v3")])), "unsupported apiVersion v3 for KMS provider"),
        (text(rule("secrets", providers=[kms(name="a:b")])), "must not contain ':'"),
        (text(rule("secrets", providers=[kms(), kms()])), "duplicate KMS provider name k, names must be unique"),
        (text(rule("secrets", providers=[kms(timeout="0s")])), "timeout should be a positive value"),
        (text(rule("secrets", providers=[kms(endpoint="")])), "endpoint is a mandatory field for a kms"),
        (text(rule("secrets", providers=[kms(endpoint="https://x")])), 'unsupported scheme "https" for KMS provider'),
        (text(rule("secrets", providers=[kms(cachesize=10)])), "cachesize is not supported in v2"),
    ],
)
def test_what_cannot_be_is_refused_in_words(given: bytes, problem: str) -> None:
    with pytest.raises(EncryptionError) as refused:
        parse(given, "f")
    assert problem in str(refused.value)
    assert KEY not in str(refused.value)
