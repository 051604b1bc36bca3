"""Who comes to own what through which endpoint: all that the endpoint does not reset."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.testing.requests import Ask, with_server

MERGE = "application/merge-patch+json"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
POLICY = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}
NAMES = {"plural": "as", "kind": "A"}
VERSION = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
SIGNING_REQUEST = base64.b64encode(
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")]))
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
).decode()


def owned(obj: Any, subresource: str) -> dict[str, Any] | None:
    """The fields of the one entry of this endpoint."""
    entries = obj["metadata"].get("managedFields", [])
    found = [one["fieldsV1"] for one in entries if one.get("subresource", "") == subresource]
    assert len(found) < 2
    return found[0] if found else None


@with_server
async def test_who_writes_a_status_owns_what_it_does_not_reset(ask: Ask) -> None:
    metadata = {"labels": {"l": "1"}, "annotations": {"n": "1"}}
    labels: dict[str, Any] = {".": {}, "f:l": {}}
    annotations: dict[str, Any] = {".": {}, "f:n": {}}
    containers = [{"name": "c", "image": "i"}]
    selector = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}
    both = {"f:labels": labels, "f:annotations": annotations}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
        "/apis/apps/v1/namespaces/default/deployments": (
            {"selector": selector, "template": template},
            {"f:annotations": annotations},
        ),
        "/apis/apps/v1/namespaces/default/replicasets": ({"selector": selector, "template": template}, both),
        "/api/v1/namespaces/default/pods": ({"containers": containers}, both),
        "/api/v1/nodes": ({"unschedulable": True}, both),
        f"{ADMISSION}/validatingadmissionpolicies": (POLICY, None),
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": (
            {"group": "g.b", "scope": "Cluster", "names": NAMES, "versions": [VERSION]},
            None,
        ),
    }
    for path, (spec, expected) in cases.items():
        name = "as.g.b" if path.endswith("customresourcedefinitions") else "a"
        assert (await ask("POST", path, {"metadata": {"name": name}, "spec": spec}))[0] == 201
        status, patched = await ask("PATCH", f"{path}/{name}/status", {"metadata": metadata}, kind=MERGE)
        assert status == 200
        assert owned(patched, "status") == (expected and {"f:metadata": expected}), path


@with_server
async def test_what_a_certificate_request_asks_for_is_nobodys(ask: Ask) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {"request": SIGNING_REQUEST, "signerName": "a.b/c", "usages": ["client auth"]}
    status, made = await ask("POST", path, {"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": spec})
    assert status == 201, made
    assert owned(made, "") == {"f:metadata": {"f:labels": {".": {}, "f:l": {}}}}

    approved = {"type": "Approved", "status": "True", "reason": "Asked"}
    _, answer = await ask("PATCH", f"{path}/a/approval", {"status": {"conditions": [approved]}}, kind=MERGE)
    conditions = (owned(answer, "approval") or {})["f:status"]["f:conditions"]
    assert list(conditions) == [".", 'k:{"type":"Approved"}']
    _, answer = await ask("PATCH", f"{path}/a/status", {"metadata": {"annotations": {"n": "1"}}}, kind=MERGE)
    assert owned(answer, "status") == {"f:metadata": {"f:annotations": {".": {}, "f:n": {}}}}
