"""What the conformance suite demands of Services, Endpoints and EndpointSlices, as far as the API shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster

NAMED = "kubernetes.io/service-name"
MANAGED = "endpointslice.kubernetes.io/managed-by"
Backends = set[tuple[str, int]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=2, heartbeat_seconds=300) as running:
        yield running


def service(cluster: Cluster, name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Service of the pods that are labelled with its name."""
    given = {"selector": {"app": name}, "ports": list(ports) or [{"port": 80}], **spec}
    (made,) = cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": given})
    return made


def pod(cluster: Cluster, app: str, name: str, **ports: int) -> str:
    """A pod that is ready, with these named ports; its address."""
    listed = [{"name": port.replace("_", "-"), "containerPort": number} for port, number in ports.items()]
    spec = {"containers": [{"name": "c", "image": "one", "ports": listed}]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}}, "spec": spec})
    cluster.wait(f"pod/{name}", "Ready")
    cluster.advance(5)
    address: str = cluster.get(f"pod/{name}")["status"]["podIP"]
    return address


def end(cluster: Cluster, name: str) -> None:
    cluster.delete(f"pod/{name}")
    cluster.wait(f"pod/{name}", "deleted")
    cluster.advance(5)


def slices(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    return cluster.list("endpointslices", label_selector=f"{NAMED}={name}")


def in_slices(cluster: Cluster, name: str) -> Backends:
    """Addresses and ports of all slices of a Service."""
    return {
        (address, port["port"])
        for one in slices(cluster, name)
        for endpoint in one["endpoints"] or []
        for address in endpoint["addresses"]
        for port in one["ports"] or []
    }


def in_endpoints(cluster: Cluster, name: str) -> Backends:
    """Addresses and ports of the Endpoints of a Service."""
    return {
        (address["ip"], port["port"])
        for subset in cluster.get(f"endpoints/{name}").get("subsets", [])
        for address in subset.get("addresses", [])
        for port in subset["ports"]
    }


def test_the_api_server_has_a_service_and_its_endpoints(cluster: Cluster) -> None:
    made = cluster.get("service/kubernetes")["spec"]
    assert [(one["name"], one["port"], one["protocol"]) for one in made["ports"]] == [("https", 443, "TCP")]
    assert made["clusterIP"]
    everywhere = cluster.list("services", namespace="")
    assert ("default", "kubernetes") in {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in everywhere}
    assert in_endpoints(cluster, "kubernetes") == in_slices(cluster, "kubernetes") == {("10.89.0.1", 6443)}


def test_a_service_without_pods_has_endpoints_that_are_empty(cluster: Cluster) -> None:
    service(cluster, "nobody")
    cluster.advance(5)
    assert in_endpoints(cluster, "nobody") == in_slices(cluster, "nobody") == set()
    (found,) = slices(cluster, "nobody")
    assert found["metadata"]["labels"][MANAGED] == "endpointslice-controller.k8s.io"
    cluster.delete("service/nobody")
    cluster.advance(30)
    assert slices(cluster, "nobody") == []
    with pytest.raises(errors.NotFound):
        cluster.get("endpoints/nobody")


def test_pods_are_found_by_the_names_and_numbers_of_their_ports(cluster: Cluster) -> None:
    first = pod(cluster, "matched", "matched-1", web=3000)
    second = pod(cluster, "matched", "matched-2", web=3001, other=3002)
    service(cluster, "matched", {"name": "web", "port": 80, "targetPort": "web"})
    service(
        cluster,
        "numbered",
        {"name": "a", "port": 80, "targetPort": "web"},
        {"name": "b", "port": 81, "targetPort": 3002},
        selector={"app": "matched"},
    )
    cluster.advance(5)
    by_name = {(first, 3000), (second, 3001)}
    assert in_slices(cluster, "matched") == in_endpoints(cluster, "matched") == by_name
    assert len(slices(cluster, "matched")) == 2
    both = by_name | {(first, 3002), (second, 3002)}
    assert in_slices(cluster, "numbered") == in_endpoints(cluster, "numbered") == both
    for one in slices(cluster, "matched"):
        (endpoint,) = one["endpoints"]
        target = cluster.get(f"pod/{endpoint['targetRef']['name']}")
        assert endpoint["targetRef"]["uid"] == target["metadata"]["uid"]
        assert endpoint["nodeName"] == target["spec"]["nodeName"]
        assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    for name in ("matched", "numbered"):
        cluster.delete(f"service/{name}")
    cluster.advance(30)
    assert slices(cluster, "matched") == slices(cluster, "numbered") == []


def test_endpoints_follow_pods_that_come_and_go(cluster: Cluster) -> None:
    service(cluster, "basic", {"port": 80, "targetPort": 80})
    cluster.advance(5)
    assert in_slices(cluster, "basic") == in_endpoints(cluster, "basic") == set()
    first = pod(cluster, "basic", "basic-1", web=80)
    assert in_slices(cluster, "basic") == in_endpoints(cluster, "basic") == {(first, 80)}
    second = pod(cluster, "basic", "basic-2", web=80)
    assert in_slices(cluster, "basic") == in_endpoints(cluster, "basic") == {(first, 80), (second, 80)}
    end(cluster, "basic-1")
    assert in_slices(cluster, "basic") == in_endpoints(cluster, "basic") == {(second, 80)}
    end(cluster, "basic-2")
    assert in_slices(cluster, "basic") == in_endpoints(cluster, "basic") == set()


def test_each_port_has_the_pods_that_have_it(cluster: Cluster) -> None:
    ports = [{"name": f"port-{number}", "port": 80 + number, "targetPort": f"port-{number}"} for number in range(2)]
    service(cluster, "several", *ports)
    cluster.advance(5)
    assert in_slices(cluster, "several") == in_endpoints(cluster, "several") == set()
    first = pod(cluster, "several", "several-1", port_0=100)
    assert in_slices(cluster, "several") == in_endpoints(cluster, "several") == {(first, 100)}
    second = pod(cluster, "several", "several-2", port_1=101)
    assert in_slices(cluster, "several") == in_endpoints(cluster, "several") == {(first, 100), (second, 101)}
    end(cluster, "several-1")
    assert in_slices(cluster, "several") == in_endpoints(cluster, "several") == {(second, 101)}
    end(cluster, "several-2")
    assert in_slices(cluster, "several") == in_endpoints(cluster, "several") == set()


def test_endpoints_of_ones_own_are_mirrored(cluster: Cluster) -> None:
    (group,) = [one for one in cluster.request("GET", "/apis")["groups"] if one["name"] == "discovery.k8s.io"]
    assert "v1" in {one["version"] for one in group["versions"]}
    resources = cluster.request("GET", "/apis/discovery.k8s.io/v1")["resources"]
    assert "endpointslices" in {one["name"] for one in resources}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "custom"}}
    cluster.apply(made | {"spec": {"ports": [{"name": "example", "port": 80}]}})
    subset = {"ports": [{"name": "example", "port": 80}], "addresses": [{"ip": "10.1.2.3"}]}
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "custom"}, "subsets": [subset]}
    cluster.apply(endpoints)
    cluster.advance(5)
    (found,) = slices(cluster, "custom")
    assert found["metadata"]["labels"][MANAGED] == "endpointslicemirroring-controller.k8s.io"
    assert in_slices(cluster, "custom") == {("10.1.2.3", 80)}
    cluster.patch("endpoints/custom", {"subsets": [subset | {"addresses": [{"ip": "10.2.3.4"}]}]})
    cluster.advance(5)
    assert in_slices(cluster, "custom") == {("10.2.3.4", 80)}
    cluster.delete("endpoints/custom")
    cluster.advance(5)
    assert slices(cluster, "custom") == []


def change(cluster: Cluster, name: str, **spec: Any) -> dict[str, Any]:
    changed: dict[str, Any] = cluster.patch(f"service/{name}", {"spec": spec})["spec"]
    return changed


PORT = {"name": "http", "port": 80, "protocol": "TCP"}


@pytest.mark.parametrize("service_type", ["ClusterIP", "NodePort"])
def test_an_external_name_becomes_a_service_with_an_address_and_back(cluster: Cluster, service_type: str) -> None:
    name = f"changes-{service_type.lower()}"
    external = {"type": "ExternalName", "externalName": "foo.example.com"}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": external}
    (before,) = cluster.apply(made)
    assert "clusterIP" not in before["spec"]
    spec = change(cluster, name, type=service_type, externalName=None, ports=[PORT])
    assert spec["clusterIP"].count(".") == 3
    assert "externalName" not in spec
    assert bool(spec["ports"][0].get("nodePort")) == (service_type == "NodePort")
    address, port = spec["clusterIP"], spec["ports"][0].get("nodePort")
    again = change(cluster, name, **external, clusterIP=None, clusterIPs=None, ports=None)
    assert "clusterIP" not in again
    assert again["externalName"] == "foo.example.com"
    # What it had is free again.
    wanted = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-next"}}
    ports = [PORT | ({"nodePort": port} if port else {})]
    (taken,) = cluster.apply(wanted | {"spec": {"type": service_type, "clusterIP": address, "ports": ports}})
    assert taken["spec"]["clusterIP"] == address


def test_a_services_endpoints_do_not_keep_one_waiting(cluster: Cluster) -> None:
    address = pod(cluster, "quick", "quick", web=80)
    waited = []
    for number in range(100):
        began = cluster.now
        service(cluster, f"quick-{number}", selector={"app": "quick"})
        cluster.wait(f"endpoints/quick-{number}", lambda one: bool(one.get("subsets")))
        waited.append((cluster.now - began).total_seconds())
    assert in_endpoints(cluster, "quick-99") == {(address, 80)}
    # Of the cluster's own time: what controllers wait for. What they compute costs milliseconds.
    assert sorted(waited)[49] < 2
    assert max(waited) < 5
