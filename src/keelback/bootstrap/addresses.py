"""The addresses of a cluster: where Services, the DNS and the pods of each node are, from upstream's flags.

They are for the cluster's life: objects that are stored carry them.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from keelback.bootstrap import components
from keelback.bootstrap.cluster_state import ClusterError, Settings
from keelback.bootstrap.components import APIServerOptions, ControllerManagerOptions
from keelback.network.fabric import FabricPlan

SERVICE_RANGE = "10.96.0.0/16"
CLUSTER_CIDR = "10.244.0.0/16"
SIMULATED_CLUSTER_CIDR = "10.128.0.0/10"
"""Room for thousands of nodes: simulated ones are not bound to what one machine can carry."""

_DNS_INDEX = 10
# Upstream keeps a bit for each address of a range, and so allows 2**20 of them.
_MOST_SERVICE_BITS = 20
_LONGEST_NODE_MASK = 30


@dataclass(frozen=True, slots=True)
class ClusterAddresses:
    """`services` for cluster IPs, `pods` for all pods, of which each node has a part with a mask of `node_mask`."""

    services: IPv4Network
    pods: IPv4Network
    node_mask: int

    @property
    def service_ip(self) -> str:
        """The `kubernetes` Service's: the first of the range."""
        return str(self.services[1])

    @property
    def dns_ip(self) -> str:
        """The DNS Service's: the tenth of the range, as kubeadm has it."""
        return str(self.services[_DNS_INDEX])

    @property
    def most_nodes(self) -> int:
        """How many nodes have room."""
        return 1 << (self.node_mask - self.pods.prefixlen)

    def node_pods(self, index: int) -> str:
        """The pod network of one node."""
        first = int(self.pods.network_address) + (index << (32 - self.node_mask))
        return f"{IPv4Address(first)}/{self.node_mask}"


def plan_addresses(
    api_server: APIServerOptions,
    controller_manager: ControllerManagerOptions,
    *,
    simulated: bool,
    nodes: int = 0,
    taken: IPv4Network | None = None,
) -> ClusterAddresses:
    """The addresses that the flags say, for so many nodes. `taken` is the network between the nodes.

    Raises ClusterError for ranges that are none, too small or too large, or meet one another.
    """
    services = service_range(api_server.service_cluster_ip_range)
    text = controller_manager.cluster_cidr or (SIMULATED_CLUSTER_CIDR if simulated else CLUSTER_CIDR)
    pods = _network("cluster-cidr", text)
    mask = controller_manager.node_cidr_mask_size
    if not pods.prefixlen <= mask <= _LONGEST_NODE_MASK:
        raise ClusterError(
            f"node-cidr-mask-size {mask}: from {pods.prefixlen}, the mask of cluster-cidr {pods}, "
            f"to {_LONGEST_NODE_MASK}"
        )
    addresses = ClusterAddresses(services, pods, mask)
    if nodes > addresses.most_nodes:
        raise ClusterError(
            f"cluster-cidr {pods} has room for {addresses.most_nodes} node(s) of /{mask} each, not for {nodes}: "
            "make it larger, or node-cidr-mask-size too"
        )
    named = {"service-cluster-ip-range": services, "cluster-cidr": pods}
    if taken is not None:
        named["the network between the nodes"] = taken
    _check_apart(named)
    return addresses


def cluster_addresses(settings: Settings) -> ClusterAddresses:
    """The addresses of a cluster of this machine. Raises ClusterError for flags that cannot work."""

    def options(component: str) -> Any:
        return components.parse(component, components.arguments(settings, component))

    return plan_addresses(
        options("kube-apiserver"),
        options("kube-controller-manager"),
        simulated=settings.simulated,
        nodes=settings.nodes,
        taken=None if settings.simulated else FabricPlan().network,
    )


def service_range(text: str) -> IPv4Network:
    """What `service-cluster-ip-range` says. Raises ClusterError."""
    name = "service-cluster-ip-range"
    services = _network(name, text)
    if 32 - services.prefixlen > _MOST_SERVICE_BITS:
        raise ClusterError(f"{name} {text} is too large: the mask must be /{32 - _MOST_SERVICE_BITS} or longer")
    if services.num_addresses <= _DNS_INDEX + 1:
        raise ClusterError(f"{name} {text} is too small: the DNS Service has its tenth address, so /28 or shorter")
    return services


def _network(name: str, text: str) -> IPv4Network:
    if "," in text or ":" in text:
        raise ClusterError(f"{name} {text}: one IPv4 range (dual stack and IPv6 are not there yet)")
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise ClusterError(f"{name}: {error}; a range is written as {SERVICE_RANGE}") from error


def _check_apart(named: dict[str, IPv4Network]) -> None:
    ranges = list(named.items())
    for index, (name, network) in enumerate(ranges):
        for other, second in ranges[index + 1 :]:
            if network.overlaps(second):
                raise ClusterError(f"{name} {network} and {other} {second} overlap: no address may be in both")
