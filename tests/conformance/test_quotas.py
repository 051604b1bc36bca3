"""What the conformance suite demands of ResourceQuotas and LimitRanges: what counts, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with Cluster(nodes=2, heartbeat_seconds=300) as cluster:
        yield cluster


class Space:
    """A namespace of a test's own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.wait("serviceaccount/default", "exists", namespace=name)
        cluster.wait("configmap/kube-root-ca.crt", "exists", namespace=name)

    def quota(self, hard: dict[str, str], name: str = "q", scopes: tuple[str, ...] = ()) -> None:
        """A quota, once what there is has been counted."""
        spec = {"hard": hard, "scopes": list(scopes)}
        made = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec}
        self.cluster.apply(made, namespace=self.name)
        self.cluster.wait(f"quota/{name}", lambda one: one["status"].get("hard") == spec["hard"], namespace=self.name)

    def used(self, name: str = "q") -> dict[str, str]:
        """What the quota says is used, once everything has been counted."""
        self.cluster.advance(10)
        found: dict[str, str] = self.cluster.get(f"quota/{name}", namespace=self.name)["status"]["used"]
        return found

    def create(self, kind: str, name: str, api_version: str = "v1", **fields: Any) -> dict[str, Any]:
        tree = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}
        (made,) = self.cluster.apply(tree, namespace=self.name)
        return made

    def pod(self, name: str, resources: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        container = {"name": "c", "image": "one", "resources": resources or {}}
        return self.create("Pod", name, spec={"containers": [container], **spec})

    def delete(self, target: str) -> None:
        self.cluster.delete(target, namespace=self.name)
        self.cluster.wait(target, "deleted", namespace=self.name)


@pytest.fixture
def space(running: Cluster, request: pytest.FixtureRequest) -> Space:
    return Space(running, request.node.name.removeprefix("test_").partition("[")[0].replace("_", "-")[:60].rstrip("-"))


def template(app: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}


def test_a_quota_is_counted_at_once(space: Space) -> None:
    space.quota({"pods": "5", "services": "10", "resourcequotas": "1", "configmaps": "3"})
    assert space.used() == {"pods": "0", "services": "0", "resourcequotas": "1", "configmaps": "1"}


@pytest.mark.parametrize(
    ("kind", "api_version", "key", "fields"),
    [
        ("ConfigMap", "v1", "configmaps", {"data": {"a": "b"}}),
        ("Secret", "v1", "secrets", {"stringData": {"a": "b"}}),
        (
            "ReplicationController",
            "v1",
            "replicationcontrollers",
            {"spec": {"replicas": 0, "selector": {"app": "x"}, "template": template("x")}},
        ),
        (
            "ReplicaSet",
            "apps/v1",
            "count/replicasets.apps",
            {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template("x")}},
        ),
    ],
)
def test_each_kind_counts_while_it_is_there(
    running: Cluster, kind: str, api_version: str, key: str, fields: dict[str, Any]
) -> None:
    space = Space(running, f"counts-{kind.lower()}")
    space.quota({key: "2"})
    before = int(space.used()[key])
    space.create(kind, "one", api_version, **fields)
    assert int(space.used()[key]) == before + 1
    if before == 0:
        space.create(kind, "two", api_version, **fields)
    with pytest.raises(errors.Forbidden, match="exceeded quota: q"):
        space.create(kind, "three", api_version, **fields)
    space.delete(f"{kind.lower()}/one")
    assert int(space.used()[key]) == 1


def test_services_count_by_their_type(space: Space) -> None:
    space.quota({"services": "10", "services.nodeports": "1", "services.loadbalancers": "1"})

    def service(name: str, of: str, **spec: Any) -> None:
        space.create("Service", name, spec={"type": of, "ports": [{"port": 80}], **spec})

    service("plain", "ClusterIP")
    service("port", "NodePort")
    assert space.used() == {"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"}
    with pytest.raises(errors.Forbidden, match=r"services\.nodeports=1, used: services\.nodeports=1"):
        service("balancer", "LoadBalancer")
    service("balancer", "LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert space.used() == {"services": "3", "services.nodeports": "1", "services.loadbalancers": "1"}
    for name in ("plain", "port", "balancer"):
        space.delete(f"service/{name}")
    assert space.used() == {"services": "0", "services.nodeports": "0", "services.loadbalancers": "0"}


def test_pods_count_with_what_they_request(space: Space) -> None:
    hard = {
        "pods": "5",
        "cpu": "1",
        "memory": "500Mi",
        "requests.ephemeral-storage": "50Gi",
        "requests.example.com/dongle": "3",
    }
    space.quota(hard)
    requests = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/dongle": "2"}
    space.pod("first", {"requests": requests, "limits": {"example.com/dongle": "2"}})
    used = {
        "pods": "1",
        "cpu": "500m",
        "memory": "252Mi",
        "requests.ephemeral-storage": "30Gi",
        "requests.example.com/dongle": "2",
    }
    assert space.used() == used
    with pytest.raises(errors.Forbidden, match="exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited"):
        space.pod("too-much", {"requests": {"cpu": "600m", "memory": "100Mi", "ephemeral-storage": "1Gi"}})
    dongles = {"example.com/dongle": "2"}
    with pytest.raises(errors.Forbidden, match=r"requests\.example\.com/dongle=2"):
        space.pod(
            "too-many",
            {"requests": {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Gi"} | dongles, "limits": dongles},
        )
    more = {"spec": {"containers": [{"name": "c", "image": "one", "resources": {"requests": {"cpu": "100m"}}}]}}
    with pytest.raises(errors.Invalid):
        space.cluster.patch("pod/first", more, namespace=space.name)
    assert space.used() == used
    space.delete("pod/first")
    assert space.used() == dict.fromkeys(used, "0")


def test_pods_count_by_whether_they_request_anything(space: Space) -> None:
    space.quota({"pods": "5"}, "best-effort", ("BestEffort",))
    space.quota({"pods": "5"}, "not-best-effort", ("NotBestEffort",))
    space.pod("modest")
    assert (space.used("best-effort"), space.used("not-best-effort")) == ({"pods": "1"}, {"pods": "0"})
    space.delete("pod/modest")
    assert space.used("best-effort") == {"pods": "0"}
    space.pod("demanding", {"requests": {"cpu": "100m"}, "limits": {"cpu": "100m"}})
    assert (space.used("best-effort"), space.used("not-best-effort")) == ({"pods": "0"}, {"pods": "1"})
    space.delete("pod/demanding")
    assert space.used("not-best-effort") == {"pods": "0"}


def test_pods_count_by_whether_they_have_a_deadline(space: Space) -> None:
    hard = {"pods": "5", "requests.cpu": "1", "limits.memory": "1Gi"}
    space.quota(hard, "terminating", ("Terminating",))
    space.quota(hard, "lasting", ("NotTerminating",))
    resources = {"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "400Mi"}}
    one = {"pods": "1", "requests.cpu": "500m", "limits.memory": "400Mi"}
    nothing = dict.fromkeys(one, "0")
    space.pod("stays", resources)
    assert (space.used("terminating"), space.used("lasting")) == (nothing, one)
    space.delete("pod/stays")
    assert space.used("lasting") == nothing
    space.pod("ends", resources, activeDeadlineSeconds=3600)
    assert (space.used("terminating"), space.used("lasting")) == (one, nothing)
    space.delete("pod/ends")
    assert space.used("terminating") == nothing


def test_a_quota_is_updated_patched_and_deleted(space: Space) -> None:
    space.quota({"cpu": "1", "memory": "500Mi"})
    tree = space.cluster.get("quota/q", namespace=space.name)
    path = f"/api/v1/namespaces/{space.name}/resourcequotas"
    space.cluster.request("PUT", f"{path}/q", body=tree | {"spec": {"hard": {"cpu": "2", "memory": "1Gi"}}})
    assert space.cluster.get("quota/q", namespace=space.name)["spec"]["hard"] == {"cpu": "2", "memory": "1Gi"}
    change = {"metadata": {"labels": {"of": "test"}}, "spec": {"hard": {"memory": "750Mi"}}}
    space.cluster.patch("quota/q", change, namespace=space.name)
    (found,) = space.cluster.list("quota", namespace="", label_selector="of=test")
    assert found["spec"]["hard"] == {"cpu": "2", "memory": "750Mi"}
    space.quota({"pods": "1"}, "other")
    space.cluster.request("DELETE", path, query="labelSelector=of%3Dtest")
    assert [one["metadata"]["name"] for one in space.cluster.list("quota", namespace=space.name)] == ["other"]
    space.delete("quota/other")
    with pytest.raises(errors.NotFound):
        space.cluster.get("quota/other", namespace=space.name)


def test_its_status_is_written_apart_from_its_limits(space: Space) -> None:
    space.quota({"cpu": "500m", "memory": "500Mi"})
    path = f"/api/v1/namespaces/{space.name}/resourcequotas/q/status"
    tree = space.cluster.get("quota/q", namespace=space.name)
    written = space.cluster.request("PUT", path, body=tree | {"status": {"hard": {"cpu": "1", "memory": "1Gi"}}})
    assert written["status"]["hard"] == {"cpu": "1", "memory": "1Gi"}
    space.cluster.advance(10)
    reconciled = space.cluster.request("GET", path)
    assert reconciled["status"]["hard"] == reconciled["spec"]["hard"] == {"cpu": "500m", "memory": "500Mi"}
    space.cluster.patch("quota/q", {"spec": {"hard": {"cpu": "1", "memory": "1Gi"}}}, namespace=space.name)
    wanted = {"cpu": "1", "memory": "1Gi"}
    space.cluster.wait("quota/q", lambda one: one["status"]["hard"] == wanted, namespace=space.name)
    other = {"spec": {"hard": {"cpu": "9"}}, "status": {"hard": {"cpu": "2", "memory": "2Gi"}}}
    patched = space.cluster.patch("quota/q", other, namespace=space.name, subresource="status")
    assert patched["status"]["hard"] == {"cpu": "2", "memory": "2Gi"}
    assert patched["spec"]["hard"] == wanted
    space.cluster.wait("quota/q", lambda one: one["status"]["hard"] == wanted, namespace=space.name)


def test_a_range_gives_containers_their_resources_and_bounds_them(space: Space) -> None:
    limits = {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi"},
        "max": {"cpu": "500m", "memory": "500Mi"},
        "default": {"cpu": "500m", "memory": "500Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
    }
    space.create("LimitRange", "l", spec={"limits": [limits]})
    space.cluster.advance(1)

    def resources(pod: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = pod["spec"]["containers"][0]["resources"]
        return found

    filled = {"requests": limits["defaultRequest"], "limits": limits["default"]}
    assert resources(space.pod("bare")) == filled
    partly = resources(space.pod("partly", {"requests": {"cpu": "60m"}, "limits": {"memory": "300Mi"}}))
    assert partly == {
        "requests": {"cpu": "60m", "memory": "300Mi"},
        "limits": {"cpu": "500m", "memory": "300Mi"},
    }
    for wrong in ({"requests": {"cpu": "10m", "memory": "100Mi"}}, {"limits": {"cpu": "600m", "memory": "100Mi"}}):
        with pytest.raises(errors.Forbidden, match="usage per Container"):
            space.pod("wrong", wrong)
    space.cluster.patch("limitrange/l", {"spec": {"limits": [limits | {"min": {"cpu": "9m"}}]}}, namespace=space.name)
    space.cluster.advance(1)
    space.pod("small", {"requests": {"cpu": "10m", "memory": "100Mi"}})
    space.delete("limitrange/l")
    assert resources(space.pod("free")) == {}
