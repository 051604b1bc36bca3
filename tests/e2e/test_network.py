"""Services of every kind between real pods on two nodes, asked by name and by address from inside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

MANIFEST = Path(__file__).with_name("network.yaml")
REFUSED = "Connection refused"


@pytest.fixture(scope="module")
def net(containers: Cluster) -> Iterator[Cluster]:
    containers.kubectl("create", "namespace", "network")
    cluster = replace(containers, namespace="network")
    cluster.kubectl("apply", "-f", str(MANIFEST))
    cluster.kubectl("rollout", "status", "daemonset/every", "--timeout=60s")
    cluster.kubectl("wait", "pod/alone", "pod/other-port", "--for=condition=Ready", "--timeout=40s")
    by_hand = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address(cluster, "alone")], "conditions": {"ready": True}}],
    }
    cluster.kubectl("apply", "-f", "-", text=json.dumps(by_hand))
    yield cluster
    cluster.kubectl("delete", "-f", str(MANIFEST), "--wait=false")


def address(cluster: Cluster, pod: str) -> str:
    return cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")


def inside(cluster: Cluster, script: str, pod: str = "other-port") -> list[str]:
    """What a script prints in a pod."""
    return cluster.kubectl("exec", pod, "--", "sh", "-c", script, may_fail=True).splitlines()


def ask(cluster: Cluster, *targets: str, pod: str = "other-port") -> list[str]:
    """What each target answers, one line for each."""
    return inside(cluster, "; ".join(f"echo $(timeout 3 wget -qO- http://{one}/ 2>&1)" for one in targets), pod)


def until_answer(cluster: Cluster, target: str, wanted: str) -> None:
    """Ask until the answer is the wanted one: rules follow their Service within a moment."""
    script = (
        f"for i in $(seq 50); do timeout 1 wget -qO- http://{target}/ 2>&1 | grep -q '{wanted}' && echo yes && exit"
    )
    assert inside(cluster, script + "; sleep 0.2; done") == ["yes"], f"{target} does not answer {wanted!r}"


def test_every_way_to_a_service_leads_there(net: Cluster) -> None:
    nodes = net.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.addresses[0].address}").split()
    every = set(net.kubectl("get", "pods", "-l", "app=every", "-o", "jsonpath={.items[*].metadata.name}").split())
    assert len(every) == len(nodes) == 2
    assert set(ask(net, *["every"] * 16)) == every
    assert set(ask(net, "10.77.0.1", *(f"{node}:30980" for node in nodes))) <= every
    until_answer(net, "by-hand", "own-name")
    assert ask(net, "headless:8080", "own-name.headless:8080", "alias", "early", address(net, "alone") + ":8080") == [
        "own-name",
        "own-name",
        "own-name",
        "unready",
        "own-name",
    ]
    assert set(ask(net, *["named"] * 16)) == {"own-name", "other-port"}
    assert len(set(ask(net, *["sticky"] * 8))) == 1
    assert REFUSED in ask(net, "nobody")[0]
    # By way of the Service and the host port back to itself.
    host = net.kubectl("get", "pod", "alone", "-o", "jsonpath={.status.hostIP}")
    assert ask(net, "changing", f"{host}:18080", pod="alone") == ["own-name", "own-name"]


def test_local_traffic_stays_on_the_node_and_says_so(net: Cluster) -> None:
    host = net.kubectl("get", "pod", "alone", "-o", "jsonpath={.status.hostIP}")
    nodes = net.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.addresses[0].address}").split()
    (other,) = [node for node in nodes if node != host]
    assert ask(net, f"{host}:30981") == ["own-name"]
    healthy, unhealthy = ask(net, f"{host}:31988", f"{other}:31988")
    assert json.loads(healthy)["localEndpoints"] == 1
    assert "503" in unhealthy


def test_a_service_may_change_its_type_and_port(net: Cluster) -> None:
    net.kubectl("patch", "service", "changing", "-p", '{"spec": {"type": "NodePort"}}')
    port = net.kubectl("get", "service", "changing", "-o", "jsonpath={.spec.ports[0].nodePort}")
    node = net.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}")
    until_answer(net, f"{node}:{port}", "own-name")
    ports = '[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]'
    net.kubectl("patch", "service", "changing", "--type=json", "-p", ports)
    until_answer(net, "changing:81", "own-name")
    net.kubectl("patch", "service", "changing", "-p", '{"spec": {"type": "ExternalName", "externalName": "every"}}')
    net.kubectl("patch", "service", "changing", "-p", '{"spec": {"type": "ClusterIP", "externalName": null}}')
    until_answer(net, "changing:81", "own-name")


def test_names_are_answered_by_the_specification(net: Cluster) -> None:
    ip = address(net, "alone")
    domain = "network.svc.cluster.local"
    dashed = ip.replace(".", "-")
    found = "\n".join(
        inside(
            net,
            f"for n in every.{domain} own-name.headless.{domain} {dashed}.network.pod.cluster.local alias.{domain};"
            f"do nslookup -type=a $n; done; nslookup -type=srv _http._tcp.headless.{domain}; nslookup {ip};"
            f"nslookup -type=aaaa every.{domain}; nslookup -type=a none.{domain}",
        )
    )
    cluster_ip = net.kubectl("get", "service", "every", "-o", "jsonpath={.spec.clusterIP}")
    assert f"Name:\tevery.{domain}\nAddress: {cluster_ip}" in found
    assert f"Name:\town-name.headless.{domain}\nAddress: {ip}" in found
    assert f"Name:\t{dashed}.network.pod.cluster.local\nAddress: {ip}" in found
    assert f"alias.{domain}\tcanonical name = changing.{domain}" in found
    assert f"_http._tcp.headless.{domain}\tservice = 0 100 8080 own-name.headless.{domain}" in found
    assert f"name = own-name.headless.{domain}" in found
    # The name that is there has no address of the other family; the one that is not, is not.
    assert found.count("NXDOMAIN") == 1
    assert f"can't find none.{domain}: NXDOMAIN" in found
