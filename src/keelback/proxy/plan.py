"""Which endpoints stand behind each address and port of a Service, seen from one node. Pure.

Ready endpoints first; when there is none, those that terminate but still serve (KEP-1669). Traffic policies and
topology hints narrow the choice as kube-proxy's `CategorizeEndpoints` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, collapse_addresses, ip_address, ip_network
from typing import Literal, NamedTuple, TypeAlias

from keelback.api.core_v1 import ServicePort
from keelback.proxy.config import ProxyConfig
from keelback.proxy.observed import Endpoint, EndpointSlice, Service

Treatment: TypeAlias = Literal["cluster", "external", "local"]
"""How the source is treated: masqueraded unless a pod; always masqueraded; always kept."""

_AFFINITY_SECONDS = 10_800


class Frontend(NamedTuple):
    """What a client connects to. The protocol is lower case."""

    address: str
    protocol: str
    port: int


class Backend(NamedTuple):
    """Where a connection ends up."""

    address: str
    port: int
    is_local: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One frontend and its backends; `inside` are other backends for pods and the node itself, where they differ.

    Without any backend clients are refused at once; where other nodes have some (`is_elsewhere`) packets are dropped.
    """

    frontend: Frontend
    treatment: Treatment
    backends: tuple[Backend, ...]
    inside: tuple[Backend, ...] | None = None
    affinity_seconds: int = 0
    is_elsewhere: bool = False
    sources: tuple[str, ...] = ()
    """The ranges that clients must come from; none: from anywhere. They do not overlap."""


def plan(service: Service, slices: Sequence[EndpointSlice], config: ProxyConfig) -> tuple[Rule, ...]:
    """The rules for one Service; none for headless ones and ExternalNames.

    Everything in them is an address, a number or a protocol: they become parts of a script. Raises ValueError where
    an object says anything else.
    """
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in {"", "None"}:
        return ()
    return tuple(rule for port in spec.ports for rule in _port_rules(service, port, slices, config))


def is_version6(address: str) -> bool:
    """Whether an address or a range is one of IPv6."""
    return ":" in address


def protocol_of(text: str) -> str:
    """A protocol as rules name it. Raises ValueError for one that there is not."""
    name = text.lower()
    if name not in {"tcp", "udp", "sctp"}:
        raise ValueError(f"{text} is no protocol of Services")
    return name


def local_endpoint_count(slices: Sequence[EndpointSlice], node_name: str) -> int:
    """How many ready endpoints this node has: what a health check node port answers."""
    return len(
        {
            endpoint.addresses[0]
            for one in slices
            for endpoint in one.endpoints or ()
            if endpoint.addresses and endpoint.node_name == node_name and _is_ready(endpoint)
        }
    )


def _port_rules(
    service: Service, port: ServicePort, slices: Sequence[EndpointSlice], config: ProxyConfig
) -> Iterator[Rule]:
    spec = service.spec
    protocol = protocol_of(port.protocol)
    affinity = _affinity_seconds(service)
    for version6 in (False, True):
        found = list(_endpoints(port, slices, version6))
        everywhere = _usable(found, lambda endpoint: True, config)
        here = _usable(found, lambda endpoint: endpoint.node_name == config.node_name, config, hints=False)
        hinted = _hinted(everywhere, found, config)

        for address in _of_family(spec.cluster_ips or (spec.cluster_ip,), version6):
            if address not in config.local_addresses:
                is_local = spec.internal_traffic_policy == "Local"
                yield Rule(
                    Frontend(address, protocol, port.port),
                    "cluster",
                    here if is_local else hinted,
                    affinity_seconds=affinity,
                    is_elsewhere=is_local and bool(everywhere),
                )
        for frontend in _external_frontends(service, port, config, version6):
            sources = _sources(service, frontend)
            if spec.external_traffic_policy == "Local":
                yield Rule(frontend, "local", here, hinted, affinity, bool(everywhere), sources)
            else:
                yield Rule(frontend, "external", hinted, affinity_seconds=affinity, sources=sources)


def _sources(service: Service, frontend: Frontend) -> tuple[str, ...]:
    """loadBalancerSourceRanges: they are for the load balancer's addresses, not for node ports and external IPs."""
    ranges = service.spec.load_balancer_source_ranges
    if not ranges or service.spec.type != "LoadBalancer":
        return ()
    if frontend.address not in {str(_address(one.ip)) for one in service.status.load_balancer.ingress if one.ip}:
        return ()
    networks = [ip_network(text.strip(), strict=False) for text in ranges]
    if is_version6(frontend.address):
        return tuple(str(one) for one in collapse_addresses(one for one in networks if one.version == 6)) or ("::/128",)
    return tuple(str(one) for one in collapse_addresses(one for one in networks if one.version == 4)) or ("0.0.0.0/32",)


def _external_frontends(service: Service, port: ServicePort, config: ProxyConfig, version6: bool) -> Iterator[Frontend]:
    protocol = protocol_of(port.protocol)
    if port.node_port and service.spec.type in {"NodePort", "LoadBalancer"}:
        for address in _of_family(config.node_ips, version6):
            yield Frontend(address, protocol, port.node_port)
    ingress = [one.ip for one in service.status.load_balancer.ingress if one.ip and one.ip_mode != "Proxy"]
    for address in _of_family(dict.fromkeys((*service.spec.external_ips, *ingress)), version6):
        yield Frontend(address, protocol, port.port)


def _endpoints(port: ServicePort, slices: Sequence[EndpointSlice], version6: bool) -> Iterator[tuple[Endpoint, int]]:
    family = "IPv6" if version6 else "IPv4"
    for one in slices:
        if one.address_type != family:
            continue
        for candidate in one.ports or ():
            if candidate.name == port.name and candidate.protocol == port.protocol and candidate.port:
                for endpoint in one.endpoints or ():
                    if endpoint.addresses and is_version6(endpoint.addresses[0]) == version6:
                        yield endpoint, candidate.port


def _usable(
    found: Iterable[tuple[Endpoint, int]],
    wanted: Callable[[Endpoint], bool],
    config: ProxyConfig,
    hints: bool = True,
) -> tuple[Backend, ...]:
    candidates = [(endpoint, port) for endpoint, port in found if wanted(endpoint)]
    usable = [pair for pair in candidates if _is_ready(pair[0])]
    usable = usable or [pair for pair in candidates if _is_serving_terminating(pair[0])]
    return _backends(usable, config)


def _hinted(
    everywhere: tuple[Backend, ...], found: Iterable[tuple[Endpoint, int]], config: ProxyConfig
) -> tuple[Backend, ...]:
    """The endpoints meant for this node or zone, if every ready one says whom it is for and some are for us."""
    ready = [pair for pair in found if _is_ready(pair[0])]
    for_node = [
        (endpoint, port)
        for endpoint, port in ready
        if endpoint.hints and any(node.name == config.node_name for node in endpoint.hints.for_nodes)
    ]
    if for_node and all(endpoint.hints and endpoint.hints.for_nodes for endpoint, _ in ready):
        return _backends(for_node, config)
    for_zone = [
        (endpoint, port)
        for endpoint, port in ready
        if endpoint.hints and any(zone.name == config.zone for zone in endpoint.hints.for_zones)
    ]
    if config.zone and for_zone and all(endpoint.hints and endpoint.hints.for_zones for endpoint, _ in ready):
        return _backends(for_zone, config)
    return everywhere


def _backends(pairs: Iterable[tuple[Endpoint, int]], config: ProxyConfig) -> tuple[Backend, ...]:
    # A set: while the controller moves an endpoint between slices it stands in both.
    made = {(_address(endpoint.addresses[0]), port, endpoint.node_name == config.node_name) for endpoint, port in pairs}
    found = sorted(made, key=lambda one: (one[0].packed, one[1]))
    return tuple(Backend(str(address), port, is_local) for address, port, is_local in found)


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False


def _is_serving_terminating(endpoint: Endpoint) -> bool:
    return endpoint.conditions.serving is not False and endpoint.conditions.terminating is True


def _affinity_seconds(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    chosen = config.client_ip.timeout_seconds if config and config.client_ip else None
    return chosen or _AFFINITY_SECONDS


def _of_family(addresses: Iterable[str], version6: bool) -> Iterator[str]:
    found = (_address(address) for address in addresses)
    return (str(address) for address in found if (address.version == 6) == version6)


def _address(text: str) -> IPv4Address | IPv6Address:
    # A scope may be any text at all, and no Service has one.
    if "%" in text:
        raise ValueError(f"{text!r} does not appear to be an address without a scope")
    return ip_address(text)
