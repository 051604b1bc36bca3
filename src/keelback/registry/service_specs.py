"""What the spec of a service may say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import Service, ServicePort, ServiceSpec
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.apimachinery.validation import label_map

HEADLESS: Final = "None"
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES: Final = ("ClientIP", "None")
_POLICIES: Final = ("Cluster", "Local")
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_IP_MODES: Final = ("Proxy", "VIP")
_FAMILIES: Final = ("IPv4", "IPv6")
_FAMILY_POLICIES: Final = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS: Final = ("PreferClose", "PreferSameNode", "PreferSameZone")
_MAX_AFFINITY_SECONDS: Final = 86400


def validate(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a service's spec."""
    if not spec.ports and spec.cluster_ip != HEADLESS and spec.type != "ExternalName":
        yield required(f"{path}.ports")
    yield from _for_type(spec, path)
    yield from _ports(spec, f"{path}.ports")
    if spec.selector:
        yield from label_map(spec.selector, f"{path}.selector")
    yield from _affinity(spec, path)
    yield from _addresses(spec, path)
    if spec.type not in _TYPES:
        yield not_supported(f"{path}.type", spec.type, _TYPES)
    yield from _traffic(spec, path)
    yield from _families(spec, path)


def validate_status(service: Service) -> Iterator[FieldError]:
    """Everything wrong with a service's status: only load balancers have ingress points."""
    path = "status.loadBalancer.ingress"
    points = service.status.load_balancer.ingress
    if points and service.spec.type != "LoadBalancer":
        yield forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, point in enumerate(points):
        here = f"{path}[{index}]"
        if point.ip:
            for complaint in names.ip_address(point.ip):
                yield invalid(f"{here}.ip", point.ip, complaint)
        if point.ip_mode is not None and not point.ip:
            yield forbidden(f"{here}.ipMode", "may not be specified when `ip` is not set")
        elif point.ip_mode is not None and point.ip_mode not in _IP_MODES:
            yield not_supported(f"{here}.ipMode", point.ip_mode, _IP_MODES)
        if point.hostname:
            for complaint in names.dns1123_subdomain(point.hostname):
                yield invalid(f"{here}.hostname", point.hostname, complaint)
            if not names.ip_address(point.hostname):
                yield invalid(f"{here}.hostname", point.hostname, "must be a DNS name, not an IP address")


def _families(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    if spec.ip_family_policy is not None and spec.ip_family_policy not in _FAMILY_POLICIES:
        yield not_supported(f"{path}.ipFamilyPolicy", spec.ip_family_policy, _FAMILY_POLICIES)
    for index, family in enumerate(spec.ip_families):
        if family not in _FAMILIES:
            yield not_supported(f"{path}.ipFamilies[{index}]", family, _FAMILIES)
        elif family in spec.ip_families[:index]:
            yield duplicate(f"{path}.ipFamilies[{index}]", family)
    if spec.traffic_distribution is not None and spec.traffic_distribution not in _DISTRIBUTIONS:
        yield not_supported(f"{path}.trafficDistribution", spec.traffic_distribution, _DISTRIBUTIONS)
    if spec.health_check_node_port and not needs_health_check(spec):
        yield invalid(
            f"{path}.healthCheckNodePort",
            spec.health_check_node_port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )


def needs_health_check(spec: ServiceSpec) -> bool:
    """Whether a load balancer has to ask each node if it has endpoints of its own."""
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def _for_type(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    if spec.type in ("LoadBalancer", "NodePort") and spec.cluster_ip == HEADLESS:
        yield invalid(f"{path}.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {spec.type} services")
    if spec.type == "ExternalName":
        if spec.cluster_ip or spec.cluster_ips:
            yield forbidden(f"{path}.clusterIPs", "may not be set for ExternalName services")
        name = spec.external_name.removesuffix(".")
        if not name:
            yield required(f"{path}.externalName")
        else:
            for complaint in names.dns1123_subdomain(name):
                yield invalid(f"{path}.externalName", spec.external_name, complaint)


def _ports(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    seen_names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    seen_node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.ports):
        here = f"{path}[{index}]"
        if port.name:
            for complaint in names.dns1123_label(port.name):
                yield invalid(f"{here}.name", port.name, complaint)
            if port.name in seen_names:
                yield duplicate(f"{here}.name", port.name)
            seen_names.add(port.name)
        elif len(spec.ports) > 1:
            yield required(f"{here}.name")
        yield from _port(spec, port, here)
        if (port.protocol, port.port) in seen:
            # Upstream prints the key it compared, a port of its internal type.
            key = {"Name": "", "Protocol": port.protocol, "AppProtocol": None, "Port": port.port}
            yield duplicate(here, {**key, "TargetPort": 0, "NodePort": 0})
        seen.add((port.protocol, port.port))
        if port.node_port:
            if (port.protocol, port.node_port) in seen_node_ports:
                yield duplicate(f"{here}.nodePort", port.node_port)
            seen_node_ports.add((port.protocol, port.node_port))


def _port(spec: ServiceSpec, port: ServicePort, path: str) -> Iterator[FieldError]:
    for complaint in names.port_number(port.port):
        yield invalid(f"{path}.port", port.port, complaint)
    if not port.protocol:
        yield required(f"{path}.protocol")
    elif port.protocol not in _PROTOCOLS:
        yield not_supported(f"{path}.protocol", port.protocol, _PROTOCOLS)
    target = port.target_port
    if target is not None:
        complaints = names.port_number(target) if isinstance(target, int) else names.port_name(target)
        for complaint in complaints:
            yield invalid(f"{path}.targetPort", target, complaint)
    if port.app_protocol:
        for complaint in names.qualified_name(port.app_protocol):
            yield invalid(f"{path}.appProtocol", port.app_protocol, complaint)
    if port.node_port and spec.type == "ClusterIP":
        yield forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")


def _affinity(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    if not spec.session_affinity:
        yield required(f"{path}.sessionAffinity")
    elif spec.session_affinity not in _AFFINITIES:
        yield not_supported(f"{path}.sessionAffinity", spec.session_affinity, _AFFINITIES)
    config = spec.session_affinity_config
    if spec.session_affinity == "ClientIP" and config is not None and config.client_ip is not None:
        seconds = config.client_ip.timeout_seconds
        if seconds is None or not 0 < seconds <= _MAX_AFFINITY_SECONDS:
            yield invalid(
                f"{path}.sessionAffinityConfig.clientIP.timeoutSeconds",
                seconds,
                f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}",
            )


def _addresses(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    if spec.cluster_ips and spec.cluster_ip != spec.cluster_ips[0]:
        yield invalid(f"{path}.clusterIPs", list(spec.cluster_ips), "first value must match `clusterIP`")
    for index, address in enumerate(spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())):
        if address == HEADLESS:
            if index:
                yield invalid(f"{path}.clusterIPs[{index}]", address, "'None' must be the first and only value")
            continue
        for complaint in names.ip_address(address):
            yield invalid(f"{path}.clusterIPs[{index}]", address, complaint)
    for index, address in enumerate(spec.external_ips):
        for complaint in names.ip_address(address):
            yield invalid(f"{path}.externalIPs[{index}]", address, complaint)
    for index, source in enumerate(spec.load_balancer_source_ranges):
        if spec.type != "LoadBalancer":
            yield forbidden(f"{path}.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
            break
        for complaint in names.cidr(source.strip()):
            yield invalid(f"{path}.loadBalancerSourceRanges[{index}]", source, complaint)


def _traffic(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    is_external = spec.type in ("LoadBalancer", "NodePort") or bool(spec.external_ips)
    policy = spec.external_traffic_policy
    if policy and not is_external:
        yield invalid(f"{path}.externalTrafficPolicy", policy, "may only be set for externally-accessible services")
    elif policy and policy not in _POLICIES:
        yield not_supported(f"{path}.externalTrafficPolicy", policy, _POLICIES)
    elif not policy and spec.type in ("LoadBalancer", "NodePort"):
        yield required(f"{path}.externalTrafficPolicy")
    internal = spec.internal_traffic_policy
    if internal is not None and internal not in _POLICIES:
        yield not_supported(f"{path}.internalTrafficPolicy", internal, _POLICIES)
    if spec.load_balancer_class is not None and spec.type != "LoadBalancer":
        yield forbidden(f"{path}.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")
    if spec.allocate_load_balancer_node_ports is not None and spec.type != "LoadBalancer":
        yield forbidden(f"{path}.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'")
