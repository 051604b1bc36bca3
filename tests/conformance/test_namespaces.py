"""What the conformance suite demands of Namespaces: how they change, and how they go with all that is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=2, heartbeat_seconds=300) as running:
        yield running


def namespace(cluster: Cluster, name: str) -> dict[str, Any]:
    """One in which pods may be made."""
    (made,) = cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.wait("serviceaccount/default", "exists", namespace=name)
    return made


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "one"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def test_its_labels_are_patched_and_updated(cluster: Cluster) -> None:
    namespace(cluster, "changes")
    cluster.patch("namespace/changes", {"metadata": {"labels": {"patched": "yes"}}})
    read = cluster.get("namespace/changes")
    assert read["metadata"]["labels"] == {"kubernetes.io/metadata.name": "changes", "patched": "yes"}
    read["metadata"]["labels"]["updated"] = "yes"
    cluster.request("PUT", "/api/v1/namespaces/changes", body=read)
    assert cluster.get("namespace/changes")["metadata"]["labels"]["updated"] == "yes"


def test_its_status_is_read_patched_and_updated(cluster: Cluster) -> None:
    namespace(cluster, "told")
    path = "/api/v1/namespaces/told/status"
    assert cluster.request("GET", path)["status"] == {"phase": "Active"}
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by a test"}
    cluster.patch("namespace/told", {"status": {"conditions": [condition]}}, subresource="status")
    patched = cluster.get("namespace/told")
    assert patched["status"]["phase"] == "Active"
    assert patched["status"]["conditions"][0] | condition == patched["status"]["conditions"][0]
    second = condition | {"type": "StatusUpdate", "message": "Updated by a test"}
    patched["status"]["conditions"].append(second)
    cluster.request("PUT", path, body=patched)
    updated = cluster.get("namespace/told")["status"]["conditions"]
    assert [one["message"] for one in updated] == ["Patched by a test", "Updated by a test"]


def test_a_finalizer_is_put_in_and_taken_out_of_its_specification(cluster: Cluster) -> None:
    namespace(cluster, "finalized")
    path = "/api/v1/namespaces/finalized/finalize"
    for finalizers in (["kubernetes", "example.com/fake"], ["kubernetes"]):
        tree = cluster.get("namespace/finalized")
        cluster.request("PUT", path, body=tree | {"spec": {"finalizers": finalizers}})
        assert cluster.get("namespace/finalized")["spec"]["finalizers"] == finalizers


def test_pods_and_services_go_with_it(cluster: Cluster) -> None:
    namespace(cluster, "goes")
    for name in ("a", "b"):
        cluster.apply(pod(name), namespace="goes")
        cluster.wait(f"pod/{name}", "Ready", namespace="goes")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    cluster.apply(service, namespace="goes")
    cluster.delete("namespace/goes")
    assert cluster.get("namespace/goes")["status"]["phase"] == "Terminating"
    with pytest.raises(errors.Forbidden, match="because it is being terminated"):
        cluster.apply(pod("late"), namespace="goes")
    cluster.wait("namespace/goes", "deleted")
    namespace(cluster, "goes")
    assert cluster.list("pods", namespace="goes") == cluster.list("services", namespace="goes") == []


def test_its_pods_go_before_everything_else(cluster: Cluster) -> None:
    namespace(cluster, "ordered")
    held = ["example.com/held"]
    cluster.apply(pod("last", finalizers=held), namespace="ordered")
    cluster.apply(config_map("waits", finalizers=held), namespace="ordered")
    cluster.wait("pod/last", "Ready", namespace="ordered")
    cluster.delete("namespace/ordered")
    cluster.advance(60)
    assert cluster.get("pod/last", namespace="ordered")["metadata"]["deletionTimestamp"]
    assert "deletionTimestamp" not in cluster.get("configmap/waits", namespace="ordered")["metadata"]
    said = {one["type"]: one for one in cluster.get("namespace/ordered")["status"]["conditions"]}
    assert said["NamespaceDeletionContentFailure"]["status"] == "False"
    assert "pods. has 1 resource instances" in said["NamespaceContentRemaining"]["message"]
    cluster.patch("pod/last", {"metadata": {"finalizers": None}}, namespace="ordered")
    cluster.wait("configmap/waits", lambda one: "deletionTimestamp" in one["metadata"], namespace="ordered")
    cluster.patch("configmap/waits", {"metadata": {"finalizers": None}}, namespace="ordered")
    cluster.wait("namespace/ordered", "deleted")
