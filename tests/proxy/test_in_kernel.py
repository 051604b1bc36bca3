"""The rules in a kernel: a node, two pods and a client outside as network namespaces, real TCP between them."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from keelback.api.core_v1 import Service, ServicePort, ServiceSpec
from keelback.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from keelback.apimachinery.meta import ObjectMeta
from keelback.concurrency.clock import SystemClock
from keelback.network import namespaces
from keelback.network.namespaces import Namespaces
from keelback.proxy.config import ProxyConfig
from keelback.proxy.elements import (
    ALLOWED,
    ENDPOINTS,
    GUARDED,
    HAIRPIN,
    INSIDE,
    REFUSED,
    SERVICES,
    SLOTS,
    STICKY,
    Slot,
    elements,
)
from keelback.proxy.nft import Nftables, NftError
from keelback.proxy.plan import Backend, Frontend, Rule
from keelback.proxy.proxy import SERVICE_NAME, cleanup, run
from keelback.proxy.table import TABLE, Table, removal
from keelback.testing.api import Administrator, administrator

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="there is no nft"),
]

NODE_IP, CLIENT_IP, GATEWAY = "172.18.0.2", "172.18.0.9", "10.244.0.1"
PODS = ("10.244.0.5", "10.244.0.6")
WORLD = "203.0.113.1"
CONFIG = ProxyConfig("node-a", (NODE_IP,), ("10.244.0.0/16",), ("10.244.0.0/24",))
WEB = Frontend("10.96.0.20", "tcp", 80)
NODE_PORT = Frontend(NODE_IP, "tcp", 30080)
SETS = (HAIRPIN, GUARDED, ALLOWED)
MAPS = (SERVICES, INSIDE, REFUSED, ENDPOINTS, SLOTS, STICKY)
BOTH = tuple(Backend(pod, 8080, True) for pod in PODS)


class Node:
    """The namespaces, a server in each pod that tells its name and whom it sees, and the proxy's table."""

    def __init__(self) -> None:
        tag = f"kb{os.getpid() % 100000}"
        self.paths = {name: Path(f"/run/netns/{tag}-{name}") for name in ("node", "client", "pod0", "pod1")}
        self.table = Table(CONFIG)
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def set_up(self) -> None:
        for path in self.paths.values():
            ip("netns", "add", path.name)
            self.run(path, "ip link set lo up")
        node, client = self.paths["node"], self.paths["client"]
        self.run(node, "ip link add cni0 type bridge", f"ip addr add {GATEWAY}/24 dev cni0", "ip link set cni0 up")
        self._wire(client, "eth0", "eth0", f"{CLIENT_IP}/24")
        self.run(node, f"ip addr add {NODE_IP}/24 dev eth0", f"ip route add default via {CLIENT_IP}")
        self.run(client, f"ip route add 10.96.0.0/16 via {NODE_IP}", f"ip addr add {WORLD}/32 dev lo")
        for index, address in enumerate(PODS):
            pod = self.paths[f"pod{index}"]
            self._wire(pod, "eth0", f"veth{index}", f"{address}/24")
            self.run(
                node, f"ip link set veth{index} master cni0", f"ip link set veth{index} type bridge_slave hairpin on"
            )
            self.run(pod, f"ip route add default via {GATEWAY}")
            self.serve(pod, address, 8080)
        self.serve(client, WORLD, 80)
        settings = {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"}
        assert namespaces.write_sysctls(Namespaces.network(node), settings) == []

    def tear_down(self) -> None:
        for listener in self._listeners:
            # Closing alone does not wake a thread that accepts.
            listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for listener in self._listeners:
            listener.close()
        for path in self.paths.values():
            subprocess.run(["ip", "netns", "del", path.name], check=False)

    def serve(self, netns: Path, address: str, port: int) -> None:
        listener = namespaces.listen_in(netns, address, port)
        listener.setblocking(True)

        def accept() -> None:
            while True:
                try:
                    connection, peer = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(f"{address} {peer[0]}".encode())

        self._listeners.append(listener)
        self._threads.append(threading.Thread(target=accept, daemon=True))
        self._threads[-1].start()

    def ask(self, client: str, frontend: Frontend, patience_seconds: float = 5) -> tuple[str, str]:
        """Who answers a client, and as whom it was seen. Raises OSError."""
        with ExitStack() as stack:
            connection = stack.enter_context(namespaces.socket_in(self.paths[client]))
            connection.settimeout(patience_seconds)
            connection.connect((frontend.address, frontend.port))
            server, seen = connection.recv(100).decode().split()
        return server, seen

    def answering(self, client: str, frontend: Frontend, times: int = 40) -> set[str]:
        return {self.ask(client, frontend)[0] for _ in range(times)}

    def load(self, *rules: Rule) -> None:
        self.table.assign("one", rules)
        self.apply(self.table.whole())
        self.table.accepted(True)

    def update(self, *rules: Rule) -> None:
        self.table.assign("one", rules)
        self.apply(self.table.update())
        self.table.accepted(False)

    def apply(self, script: str) -> None:
        def work() -> None:
            kernel = Nftables()
            try:
                asyncio.run(kernel.apply(script))
            finally:
                kernel.close()

        namespaces.within(Namespaces.network(self.paths["node"]), work)

    def delete(self, slot: Slot) -> None:
        self.apply(f"delete element {slot.family} {TABLE} {slot.map} {{ {slot.key} }}\n")

    def run(self, netns: Path, *commands: str) -> str:
        return "".join(
            subprocess.run(
                ["ip", "netns", "exec", netns.name, *command.split()], check=True, capture_output=True, text=True
            ).stdout
            for command in commands
        )

    def _wire(self, netns: Path, inner: str, outer: str, address: str) -> None:
        node = self.paths["node"].name
        ip("link", "add", outer, "netns", node, "type", "veth", "peer", "name", inner, "netns", netns.name)
        self.run(self.paths["node"], f"ip link set {outer} up")
        self.run(netns, f"ip addr add {address} dev {inner}", f"ip link set {inner} up")


def of_last_backend(rule: Rule, maps: set[str]) -> list[Slot]:
    """The elements by which a remembered client comes to the rule's last backend."""
    held = list(elements(rule))
    (identity,) = (
        value for slot, value in held if slot.map == SLOTS and slot.key.endswith(f" {len(rule.backends) - 1}")
    )
    keys = {SLOTS: f" {len(rule.backends) - 1}", ENDPOINTS: f" {identity}", STICKY: f" {identity}"}
    return [slot for slot, _ in held if slot.map in maps and slot.key.endswith(keys[slot.map])]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made = Node()
    try:
        made.set_up()
        yield made
    finally:
        made.tear_down()


def test_a_cluster_address_is_all_pods_from_everywhere(node: Node) -> None:
    node.load(Rule(WEB, "cluster", BOTH))
    for client in ("pod0", "pod1", "node", "client"):
        assert node.answering(client, WEB) == set(PODS)


def test_pods_are_seen_as_themselves_and_strangers_as_the_node(node: Node) -> None:
    node.load(Rule(WEB, "cluster", BOTH[:1]))
    assert node.ask("pod1", WEB) == (PODS[0], PODS[1])
    assert node.ask("client", WEB) == (PODS[0], GATEWAY)


def test_a_pod_reaches_itself_by_its_service(node: Node) -> None:
    node.load(Rule(WEB, "cluster", BOTH[:1]))
    assert node.ask("pod0", WEB) == (PODS[0], GATEWAY)


def test_a_node_port_hides_the_client_unless_traffic_stays_local(node: Node) -> None:
    node.load(Rule(NODE_PORT, "external", BOTH[:1]))
    assert node.ask("client", NODE_PORT) == (PODS[0], GATEWAY)
    assert node.ask("pod1", NODE_PORT)[0] == PODS[0]
    assert node.ask("node", NODE_PORT)[0] == PODS[0]
    node.update(Rule(NODE_PORT, "local", BOTH[:1], BOTH))
    assert node.ask("client", NODE_PORT) == (PODS[0], CLIENT_IP)


def test_insiders_reach_every_endpoint_although_outsiders_find_none_here(node: Node) -> None:
    node.load(Rule(NODE_PORT, "local", BOTH[:1], BOTH))
    assert node.answering("client", NODE_PORT) == {PODS[0]}
    assert node.answering("pod0", NODE_PORT) == set(PODS)
    assert node.answering("node", NODE_PORT) == set(PODS)


def test_a_service_without_endpoints_refuses_at_once(node: Node) -> None:
    node.load(Rule(WEB, "cluster", ()), Rule(NODE_PORT, "external", ()))
    for client in ("pod0", "node", "client"):
        for frontend in (WEB, NODE_PORT):
            with pytest.raises(ConnectionRefusedError):
                node.ask(client, frontend)


def test_endpoints_come_and_go_by_updates(node: Node) -> None:
    node.load(Rule(WEB, "cluster", ()))
    node.update(Rule(WEB, "cluster", BOTH[:1]))
    assert node.answering("pod1", WEB, 5) == {PODS[0]}
    node.update(Rule(WEB, "cluster", BOTH))
    assert node.answering("pod1", WEB) == set(PODS)
    node.update(Rule(WEB, "cluster", BOTH[1:]))
    assert node.answering("pod0", WEB, 5) == {PODS[1]}
    node.update(Rule(WEB, "cluster", ()))
    with pytest.raises(ConnectionRefusedError):
        node.ask("pod0", WEB)


def test_a_client_keeps_its_endpoint_for_as_long_as_there_is_one(node: Node) -> None:
    node.load(Rule(WEB, "cluster", BOTH, affinity_seconds=100))
    (first,) = node.answering("pod1", WEB, 15)
    left = tuple(backend for backend in BOTH if backend.address != first)
    node.update(Rule(WEB, "cluster", left, affinity_seconds=100))
    assert node.answering("pod1", WEB, 5) == {left[0].address}
    # The other one is back, and is not gone back to.
    node.update(Rule(WEB, "cluster", BOTH, affinity_seconds=100))
    assert node.answering("pod1", WEB, 15) == {left[0].address}


@pytest.mark.parametrize("rule", [Rule(WEB, "cluster", BOTH), Rule(NODE_PORT, "local", (), BOTH)])
def test_a_slot_that_went_away_while_it_was_chosen_is_chosen_anew(node: Node, rule: Rule) -> None:
    # The kernel looks one element up after the other: a change may come between the number of endpoints and the choice.
    node.load(rule)
    slots = [slot for slot, _ in elements(rule) if slot.map == ENDPOINTS]
    node.delete(slots[-1])
    assert node.answering("pod1", rule.frontend) == {PODS[0]}


@pytest.mark.parametrize("lost", [{ENDPOINTS}, {ENDPOINTS, STICKY}, {ENDPOINTS, STICKY, SLOTS}])
def test_so_it_is_for_clients_that_keep_their_endpoint(node: Node, lost: set[str]) -> None:
    # Several Services: each is remembered by itself, and one or the other chooses the endpoint that is lost.
    rules = [Rule(WEB._replace(port=port), "cluster", BOTH, affinity_seconds=100) for port in range(81, 87)]
    node.load(*rules)
    for rule in rules:
        for slot in of_last_backend(rule, lost):
            node.delete(slot)
        assert node.answering("pod1", rule.frontend, 5) == {PODS[0]}


def test_only_clients_from_the_right_ranges_get_in(node: Node) -> None:
    balancer = Frontend("10.96.0.40", "tcp", 80)
    open_to_pods = Rule(balancer, "external", BOTH[:1], sources=("10.244.0.0/25", "172.31.0.0/16"))
    node.load(open_to_pods)
    assert node.ask("pod1", balancer)[0] == PODS[0]
    with pytest.raises(TimeoutError):
        node.ask("client", balancer, 0.5)
    node.update(Rule(balancer, "external", BOTH[:1], sources=(f"{CLIENT_IP}/32",)))
    assert node.ask("client", balancer)[0] == PODS[0]
    with pytest.raises(TimeoutError):
        node.ask("pod1", balancer, 0.5)
    node.update(Rule(balancer, "external", BOTH[:1]))
    assert node.ask("pod1", balancer)[0] == PODS[0]


def test_pods_leave_the_cluster_as_their_node(node: Node) -> None:
    node.load()
    assert node.ask("pod0", Frontend(WORLD, "tcp", 80)) == (WORLD, NODE_IP)
    assert node.ask("pod0", Frontend(PODS[1], "tcp", 8080)) == (PODS[1], PODS[0])


def test_a_table_replaces_what_was_there_and_leaves_nothing_when_removed(node: Node) -> None:
    node.load(Rule(WEB, "cluster", BOTH))
    node.load(Rule(WEB, "cluster", BOTH))
    assert node.ask("node", WEB)
    for _ in range(2):
        node.apply(removal())
        assert "keelback" not in node.run(node.paths["node"], "nft list tables")


def test_what_the_kernel_does_not_take_is_an_error_and_changes_nothing(node: Node) -> None:
    node.load(Rule(WEB, "cluster", BOTH[:1]))
    with pytest.raises(NftError, match="No such file"):
        node.apply("delete element ip keelback-proxy services { 10.0.0.1 . tcp . 1 }\n")
    assert node.ask("pod1", WEB)[0] == PODS[0]


def test_a_large_table_goes_through_a_child_process(node: Node) -> None:
    many = [Rule(Frontend(f"10.96.{n // 250 + 1}.{n % 250}", "tcp", 80), "cluster", BOTH) for n in range(1000)]
    node.load(*many)
    assert node.answering("pod0", many[-1].frontend) == set(PODS)


def any_rule(chance: random.Random) -> Rule:
    version6 = chance.random() < 0.3
    addresses, pods = ("fd00:96::{}", "fd00:244::{}") if version6 else ("10.96.0.{}", "10.244.0.{}")
    frontend = Frontend(addresses.format(chance.randrange(1, 9)), chance.choice(["tcp", "udp", "sctp"]), 80)

    def backends() -> tuple[Backend, ...]:
        chosen = sorted(chance.sample(range(2, 10), chance.choice([0, 1, 2, 5])))
        return tuple(Backend(pods.format(number), 8080, chance.random() < 0.5) for number in chosen)

    treatment = chance.choice(["cluster", "external", "local"])
    inside = chance.choice([None, backends()])
    affinity, is_elsewhere = chance.choice([0, 0, 60, 10800]), chance.random() < 0.5
    ranges = (
        ["fd00:1::/32", "fd00:2::/48", "fd00:3::1/128"] if version6 else ["10.0.0.0/8", "192.0.2.0/24", "9.9.9.9/32"]
    )
    sources = tuple(chance.sample(ranges, chance.choice([0, 0, 1, 2])))
    return Rule(frontend, treatment, backends(), inside, affinity, is_elsewhere, sources)


@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_takes_any_updates_and_holds_what_a_whole_script_says(node: Node, seed: int) -> None:
    chance = random.Random(seed)
    table = Table(replace(CONFIG, node_ips=(NODE_IP, "fd00:18::2")))
    node.apply(table.whole())
    table.accepted(True)
    for _ in range(40):
        for _ in range(chance.choice([1, 4])):
            table.assign(chance.randrange(12), [any_rule(chance) for _ in range(chance.choice([0, 1, 2]))])
        node.apply(table.update())
        table.accepted(False)

    def held() -> dict[str, set[str]]:
        found = {}
        for family in ("ip", "ip6"):
            for kind, name in (*(("map", name) for name in MAPS), *(("set", name) for name in SETS)):
                listed = node.run(node.paths["node"], f"nft -nn list {kind} {family} keelback-proxy {name}")
                _, _, entries = listed.partition("elements = {")
                found[f"{family} {name}"] = {entry.strip() for entry in entries.partition("}")[0].split(",")}
        return found

    updated = held()
    node.apply(table.whole())
    assert updated == held()
    node.apply(removal())


def test_the_proxy_itself_on_the_node(node: Node) -> None:
    async def observe(api: Administrator) -> None:
        web = ServicePort(name="http", port=80), ServicePort(name="dns", port=53, protocol="UDP")
        metadata = ObjectMeta(name="web", namespace="shop", labels={SERVICE_NAME: "web"})
        await api.put(Service(metadata=metadata, spec=ServiceSpec(cluster_ip=WEB.address, ports=web)))
        proxying = asyncio.create_task(run(api.client, replace(CONFIG, health_port=0), SystemClock()))
        for addresses in (PODS, PODS[:1], (), PODS):
            endpoints = tuple(Endpoint(addresses=(address,), node_name="node-a") for address in addresses)
            ports = EndpointPort(name="http", port=8080), EndpointPort(name="dns", port=53, protocol="UDP")
            made = EndpointSlice(metadata=metadata, address_type="IPv4", endpoints=endpoints, ports=ports)
            await api.put(made)
            async with asyncio.timeout(10):
                while await asyncio.to_thread(answering) != set(addresses):
                    assert not proxying.done()
        proxying.cancel()
        await asyncio.gather(proxying, return_exceptions=True)
        # Connections do not depend on the proxy; only cleaning up ends them.
        assert await asyncio.to_thread(answering) == set(PODS)
        await cleanup()

    async def main() -> None:
        async with administrator("shop") as api:
            await observe(api)

    def answering() -> set[str]:
        try:
            return node.answering("pod0", WEB)
        except OSError:
            return set()

    node.load(Rule(WEB, "cluster", ()))
    namespaces.within(Namespaces.network(node.paths["node"]), lambda: asyncio.run(main()))
    assert "keelback" not in node.run(node.paths["node"], "nft list tables")
