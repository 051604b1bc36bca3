"""Services of every kind between real pods on two nodes, asked by name and by address from inside."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keelback.network import namespaces
from keelback.network.namespaces import Namespaces
from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

MANIFEST = Path(__file__).with_name("network.yaml")
GUESTBOOK = Path(__file__).with_name("guestbook.yaml")
REFUSED = "Connection refused"


@pytest.fixture(scope="module")
def net(shared_containers: Cluster) -> Iterator[Cluster]:
    shared_containers.kubectl("create", "namespace", "network")
    cluster = replace(shared_containers, namespace="network")
    cluster.kubectl("apply", "-f", str(MANIFEST))
    cluster.kubectl("rollout", "status", "daemonset/every", "--timeout=60s")
    cluster.kubectl("wait", "pod/alone", "pod/other-port", "--for=condition=Ready", "--timeout=40s")
    endpoint_slice(cluster, "by-hand", "", 8080, address(cluster, "alone"))
    yield cluster
    cluster.kubectl("delete", "-f", str(MANIFEST), "--wait=false")


def address(cluster: Cluster, pod: str) -> str:
    return cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")


def endpoint_slice(cluster: Cluster, service: str, port_name: str, port: int, ip: str) -> None:
    """A slice of a Service that selects nothing."""
    labels = {"kubernetes.io/service-name": service}
    tree = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-{port_name or 'only'}", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}}],
    }
    cluster.kubectl("apply", "-f", "-", text=json.dumps(tree))


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


def node_addresses(cluster: Cluster) -> list[str]:
    return cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.addresses[0].address}").split()


def node_network(cluster: Cluster, node: str) -> Namespaces:
    return Namespaces.network(Path("/proc", str(cluster.record(node, "node.json")), "ns", "net"))


def pod_network(cluster: Cluster, pod: str) -> Namespaces:
    """The network of a pod: that of any process in its cgroup."""
    uid = cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
    for entry in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if f"/pod{uid}/" in entry.read_text():
                return Namespaces.network(entry.parent / "ns" / "net")
        except OSError:
            continue
    raise AssertionError(f"no process of pod {pod}")


@contextmanager
def echoing(network: Namespaces, port: int, text: bytes) -> Iterator[None]:
    """While it lasts, a port in a network answers with a text, over TCP and over UDP."""
    ended = threading.Event()
    over_tcp = namespaces.within(network, lambda: socket.create_server(("", port)))
    over_udp = namespaces.within(network, lambda: socket.socket(type=socket.SOCK_DGRAM))
    over_udp.bind(("", port))
    for one in (over_tcp, over_udp):
        one.settimeout(0.1)

    def serve(answer: Callable[[], None]) -> None:
        while not ended.is_set():
            try:
                answer()
            except TimeoutError:
                continue

    def accept() -> None:
        connection, _ = over_tcp.accept()
        connection.sendall(text)
        connection.close()

    def reply() -> None:
        _, sender = over_udp.recvfrom(100)
        over_udp.sendto(text, sender)

    threads = [threading.Thread(target=serve, args=(answer,)) for answer in (accept, reply)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        over_tcp.close()
        over_udp.close()


def over_tcp(network: Namespaces, ip: str, port: int) -> bytes | None:
    """What is answered from a network; nothing where nobody does."""
    try:
        connection = namespaces.within(network, lambda: socket.create_connection((ip, port), timeout=1))
    except OSError:
        return None
    with connection:
        return connection.recv(100)


def over_udp(network: Namespaces, ip: str, port: int) -> bytes | None:
    """The same over UDP."""
    with namespaces.within(network, lambda: socket.socket(type=socket.SOCK_DGRAM)) as asking:
        asking.settimeout(1)
        try:
            asking.connect((ip, port))
            asking.send(b"who")
            return asking.recv(100)
        except OSError:
            return None


def until(check: Callable[[], bool], what: str) -> None:
    """Try again until it holds: rules follow their Service within a moment."""
    for _ in range(50):
        if check():
            return
    raise AssertionError(what)


def test_pods_are_reached_from_pods_and_nodes_over_tcp_and_udp(net: Cluster) -> None:
    every = net.kubectl("get", "pods", "-l", "app=every", "-o", "jsonpath={.items[*].metadata.name}").split()
    addresses = {pod: address(net, pod) for pod in every}
    assert ask(net, *[f"{ip}:8080" for ip in addresses.values()]) == every
    askers = [pod_network(net, "other-port"), *(node_network(net, node) for node in ("node-0", "node-1"))]
    for pod, ip in addresses.items():
        with echoing(pod_network(net, pod), 8081, pod.encode()):
            for asker in askers:
                assert over_tcp(asker, ip, 8081) == over_udp(asker, ip, 8081) == pod.encode()


def test_one_port_number_serves_two_protocols(net: Cluster) -> None:
    ip = net.kubectl("get", "service", "both-protocols", "-o", "jsonpath={.spec.clusterIP}")
    asker = pod_network(net, "other-port")
    ways: dict[str, Callable[[Namespaces, str, int], bytes | None]] = {"tcp": over_tcp, "udp": over_udp}

    def answered() -> dict[str, bool]:
        return {name: way(asker, ip, 8888) == b"alone" for name, way in ways.items()}

    with echoing(pod_network(net, "alone"), 8888, b"alone"):
        until(lambda: answered() == {"tcp": True, "udp": True}, "both")
        for only in ways:
            ports = [{"name": only, "port": 8888, "protocol": only.upper()}]
            change = json.dumps([{"op": "replace", "path": "/spec/ports", "value": ports}])
            net.kubectl("patch", "service", "both-protocols", "--type=json", "-p", change)
            until(lambda only=only: answered() == {name: name == only for name in ways}, only)  # type: ignore[misc]


def test_slices_of_a_service_may_differ_in_addresses_and_in_ports(net: Cluster) -> None:
    endpoint_slice(net, "several-addresses", "a", 8080, address(net, "alone"))
    endpoint_slice(net, "several-addresses", "b", 9090, address(net, "other-port"))
    until_answer(net, "several-addresses", "own-name")
    until_answer(net, "several-addresses:81", "other-port")
    for name, port in (("a", 9090), ("b", 9091)):
        endpoint_slice(net, "several-ports", name, port, address(net, "other-port"))
    until_answer(net, "several-ports", "other-port")
    until_answer(net, "several-ports:81", "second")


@pytest.mark.parametrize("way", ["cluster IP", "node port"])
def test_affinity_may_be_switched_off_and_on(net: Cluster, way: str) -> None:
    service = {"cluster IP": "sticky", "node port": "every"}[way]
    target = {"cluster IP": "sticky", "node port": f"{node_addresses(net)[0]}:30980"}[way]

    def backends_with(affinity: str, count: int) -> None:
        net.kubectl("patch", "service", service, "-p", json.dumps({"spec": {"sessionAffinity": affinity}}))
        until(lambda: len(set(ask(net, *[target] * 16))) == count, f"{count} with {affinity}")

    backends_with("ClientIP", 1)
    backends_with("None", 2)
    backends_with("ClientIP", 1)
    net.kubectl("patch", "service", service, "-p", '{"spec": {"sessionAffinity": "None"}}')


def test_an_external_name_turns_into_a_service_and_back(net: Cluster) -> None:
    full = "turning.network.svc.cluster.local"

    def resolves(record: str, wanted: str) -> None:
        until(lambda: wanted in "\n".join(inside(net, f"nslookup -type={record} {full}")), wanted)

    def patch(**spec: Any) -> dict[str, Any]:
        said = net.kubectl(
            "patch", "service", "turning", "--type=merge", "-p", json.dumps({"spec": spec}), "-o", "json"
        )
        found: dict[str, Any] = json.loads(said)["spec"]
        return found

    resolves("cname", f"{full}\tcanonical name = first.example.com")
    patch(externalName="second.example.com")
    resolves("cname", f"{full}\tcanonical name = second.example.com")
    ports = [{"port": 80, "targetPort": 8080}]
    for service_type in ("ClusterIP", "NodePort"):
        spec = patch(type=service_type, externalName=None, ports=ports, selector={"app": "alone"})
        resolves("a", f"Name:\t{full}\nAddress: {spec['clusterIP']}")
        until_answer(net, "turning", "own-name")
        until_answer(net, spec["clusterIP"], "own-name")
        if service_type == "NodePort":
            for node in node_addresses(net):
                until_answer(net, f"{node}:{spec['ports'][0]['nodePort']}", "own-name")
        gone = {"clusterIP": None, "clusterIPs": None, "ports": None, "selector": None}
        assert "clusterIP" not in patch(type="ExternalName", externalName="third.example.com", **gone)
        resolves("cname", f"{full}\tcanonical name = third.example.com")


def test_names_may_be_said_in_part(net: Cluster) -> None:
    ip = address(net, "alone")
    for name in ("headless", "headless.network", "headless.network.svc", "own-name.headless.network"):
        assert ask(net, f"{name}:8080") == ["own-name"]
    assert ask(net, "every.network")[0] in ask(net, *["every.network.svc"] * 16)
    found = "\n".join(inside(net, "nslookup -type=a kubernetes.default.svc.cluster.local; cat /etc/hosts", "alone"))
    cluster_ip = net.kubectl("get", "-n", "default", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    assert f"Name:\tkubernetes.default.svc.cluster.local\nAddress: {cluster_ip}" in found
    assert f"{ip}\town-name.headless.network.svc.cluster.local\town-name" in found


def test_what_is_written_at_the_front_is_read_from_the_replicas(net: Cluster) -> None:
    net.kubectl("create", "-f", str(GUESTBOOK))
    for name in ("primary", "replica", "frontend"):
        net.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")

    def asked(path: str) -> list[str]:
        return inside(net, f"timeout 3 wget -qO- http://frontend/{path}")

    until(lambda: asked("set/TestEntry") == ["stored"], "stored")
    until(lambda: asked("get") == ["TestEntry"], "read")
    net.kubectl("delete", "-f", str(GUESTBOOK), "--grace-period=0", "--timeout=30s")
    net.kubectl("wait", "pods", "-l", "of=guestbook", "--for=delete", "--timeout=30s")
    assert net.kubectl("get", "deployments,services,pods,configmaps", "-l", "of=guestbook", "-o", "name") == ""


def test_a_container_has_the_token_of_its_account(net: Cluster) -> None:
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    token, projected, namespace, *authority = inside(
        net,
        f"cat {folder}/token; echo; cat /tokens/token; echo; cat {folder}/namespace; echo; cat {folder}/ca.crt",
        "alone",
    )
    published = net.kubectl("get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}")
    assert (namespace, "\n".join(authority)) == ("network", published.rstrip("\n"))
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    told = json.loads(net.kubectl("create", "-o", "json", "-f", "-", text=json.dumps(review)))["status"]
    assert told["user"]["username"] == "system:serviceaccount:network:default"
    assert told["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["alone"]
    assert part_of(projected, 1)["aud"] == ["somebody"]
    # What the issuer publishes is there for the account itself to read.
    ip = net.kubectl("get", "-n", "default", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    context = ssl.create_default_context(cadata="\n".join(authority))
    found = []
    for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
        connected = namespaces.within(
            pod_network(net, "alone"), lambda: socket.create_connection((ip, 443), timeout=10)
        )
        connection = http.client.HTTPConnection("kubernetes.default.svc")
        connection.sock = context.wrap_socket(connected, server_hostname="kubernetes.default.svc")
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        found.append(json.loads(connection.getresponse().read()))
        connection.close()
    assert found[0]["issuer"] == part_of(token, 1)["iss"]
    assert part_of(token, 0)["kid"] in {one["kid"] for one in found[1]["keys"]}


def part_of(token: str, number: int) -> dict[str, Any]:
    """The header or the claims of a token."""
    part = token.split(".")[number]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found
