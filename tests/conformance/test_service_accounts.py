"""What the conformance suite demands of service accounts, their tokens, and reviews of what they may do."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from keelback.testing.cluster import Cluster
from keelback.testing.requests import Ask, with_server

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=1, heartbeat_seconds=300) as running:
        yield running


def account(cluster: Cluster, name: str, **fields: Any) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}, **fields})


def test_every_namespace_has_the_root_certificate(cluster: Cluster) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "any"}})
    target = "configmap/kube-root-ca.crt"
    made = cluster.wait(target, "exists", namespace="any")
    assert made["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    cluster.delete(target, namespace="any")
    again = cluster.wait(target, lambda one: one["metadata"]["uid"] != made["metadata"]["uid"], namespace="any")
    assert again["data"] == made["data"]
    cluster.patch(target, {"data": {"ca.crt": "spoilt", "more": "yes"}}, namespace="any")
    cluster.wait(target, lambda one: one["data"] == made["data"], namespace="any")


@pytest.mark.parametrize("of_pod", [None, True, False])
@pytest.mark.parametrize("of_account", [None, True, False])
def test_a_token_may_be_declined_by_the_pod_or_else_by_its_account(
    cluster: Cluster, of_account: bool | None, of_pod: bool | None
) -> None:
    def said(value: bool | None) -> dict[str, bool]:
        return {} if value is None else {"automountServiceAccountToken": value}

    name = f"{of_account}-{of_pod}".lower()
    account(cluster, name, **said(of_account))
    container = {"name": "c", "image": "one"}
    spec = {"serviceAccountName": name, "containers": [container], **said(of_pod)}
    tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    (made,) = cluster.apply(tree)
    mounts = made["spec"]["containers"][0].get("volumeMounts", [])
    is_mounted = of_pod if of_pod is not None else of_account is not False
    assert [one["mountPath"] for one in mounts] == ["/var/run/secrets/kubernetes.io/serviceaccount"] * is_mounted
    assert bool(made["spec"].get("volumes")) == is_mounted


def test_an_account_is_updated(cluster: Cluster) -> None:
    account(cluster, "changes", automountServiceAccountToken=False)
    tree = cluster.get("serviceaccount/changes") | {"automountServiceAccountToken": True}
    cluster.request("PUT", f"{ACCOUNTS}/changes", body=tree)
    assert cluster.get("serviceaccount/changes")["automountServiceAccountToken"] is True


def test_a_token_is_given_and_reviewed(cluster: Cluster) -> None:
    account(cluster, "robot")
    tree = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    given = cluster.request("POST", f"{ACCOUNTS}/robot/token", body=tree)["status"]["token"]
    assert given
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": given}}
    status = cluster.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review)["status"]
    assert status["authenticated"] is True
    assert "error" not in status
    assert status["user"]["username"] == "system:serviceaccount:default:robot"
    assert status["user"]["uid"] == cluster.get("serviceaccount/robot")["metadata"]["uid"]


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@with_server
async def test_a_token_is_verified_by_what_the_issuer_publishes(ask: Ask) -> None:
    assert (await ask("POST", ACCOUNTS, {"metadata": {"name": "verified"}}))[0] == 201
    _, given = await ask("POST", f"{ACCOUNTS}/verified/token", {"spec": {"audiences": ["somebody"]}})
    header, claims, signature = given["status"]["token"].split(".")
    claimed = json.loads(decoded(claims))
    assert (claimed["sub"], claimed["aud"]) == ("system:serviceaccount:default:verified", ["somebody"])
    _, discovered = await ask("GET", "/.well-known/openid-configuration")
    assert discovered["issuer"] == claimed["iss"]
    assert discovered["jwks_uri"].endswith("/openid/v1/jwks")
    assert discovered["id_token_signing_alg_values_supported"] == ["ES256"]
    _, published = await ask("GET", "/openid/v1/jwks")
    (key,) = [one for one in published["keys"] if one["kid"] == json.loads(decoded(header))["kid"]]
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
    x, y = (int.from_bytes(decoded(key[name])) for name in ("x", "y"))
    both = decoded(signature)
    signed = utils.encode_dss_signature(int.from_bytes(both[:32]), int.from_bytes(both[32:]))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    # Raises InvalidSignature for any other.
    public.verify(signed, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))


@with_server
async def test_reviews_say_what_an_account_may_do(ask: Ask) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    assert (await ask("POST", f"{rbac}/roles", {"metadata": {"name": "lists"}, "rules": rules}))[0] == 201
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lists"}
    subject = {"kind": "ServiceAccount", "name": "reviewed", "namespace": "default"}
    binding = {"metadata": {"name": "lists"}, "roleRef": reference, "subjects": [subject]}
    assert (await ask("POST", f"{rbac}/rolebindings", binding))[0] == 201
    user = "system:serviceaccount:default:reviewed"
    as_account = {"token": "admin-token", "impersonate_user": user}
    while True:
        if (await ask("GET", "/api/v1/namespaces/default/configmaps", **as_account))[0] == 200:
            break
        await asyncio.sleep(0)
    group = "/apis/authorization.k8s.io/v1"
    for resource, is_allowed in (("configmaps", True), ("secrets", False)):
        attributes = {"namespace": "default", "verb": "list", "resource": resource}
        spec = {"user": user, "resourceAttributes": attributes}
        for path in (f"{group}/subjectaccessreviews", f"{group}/namespaces/default/localsubjectaccessreviews"):
            metadata = {"namespace": "default"} if "local" in path else {}
            status, review = await ask("POST", path, {"metadata": metadata, "spec": spec})
            assert (status, review["status"]["allowed"]) == (201, is_allowed)
        path = f"/api/v1/namespaces/default/{resource}"
        status, _ = await ask("GET", path, **as_account)
        assert status == (200 if is_allowed else 403)
