"""The fabric: the network between the nodes of one machine, a bridge in a network namespace of the cluster's own.

Each node hangs on it by a veth pair. The fabric's gateway address is where nodes and pods reach the API server, which
listens there without leaving the machine's own namespace (`namespaces.listen_in`). Nothing of it touches the machine's
own interfaces, rules or settings; fabrics of several clusters cannot meet, so all may use the same addresses.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from keelback.network import namespaces
from keelback.network.namespaces import Kind, Namespaces

BRIDGE = "fabric"
NODE_LINK = "eth0"


_DEFAULT_NETWORK = IPv4Network("10.89.0.0/16")


@dataclass(frozen=True, slots=True)
class FabricPlan:
    """The addresses of a fabric: the gateway is the first host of `network`, node 0 the second."""

    network: IPv4Network = _DEFAULT_NETWORK

    @property
    def gateway(self) -> IPv4Address:
        return self.network[1]

    def node_address(self, index: int) -> IPv4Address:
        """`IndexError` when the network has no room for so many nodes."""
        if index < 0 or index + 3 >= self.network.num_addresses:
            raise IndexError(f"no address for node {index} in {self.network}")
        return self.network[index + 2]


@dataclass(frozen=True, slots=True)
class Attachment:
    """One node on the fabric: its address there and the pod addresses behind it."""

    node: str
    address: IPv4Address
    pod_cidr: IPv4Network

    @property
    def link(self) -> str:
        """The fabric's end of the veth pair: within the 15 characters of an interface name, whatever the node's."""
        return "v" + hashlib.sha256(self.node.encode()).hexdigest()[:10]

    @property
    def hardware_address(self) -> str:
        """Fixed, so that a node that comes back is not looked for at its former self's address."""
        return "02:59:" + ":".join(f"{byte:02x}" for byte in self.address.packed)


def plan_fabric(plan: FabricPlan) -> list[str]:
    """`ip -batch` lines that make the bridge."""
    return [
        "link set lo up",
        f"link add {BRIDGE} type bridge forward_delay 0",
        f"address add {plan.gateway}/{plan.network.prefixlen} dev {BRIDGE}",
        f"link set {BRIDGE} up",
        # There is no way out: say so at once, in a way that programs take for final.
        "route add prohibit default",
    ]


def plan_attach(attachment: Attachment, pid: int) -> list[str]:
    """Lines for the fabric's side, which make the pair and hand one end to the node of process `pid`."""
    return [
        f"link add {attachment.link} type veth peer name {NODE_LINK} address {attachment.hardware_address} netns {pid}",
        f"link set {attachment.link} master {BRIDGE} up",
        f"route replace {attachment.pod_cidr} via {attachment.address} dev {BRIDGE}",
    ]


def plan_node(attachment: Attachment, plan: FabricPlan) -> list[str]:
    """Lines for the node's side. The default route is also what lets Service addresses leave before they are NATed."""
    return [
        "link set lo up",
        f"address add {attachment.address}/{plan.network.prefixlen} dev {NODE_LINK}",
        f"link set {NODE_LINK} up",
        f"route add default via {plan.gateway} dev {NODE_LINK}",
    ]


def plan_peers(attachment: Attachment, others: Sequence[Attachment]) -> list[str]:
    """Lines for a node: straight to the pods of the others, not by the gateway."""
    return [
        f"route replace {other.pod_cidr} via {other.address} dev {NODE_LINK}"
        for other in others
        if other.node != attachment.node
    ]


_FABRIC_SETTINGS = {
    "net.ipv4.ip_forward": "1",
    # A first packet by the gateway must not teach nodes routes that outlive the pods behind them.
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    # The fabric is a wire: its bridge asks no firewall.
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.ipv6.conf.all.disable_ipv6": "0",
}

_NODE_SETTINGS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # Without this, replies between pods of one node pass the Service rules by (they are bridged, not routed).
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.netfilter.nf_conntrack_tcp_be_liberal": "1",
}


@dataclass(frozen=True, slots=True)
class Fabric:
    """The fabric kept at `path`, a file below the cluster's run directory. Every verb may be repeated."""

    path: Path
    plan: FabricPlan = FabricPlan()

    @property
    def _inside(self) -> Namespaces:
        return Namespaces.network(self.path)

    def exists(self) -> bool:
        return namespaces.is_kept(self.path)

    def create(self) -> None:
        if self.exists() and BRIDGE in self.links():
            return
        namespaces.keep_network_namespace(self.path)
        namespaces.write_sysctls(self._inside, _FABRIC_SETTINGS)
        _batch(self._inside, plan_fabric(self.plan))

    def attach(self, attachment: Attachment, pid: int, others: Sequence[Attachment] = ()) -> None:
        """Connect the node whose processes are in the namespaces of `pid`; a former pair of that node is replaced."""
        self.detach(attachment)
        _batch(self._inside, plan_attach(attachment, pid))
        node = Namespaces.of(pid, Kind.NETWORK)
        namespaces.write_sysctls(node, _NODE_SETTINGS)
        _batch(node, [*plan_node(attachment, self.plan), *plan_peers(attachment, others)])

    def set_peers(self, attachment: Attachment, pid: int, others: Sequence[Attachment]) -> None:
        """Tell a node already attached of the others."""
        _batch(Namespaces.of(pid, Kind.NETWORK), plan_peers(attachment, others))

    def detach(self, attachment: Attachment) -> None:
        self.remove_link(attachment.link)

    def remove_link(self, link: str) -> None:
        """Remove a pair by the name of its end here; the kernel may be doing the same as the node's namespace ends."""
        if link not in self.links():
            return
        try:
            _batch(self._inside, [f"link delete {link}"])
        except subprocess.CalledProcessError:
            if link in self.links():
                raise

    def set_connected(self, link: str, connected: bool) -> None:
        """Cut a node off, or connect it again, at the fabric's side: the node's own routes stay as they are."""
        _batch(self._inside, [f"link set {link} {'up' if connected else 'down'}"])

    def links(self) -> frozenset[str]:
        """The names of the fabric's interfaces."""
        return namespaces.within(self._inside, lambda: frozenset(_interface_names()))

    def destroy(self) -> None:
        """Give the namespace up: the kernel ends it, and every pair in it, when no process or socket uses it."""
        namespaces.release_network_namespace(self.path)


def _interface_names() -> list[str]:
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return [line.split(":", 1)[0].strip() for line in lines]


def _batch(inside: Namespaces, lines: Sequence[str]) -> None:
    if lines:
        namespaces.run(inside, ["ip", "-batch", "-"], text="\n".join(lines) + "\n")
