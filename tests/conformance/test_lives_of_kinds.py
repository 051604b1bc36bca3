"""The whole life of an object of each kind: created, read, listed, watched, changed, its status written, deleted alone
and with others. What the conformance suite asks of every API, asked of all kinds there are samples of."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster

HERE = Path(__file__).parent
SAMPLES = [
    *yaml.safe_load((HERE.parent / "apiserver" / "kinds.yaml").read_text()),
    *yaml.safe_load((HERE / "more_kinds.yaml").read_text()),
]
FIRST = {sample["path"]: sample["sent"] for sample in reversed(SAMPLES)}
SINGLE = {"apiservices", "ipaddresses", "servicecidrs"}
"""Kinds of which two objects cannot be alike but for the name."""
COUNT_METADATA = {"deployments", "endpointslices"}
"""Kinds whose generation rises with changes of annotations, too."""
KEEP_METADATA_IN_STATUS = {
    *("apiservices", "flowschemas", "prioritylevelconfigurations", "resourceclaims", "validatingadmissionpolicies"),
    "volumeattachments",
}
"""Kinds of whose metadata a write of the status changes nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """An API server alone: nobody else touches what the tests make, but for the server itself."""
    with Cluster(controllers=False) as cluster:
        yield cluster


def signing_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


class Kind:
    """What may be done with the objects at one path."""

    def __init__(self, cluster: Cluster, path: str) -> None:
        self.cluster, self.path = cluster, path
        root, _, self.plural = path.rpartition("/")
        root, _, namespace = root.partition("/namespaces/")
        self.namespace = namespace
        group_version = root.removeprefix("/apis/").removeprefix("/api/")
        self.group = group_version.rpartition("/")[0]
        resources = cluster.request("GET", root)["resources"]
        self.everywhere = f"{root}/{self.plural}"
        self.verbs = next(one["verbs"] for one in resources if one["name"] == self.plural)
        self.has_status = any(one["name"] == f"{self.plural}/status" for one in resources)

    def named(self, name: str) -> str:
        """As a cluster's methods call it."""
        return f"{self.plural}.{self.group}/{name}"

    def create(self, name: str) -> dict[str, Any]:
        sent = FIRST[self.path]
        if self.plural == "certificatesigningrequests":
            sent = sent | {"spec": sent["spec"] | {"request": signing_request()}}
        metadata = sent["metadata"] | {"name": name, "labels": {"life": "whole"}}
        metadata.pop("generateName", None)
        return self.cluster.request("POST", self.path, body=sent | {"metadata": metadata})

    def get(self, name: str, subresource: str = "") -> dict[str, Any]:
        return self.cluster.request("GET", "/".join(filter(None, (self.path, name, subresource))))

    def patch(self, name: str, change: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        return self.cluster.patch(self.named(name), change, namespace=self.namespace, subresource=subresource)

    def put(self, name: str, tree: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        return self.cluster.request("PUT", "/".join(filter(None, (self.path, name, subresource))), body=tree)

    def names(self, path: str = "") -> list[str]:
        listed = self.cluster.request("GET", path or self.path, query="labelSelector=life%3Dwhole")
        return [one["metadata"]["name"] for one in listed["items"]]

    def let_go(self, name: str) -> None:
        """Take the finalizers away that nobody else is there to take."""
        try:
            self.patch(name, {"metadata": {"finalizers": None}})
        except errors.NotFound:
            return


@pytest.mark.parametrize("path", sorted(path for path in FIRST if not path.endswith("/namespaces")))
def test_an_object_lives_a_whole_life(server: Cluster, path: str) -> None:
    kind = Kind(server, path)
    name = FIRST[path]["metadata"]["name"]
    uid = kind.create(name)["metadata"]["uid"]
    # Of some kinds the server itself writes the status.
    server.advance(1)
    made = kind.get(name)
    assert made["metadata"]["uid"] == uid
    assert kind.names() == kind.names(kind.everywhere) == [name]
    patched = kind.patch(name, {"metadata": {"labels": {"patched": "yes"}}})
    assert patched["metadata"]["labels"] == {**made["metadata"]["labels"], "patched": "yes"}
    annotations = {**patched["metadata"].get("annotations", {}), "updated": "yes"}
    updated = kind.put(name, patched | {"metadata": patched["metadata"] | {"annotations": annotations}})
    assert updated["metadata"]["annotations"] == annotations
    if kind.plural in COUNT_METADATA:
        assert updated["metadata"]["generation"] > made["metadata"]["generation"]
    else:
        assert updated["metadata"].get("generation") == made["metadata"].get("generation")
    with pytest.raises(errors.Conflict):
        kind.put(name, patched)
    if kind.has_status:
        assert kind.get(name, "status")["metadata"]["uid"] == uid
        marked = kind.patch(name, {"metadata": {"annotations": {"patchedstatus": "yes"}}}, "status")
        again = marked["metadata"]["annotations"] | {"updatedstatus": "yes"}
        written = kind.put(name, marked | {"metadata": marked["metadata"] | {"annotations": again}}, "status")
        is_kept = kind.plural in KEEP_METADATA_IN_STATUS
        assert kind.get(name)["metadata"]["annotations"] == (annotations if is_kept else again)
        assert written["metadata"]["uid"] == uid
    server.request("DELETE", f"{path}/{name}", query="gracePeriodSeconds=0")
    kind.let_go(name)
    with pytest.raises(errors.NotFound):
        kind.get(name)
    told = server.changes(kind.named("").rstrip("/"), made["metadata"]["resourceVersion"], namespace=kind.namespace)
    told = [one for one in told if one["object"]["metadata"]["name"] == name]
    assert {one["type"] for one in told[:-1]} == {"MODIFIED"}
    assert told[-1]["type"] == "DELETED"
    assert told[0]["object"]["metadata"]["labels"]["patched"] == "yes"


@pytest.mark.parametrize("path", sorted(path for path in FIRST if path.rpartition("/")[2] not in SINGLE))
def test_a_collection_is_deleted_by_its_label(server: Cluster, path: str) -> None:
    kind = Kind(server, path)
    if "deletecollection" not in kind.verbs:
        with pytest.raises(errors.MethodNotSupported):
            server.request("DELETE", path, query="labelSelector=life%3Dwhole")
        return
    names = ["collected-a", "collected-b"]
    for name in names:
        kind.create(name)
    assert kind.names() == names
    server.request("DELETE", path, query="labelSelector=life%3Dwhole&gracePeriodSeconds=0")
    for name in names:
        kind.let_go(name)
    assert kind.names() == []
