"""What the conformance suite demands of single kinds beside the life that all of them have: what their own fields
keep, in the object and in its status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.testing.cluster import Cluster

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """An API server alone: nobody else writes the statuses."""
    with Cluster(controllers=False) as cluster:
        yield cluster


def condition(name: str) -> Tree:
    return {"type": name, "status": "True", "reason": "E2E", "message": f"{name} by a test"}


def test_a_claims_status_is_patched_and_updated(server: Cluster) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}
    server.apply(claim)
    path = "/api/v1/namespaces/default/persistentvolumeclaims/data"
    patched = server.patch("pvc/data", {"status": {"conditions": [condition("StatusPatched")]}}, subresource="status")
    assert [one["type"] for one in patched["status"]["conditions"]] == ["StatusPatched"]
    latest = server.request("GET", f"{path}/status")
    latest["status"]["conditions"].append(condition("StatusUpdated"))
    server.request("PUT", f"{path}/status", body=latest | {"spec": spec | {"volumeName": "of-no-meaning-here"}})
    found = server.get("pvc/data")
    assert [one["message"] for one in found["status"]["conditions"]] == [
        "StatusPatched by a test",
        "StatusUpdated by a test",
    ]
    assert "volumeName" not in found["spec"]


def test_a_volumes_status_is_patched_and_updated(server: Cluster) -> None:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "example.com", "volumeHandle": "h"},
    }
    server.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": spec})
    change = {"status": {"phase": "Failed", "message": "StatusPatched", "reason": "E2E patchStatus"}}
    assert server.patch("pv/disk", change, subresource="status")["status"]["message"] == "StatusPatched"
    latest = server.request("GET", "/api/v1/persistentvolumes/disk/status")
    latest["status"] |= {"message": "StatusUpdated", "reason": "E2E updateStatus"}
    server.request("PUT", "/api/v1/persistentvolumes/disk/status", body=latest)
    status = server.get("pv/disk")["status"]
    assert (status["phase"], status["message"], status["reason"]) == ("Failed", "StatusUpdated", "E2E updateStatus")


def test_an_attachments_status_is_patched_and_updated(server: Cluster) -> None:
    spec = {"attacher": "example.com", "nodeName": "node-0", "source": {"persistentVolumeName": "disk"}}
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment"}
    server.apply({**kind, "metadata": {"name": "attached"}, "spec": spec})
    path = "/apis/storage.k8s.io/v1/volumeattachments/attached"
    patched = server.patch("volumeattachment/attached", {"status": {"attached": True}}, subresource="status")
    assert patched["status"] == {"attached": True}
    latest = server.request("GET", f"{path}/status")
    latest["status"]["attachmentMetadata"] = {"device": "/dev/x"}
    server.request("PUT", f"{path}/status", body=latest)
    found = server.get("volumeattachment/attached")
    assert found["status"] == {"attached": True, "attachmentMetadata": {"device": "/dev/x"}}
    assert found["spec"] == spec


def test_a_lease_keeps_who_holds_it(server: Cluster) -> None:
    spec = {
        "holderIdentity": "holder",
        "leaseDurationSeconds": 30,
        "acquireTime": "2026-05-01T12:00:00.000001Z",
        "renewTime": "2026-05-01T12:00:05.000000Z",
        "leaseTransitions": 0,
    }
    kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    server.apply({**kind, "metadata": {"name": "held"}, "spec": spec})
    latest = server.get("lease/held")
    assert latest["spec"] == spec
    latest["spec"] |= {"holderIdentity": "another", "leaseTransitions": 1}
    server.request("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/held", body=latest)
    assert server.get("lease/held")["spec"] == spec | {"holderIdentity": "another", "leaseTransitions": 1}
    server.patch("lease/held", {"spec": {"leaseDurationSeconds": 60}})
    assert server.get("lease/held")["spec"]["leaseDurationSeconds"] == 60


def test_a_nodes_status_and_labels_are_kept_apart(server: Cluster) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "made"}}
    node["status"] = {"phase": "Running", "conditions": [condition("Ready")]}
    server.request("POST", "/api/v1/nodes", body=node)
    latest = server.get("node/made")
    latest["metadata"]["labels"] = {"updated": "yes"}
    latest["status"]["conditions"][0]["status"] = "False"
    server.request("PUT", "/api/v1/nodes/made", body=latest)
    found = server.get("node/made")
    assert found["metadata"]["labels"] == {"updated": "yes"}
    assert found["status"]["conditions"][0]["status"] == "True"
    server.patch("node/made", {"status": {"conditions": [condition("Patched")]}}, subresource="status")
    assert [one["type"] for one in server.get("node/made")["status"]["conditions"]] == ["Patched"]


@pytest.mark.parametrize(
    ("path", "sent", "change"),
    [
        (
            "/apis/storage.k8s.io/v1/csidrivers",
            {"metadata": {"name": "a.example.com"}, "spec": {"attachRequired": True, "podInfoOnMount": True}},
            {"spec": {"requiresRepublish": True}},
        ),
        (
            "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities",
            {"metadata": {"name": "here"}, "storageClassName": "fast", "capacity": "100Gi", "nodeTopology": {}},
            {"capacity": "50Gi"},
        ),
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            {"metadata": {"name": "fast"}, "provisioner": "example.com", "reclaimPolicy": "Delete"},
            {"allowVolumeExpansion": True},
        ),
        (
            "/apis/storage.k8s.io/v1/csinodes",
            {"metadata": {"name": "node-0"}, "spec": {"drivers": []}},
            {"spec": {"drivers": [{"name": "a.example.com", "nodeID": "n", "topologyKeys": None}]}},
        ),
    ],
)
def test_what_may_change_in_storage_kinds_changes(server: Cluster, path: str, sent: Tree, change: Tree) -> None:
    made = server.request("POST", path, body=sent)
    name, plural = sent["metadata"]["name"], path.rpartition("/")[2]
    server.patch(f"{plural}.storage.k8s.io/{name}", change)
    found = server.request("GET", f"{path}/{name}")
    for field, value in change.items():
        assert found[field] == ({**made[field], **value} if isinstance(value, dict) else value)
