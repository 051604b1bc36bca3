"""What the conformance suite demands of pods, and of what they are given, where no container needs to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=2, heartbeat_seconds=300) as running:
        yield running


def pod(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    given = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "one"}]} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": given}


def names(cluster: Cluster, selector: str) -> list[str]:
    return [one["metadata"]["name"] for one in cluster.list("pods", label_selector=selector)]


def test_a_pod_is_submitted_watched_and_removed(cluster: Cluster) -> None:
    made = cluster.request("POST", PODS, body=pod("submitted", {"time": "1"}))
    assert names(cluster, "time=1") == ["submitted"]
    running = cluster.wait("pod/submitted", "Ready")
    assert running["status"]["hostIP"] in [one["ip"] for one in running["status"]["hostIPs"]]
    cluster.delete("pod/submitted")
    cluster.wait("pod/submitted", "deleted")
    assert names(cluster, "time=1") == []
    told = cluster.changes("pods", made["metadata"]["resourceVersion"], label_selector="time=1")
    assert told[-1]["type"] == "DELETED"
    marked = [one for one in told if "deletionTimestamp" in one["object"]["metadata"]]
    assert marked[0]["type"] == "MODIFIED"
    assert marked[0]["object"]["metadata"]["deletionGracePeriodSeconds"] == 1


def test_a_pod_is_found_by_the_label_it_was_given_later(cluster: Cluster) -> None:
    made = cluster.request("POST", PODS, body=pod("updated", {"time": "before"}))
    assert names(cluster, "time=before") == ["updated"]
    latest = cluster.wait("pod/updated", "Ready")
    latest["metadata"]["labels"]["time"] = "after"
    cluster.request("PUT", f"{PODS}/updated", body=latest)
    assert (names(cluster, "time=before"), names(cluster, "time=after")) == ([], ["updated"])
    assert cluster.get("pod/updated")["metadata"]["uid"] == made["metadata"]["uid"]


def test_a_collection_of_running_pods_is_deleted(cluster: Cluster) -> None:
    for number in range(3):
        cluster.apply(pod(f"many-{number}", {"type": "many"}))
        cluster.wait(f"pod/many-{number}", "Ready")
    assert len(names(cluster, "type=many")) == 3
    cluster.request("DELETE", PODS, query="labelSelector=type%3Dmany&gracePeriodSeconds=1")
    cluster.advance(30)
    assert names(cluster, "type=many") == []


def test_the_status_of_a_running_pod_is_patched_and_replaced(cluster: Cluster) -> None:
    cluster.apply(pod("spoken-of", {"life": "status"}))
    running = cluster.wait("pod/spoken-of", "Ready")
    patched = cluster.patch("pod/spoken-of", {"status": {"message": "patched", "reason": "E2E"}}, subresource="status")
    assert (patched["status"]["message"], patched["status"]["reason"]) == ("patched", "E2E")
    assert patched["status"]["podIP"] == running["status"]["podIP"]
    cluster.patch("pod/spoken-of", {"metadata": {"labels": {"life": "patched"}}})
    latest = cluster.request("GET", f"{PODS}/spoken-of/status")
    ready = next(one for one in latest["status"]["conditions"] if one["type"] == "Ready")
    ready |= {"reason": "Replaced", "message": "by hand"}
    replaced = cluster.request("PUT", f"{PODS}/spoken-of/status", body=latest)
    assert ready in replaced["status"]["conditions"]
    assert replaced["metadata"]["labels"]["life"] == "patched"
    cluster.delete("pod/spoken-of")
    cluster.wait("pod/spoken-of", "deleted")


def test_requests_that_equal_limits_are_guaranteed(cluster: Cluster) -> None:
    amounts = {"cpu": "100m", "memory": "100Mi"}
    container = {"name": "c", "image": "one", "resources": {"requests": amounts, "limits": amounts}}
    cluster.apply(pod("guaranteed", containers=[container]))
    assert cluster.get("pod/guaranteed")["status"]["qosClass"] == "Guaranteed"


def generations(tree: dict[str, Any]) -> tuple[int, int]:
    return tree["metadata"]["generation"], tree["status"].get("observedGeneration", 0)


def observed(number: int) -> Any:
    return lambda tree: generations(tree) == (number, number)


def test_a_generation_begins_at_one_and_counts_changes_of_the_spec(cluster: Cluster) -> None:
    cluster.request("POST", PODS, body=pod("counted", activeDeadlineSeconds=500))
    assert cluster.get("pod/counted")["metadata"]["generation"] == 1
    cluster.wait("pod/counted", observed(1))
    # An empty change, a label and a status are no change of the spec.
    cluster.patch("pod/counted", {"spec": {"activeDeadlineSeconds": 500}})
    cluster.patch("pod/counted", {"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}})
    cluster.patch("pod/counted", {"status": {"message": "m"}}, subresource="status")
    assert cluster.get("pod/counted")["metadata"]["generation"] == 1
    containers = cluster.get("pod/counted")["spec"]["containers"]
    cluster.patch("pod/counted", {"spec": {"containers": [containers[0] | {"image": "two"}]}})
    cluster.wait("pod/counted", observed(2))
    toleration = {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}
    tolerations = cluster.get("pod/counted")["spec"]["tolerations"]
    cluster.patch("pod/counted", {"spec": {"tolerations": [*tolerations, toleration]}})
    cluster.wait("pod/counted", observed(3))
    cluster.patch("pod/counted", {"spec": {"activeDeadlineSeconds": 400}})
    cluster.wait("pod/counted", observed(4))


def test_five_hundred_changes_are_counted_and_seen(cluster: Cluster) -> None:
    cluster.request("POST", PODS, body=pod("often"))
    for seconds in range(20_000, 19_501, -1):
        cluster.patch("pod/often", {"spec": {"activeDeadlineSeconds": seconds}})
    cluster.wait("pod/often", observed(500))


def test_a_generation_is_not_the_clients_to_set_and_deletion_counts(cluster: Cluster) -> None:
    tree = pod("graceful", terminationGracePeriodSeconds=30)
    tree["metadata"] |= {"generation": 100, "finalizers": ["example.com/holds"]}
    assert cluster.request("POST", PODS, body=tree)["metadata"]["generation"] == 1
    cluster.wait("pod/graceful", "Ready")
    assert cluster.get("pod/graceful")["metadata"]["generation"] == 1
    cluster.delete("pod/graceful")
    assert cluster.get("pod/graceful")["metadata"]["generation"] == 2
    cluster.wait("pod/graceful", observed(2))
    cluster.patch("pod/graceful", {"metadata": {"finalizers": None}})
    cluster.wait("pod/graceful", "deleted")


def test_ephemeral_containers_are_added_to_a_pod_that_exists(cluster: Cluster) -> None:
    cluster.apply(pod("looked-into"))
    cluster.wait("pod/looked-into", "Ready")
    first, second = ({"name": name, "image": "one", "command": ["look"]} for name in ("first", "second"))
    path = f"{PODS}/looked-into/ephemeralcontainers"
    change = {"spec": {"ephemeralContainers": [first]}}
    patched = cluster.patch("pod/looked-into", change, subresource="ephemeralcontainers")
    assert [one["name"] for one in patched["spec"]["ephemeralContainers"]] == ["first"]
    latest = cluster.request("GET", path)
    latest["spec"]["ephemeralContainers"].append(second)
    updated = cluster.request("PUT", path, body=latest)
    assert [one["name"] for one in updated["spec"]["ephemeralContainers"]] == ["first", "second"]
    latest = cluster.request("GET", path)
    latest["spec"]["ephemeralContainers"].pop()
    with pytest.raises(errors.Invalid):
        cluster.request("PUT", path, body=latest)


def test_sysctls_have_names(cluster: Cluster) -> None:
    wrong = ["foo-", "bar..", "kernel.shmmax;reboot"]
    sysctls = [{"name": name, "value": "1"} for name in [*wrong, "kernel.shmmax"]]
    with pytest.raises(errors.Invalid) as refused:
        cluster.apply(pod("misnamed", securityContext={"sysctls": sysctls}))
    details = refused.value.status.details
    assert details is not None
    found = [one.field for one in details.causes]
    assert found == [f"spec.securityContext.sysctls[{number}].name" for number in range(3)]


def runtime_class(name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, **fields}


def test_a_pod_of_a_runtime_class_that_is_not_there_is_refused(cluster: Cluster) -> None:
    with pytest.raises(errors.Forbidden, match='RuntimeClass "never" not found'):
        cluster.apply(pod("classless", runtimeClassName="never"))
    cluster.apply(runtime_class("once", handler="runc"))
    cluster.apply(pod("in-time", runtimeClassName="once"))
    cluster.delete("runtimeclass/once")
    with pytest.raises(errors.Forbidden, match='RuntimeClass "once" not found'):
        cluster.apply(pod("too-late", runtimeClassName="once"))


def test_a_pod_of_a_runtime_class_is_scheduled_with_its_overhead(cluster: Cluster) -> None:
    overhead = {"cpu": "10m", "memory": "1Mi"}
    cluster.apply(runtime_class("plain", handler="runc"))
    cluster.apply(runtime_class("heavy", handler="runc", overhead={"podFixed": overhead}))
    for name in ("plain", "heavy"):
        cluster.apply(pod(f"of-{name}", runtimeClassName=name))
        scheduled = cluster.wait(f"pod/of-{name}", "PodScheduled")
        assert scheduled["spec"].get("overhead") == (overhead if name == "heavy" else None)
        assert scheduled["spec"]["nodeName"]


def test_config_maps_and_secrets_have_no_empty_keys(cluster: Cluster) -> None:
    for kind, field in (("ConfigMap", "data"), ("Secret", "stringData")):
        tree = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "keyless"}, field: {"": "value"}}
        with pytest.raises(errors.Invalid, match="a valid config key must consist of"):
            cluster.apply(tree)


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_what_is_immutable_changes_only_its_metadata_and_may_go(cluster: Cluster, kind: str) -> None:
    field, value = ("data", "two") if kind == "ConfigMap" else ("data", "dHdv")
    target = f"{kind.lower()}/fixed"
    path = f"/api/v1/namespaces/default/{kind.lower()}s/fixed"
    cluster.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": "fixed"}, field: {"key": "b25l"}})
    assert cluster.patch(target, {field: {"key": value}})["data"] == {"key": value}
    assert cluster.patch(target, {"immutable": True})["immutable"] is True
    for change in ({field: {"key": "dGhyZWU="}}, {"immutable": False}, {"immutable": None}):
        with pytest.raises(errors.Invalid, match="field is immutable when `immutable` is set"):
            cluster.patch(target, change)
    latest = cluster.get(target)
    latest["metadata"]["labels"] = {"may": "change"}
    assert cluster.request("PUT", path, body=latest)["metadata"]["labels"] == {"may": "change"}
    assert cluster.get(target)["data"] == {"key": value}
    cluster.delete(target)
    with pytest.raises(errors.NotFound):
        cluster.get(target)


def test_a_config_map_is_updated(cluster: Cluster) -> None:
    tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"data": "value"}}
    made = cluster.request("POST", "/api/v1/namespaces/default/configmaps", body=tree)
    made["data"] = {"data": "value-2", "more": "3"}
    cluster.request("PUT", "/api/v1/namespaces/default/configmaps/plain", body=made)
    assert cluster.get("configmap/plain")["data"] == {"data": "value-2", "more": "3"}


def test_a_secret_is_patched_and_deleted_by_its_label(cluster: Cluster) -> None:
    labels = {"testsecret-constant": "true"}
    tree = {"metadata": {"name": "patched", "labels": labels}, "type": "Opaque", "data": {"key": "dmFsdWU="}}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", **tree})
    selector = "testsecret-constant=true"
    assert [one["metadata"]["name"] for one in cluster.list("secrets", namespace="", label_selector=selector)] == [
        "patched"
    ]
    change = {"metadata": {"labels": {"testsecret": "true"}}, "data": {"key": "dmFsdWUx"}}
    cluster.patch("secret/patched", change)
    (found,) = cluster.list("secrets", namespace="", label_selector="testsecret=true")
    assert (found["data"], found["type"]) == ({"key": "dmFsdWUx"}, "Opaque")
    cluster.request("DELETE", "/api/v1/namespaces/default/secrets", query="labelSelector=testsecret%3Dtrue")
    assert cluster.list("secrets", namespace="", label_selector=selector) == []


def test_a_pod_template_is_replaced(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/default/podtemplates"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    made = cluster.request("POST", path, body={"metadata": {"name": "drawn"}, "template": template})
    made["metadata"]["annotations"] = {"updated": "true"}
    replaced = cluster.request("PUT", f"{path}/drawn", body=made)
    assert replaced["metadata"]["annotations"]["updated"] == "true"
    assert cluster.get("podtemplate/drawn")["metadata"]["annotations"]["updated"] == "true"


def test_a_pod_may_name_a_driver_for_a_volume_inline(cluster: Cluster) -> None:
    source = {"driver": "inline.example.com", "volumeAttributes": {"size": "1Gi"}, "readOnly": True}
    tree = pod("inline", {"csi": "inline"}, volumes=[{"name": "v", "csi": source}])
    tree["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    cluster.request("POST", PODS, body=tree)
    assert cluster.get("pod/inline")["spec"]["volumes"][0] == {"name": "v", "csi": source}
    assert names(cluster, "csi=inline") == ["inline"]
    patched = cluster.patch("pod/inline", {"metadata": {"labels": {"csi": "patched"}}})
    assert patched["spec"]["volumes"][0]["csi"] == source
    assert names(cluster, "csi=patched") == ["inline"]
    cluster.delete("pod/inline")
    cluster.wait("pod/inline", "deleted")


def tainted(cluster: Cluster, node: str, *, is_tainted: bool) -> None:
    taints = [{"key": "evict", "value": "me", "effect": "NoExecute"}] if is_tainted else None
    cluster.patch(f"node/{node}", {"spec": {"taints": taints}})


def tolerant(name: str, node: str, seconds: int) -> dict[str, Any]:
    toleration = {"key": "evict", "value": "me", "effect": "NoExecute", "tolerationSeconds": seconds}
    selector = {"kubernetes.io/hostname": node}
    return pod(name, {"taint": "eviction"}, tolerations=[toleration], nodeSelector=selector)


def test_pods_leave_a_tainted_node_each_when_its_time_is_over(cluster: Cluster) -> None:
    node = cluster.list("nodes")[0]["metadata"]["name"]
    for name, seconds in (("soon", 5), ("later", 30)):
        cluster.apply(tolerant(name, node, seconds))
        cluster.wait(f"pod/{name}", "Ready")
    tainted(cluster, node, is_tainted=True)
    cluster.advance(4)
    assert sorted(names(cluster, "taint=eviction")) == ["later", "soon"]
    cluster.advance(10)
    assert names(cluster, "taint=eviction") == ["later"]
    cluster.advance(15)
    assert names(cluster, "taint=eviction") == ["later"]
    cluster.advance(10)
    assert names(cluster, "taint=eviction") == []
    tainted(cluster, node, is_tainted=False)


def test_a_taint_that_is_taken_away_in_time_evicts_nobody(cluster: Cluster) -> None:
    node = cluster.list("nodes")[0]["metadata"]["name"]
    cluster.apply(tolerant("stays", node, 60))
    cluster.wait("pod/stays", "Ready")
    tainted(cluster, node, is_tainted=True)
    cluster.advance(40)
    assert names(cluster, "taint=eviction") == ["stays"]
    tainted(cluster, node, is_tainted=False)
    cluster.advance(300)
    stays = cluster.get("pod/stays")
    assert stays["status"]["phase"] == "Running"
    assert "deletionTimestamp" not in stays["metadata"]
