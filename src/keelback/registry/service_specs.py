"""What a service may say."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from keelback.api.core_v1 import LoadBalancerIngress, Service, ServicePort, ServiceSpec
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.apimachinery.validation import label_map
from keelback.registry import addresses_of_endpoints
from keelback.registry.probes import validate_port

HEADLESS: Final = "None"
TOPOLOGY_HINTS_ANNOTATION: Final = "service.kubernetes.io/topology-aware-hints"
TOPOLOGY_MODE_ANNOTATION: Final = "service.kubernetes.io/topology-mode"
_SOURCE_RANGES_ANNOTATION: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES: Final = ("ClientIP", "None")
_POLICIES: Final = ("Cluster", "Local")
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_IP_MODES: Final = ("Proxy", "VIP")
_FAMILIES: Final = ("IPv4", "IPv6")
_FAMILY_POLICIES: Final = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")
_MAX_AFFINITY_SECONDS: Final = 86400
_ONLY_FOR_BALANCERS: Final = "may only be used when `type` is 'LoadBalancer'"


def validate(service: Service, old: Service | None = None) -> Iterator[FieldError]:
    """Everything wrong with a service. Addresses of the `old` one may stay, whatever they are."""
    spec, path = service.spec, "spec"
    before = old.spec if old is not None else _NOTHING
    yield from _topology(service)
    if not spec.ports and not is_headless(spec) and spec.type != "ExternalName":
        yield required(f"{path}.ports")
    yield from _for_type(spec, path)
    yield from _ports(spec, f"{path}.ports")
    if spec.selector:
        yield from label_map(spec.selector, f"{path}.selector")
    yield from _affinity(spec, path)
    if spec.type != "ExternalName":
        yield from address_problems(spec, before.cluster_ips, path)
    for index, address in enumerate(spec.external_ips):
        yield from addresses_of_endpoints.problems(address, f"{path}.externalIPs[{index}]", before.external_ips)
    if not spec.type:
        yield required(f"{path}.type")
    elif spec.type not in _TYPES:
        yield not_supported(f"{path}.type", spec.type, _TYPES)
    yield from _ports_together(spec, f"{path}.ports")
    yield from _source_ranges(service, old)
    yield from _of_balancers(spec, path)
    yield from _traffic(spec, path)


_NOTHING: Final = ServiceSpec()


def is_headless(spec: ServiceSpec) -> bool:
    """Whether a service has no address of its own."""
    return spec.cluster_ips == (HEADLESS,) or (not spec.cluster_ips and spec.cluster_ip == HEADLESS)


def is_externally_accessible(spec: ServiceSpec) -> bool:
    """Whether traffic from outside the cluster reaches a service."""
    return spec.type in ("LoadBalancer", "NodePort") or (spec.type == "ClusterIP" and bool(spec.external_ips))


def needs_health_check(spec: ServiceSpec) -> bool:
    """Whether a load balancer has to ask each node if it has endpoints of its own."""
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def validate_status(service: Service, old: Service) -> Iterator[FieldError]:
    """Everything wrong with a service's status: only load balancers have ingress points."""
    path = "status.loadBalancer.ingress"
    points = service.status.load_balancer.ingress
    if points and service.spec.type != "LoadBalancer":
        yield forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    kept = {one.ip for one in old.status.load_balancer.ingress}
    for index, point in enumerate(points):
        yield from _ingress(point, f"{path}[{index}]", kept)


def _ingress(point: LoadBalancerIngress, path: str, kept: Collection[str]) -> Iterator[FieldError]:
    if point.ip:
        for complaint in addresses.ip_address(point.ip, kept):
            yield invalid(f"{path}.ip", point.ip, complaint)
    if point.ip_mode is None:
        if point.ip:
            yield required(f"{path}.ipMode", "must be specified when `ip` is set")
    elif not point.ip:
        yield forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set")
    elif point.ip_mode not in _IP_MODES:
        yield not_supported(f"{path}.ipMode", point.ip_mode, _IP_MODES)
    if point.hostname:
        for complaint in names.dns1123_subdomain(point.hostname):
            yield invalid(f"{path}.hostname", point.hostname, complaint)
        if addresses.parsed(point.hostname) is not None:
            yield invalid(f"{path}.hostname", point.hostname, "must be a DNS name, not an IP address")


def _topology(service: Service) -> Iterator[FieldError]:
    annotations = service.metadata.annotations
    mode = annotations.get(TOPOLOGY_MODE_ANNOTATION)
    if mode is not None and annotations.get(TOPOLOGY_HINTS_ANNOTATION, mode) != mode:
        where = f"metadata.annotations[{TOPOLOGY_MODE_ANNOTATION}]"
        yield invalid(where, mode, f"must match annotations[{TOPOLOGY_HINTS_ANNOTATION}] when both are specified")


def _for_type(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    if spec.type in ("LoadBalancer", "NodePort") and is_headless(spec):
        yield invalid(f"{path}.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {spec.type} services")
    if spec.type != "ExternalName":
        return
    for field, is_set in (
        ("clusterIPs", bool(spec.cluster_ip or spec.cluster_ips)),
        ("ipFamilies", bool(spec.ip_families)),
        ("ipFamilyPolicy", spec.ip_family_policy is not None),
    ):
        if is_set:
            yield forbidden(f"{path}.{field}", "may not be set for ExternalName services")
    name = spec.external_name.removesuffix(".")
    if not name:
        yield required(f"{path}.externalName")
    else:
        for complaint in names.dns1123_subdomain(name):
            yield invalid(f"{path}.externalName", name, complaint)


def _ports(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, port in enumerate(spec.ports):
        here = f"{path}[{index}]"
        if port.name:
            for complaint in names.dns1123_label(port.name):
                yield invalid(f"{here}.name", port.name, complaint)
            if port.name in seen:
                yield duplicate(f"{here}.name", port.name)
            seen.add(port.name)
        elif len(spec.ports) > 1:
            yield required(f"{here}.name")
        yield from _port(port, here)


def _port(port: ServicePort, path: str) -> Iterator[FieldError]:
    for complaint in names.port_number(port.port):
        yield invalid(f"{path}.port", port.port, complaint)
    if not port.protocol:
        yield required(f"{path}.protocol")
    elif port.protocol not in _PROTOCOLS:
        yield not_supported(f"{path}.protocol", port.protocol, _PROTOCOLS)
    if port.target_port is not None:
        yield from validate_port(port.target_port, f"{path}.targetPort")
    if port.app_protocol is not None:
        for complaint in names.qualified_name(port.app_protocol):
            yield invalid(f"{path}.appProtocol", port.app_protocol, complaint)


def _ports_together(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    if spec.type == "ClusterIP":
        for index, port in enumerate(spec.ports):
            if port.node_port:
                yield forbidden(f"{path}[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.ports):
        if port.node_port and (port.protocol, port.node_port) in node_ports:
            yield duplicate(f"{path}[{index}].nodePort", port.node_port)
        node_ports.add((port.protocol, port.node_port))
    ports: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.ports):
        if (port.protocol, port.port) in ports:
            # Upstream prints the key it compared, a port of its internal type.
            key = {"Name": "", "Protocol": port.protocol, "AppProtocol": None, "Port": port.port}
            yield duplicate(f"{path}[{index}]", {**key, "TargetPort": 0, "NodePort": 0})
        ports.add((port.protocol, port.port))


def _affinity(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    if not spec.session_affinity:
        yield required(f"{path}.sessionAffinity")
    elif spec.session_affinity not in _AFFINITIES:
        yield not_supported(f"{path}.sessionAffinity", spec.session_affinity, _AFFINITIES)
    config, path = spec.session_affinity_config, f"{path}.sessionAffinityConfig"
    if spec.session_affinity == "None" and config is not None:
        yield forbidden(path, "must not be set when session affinity is None")
    if spec.session_affinity != "ClientIP":
        return
    why = "when session affinity type is ClientIP"
    if config is None:
        yield required(path, why)
    elif config.client_ip is None:
        yield required(f"{path}.clientIP", why)
    elif config.client_ip.timeout_seconds is None:
        yield required(f"{path}.clientIP.timeoutSeconds", why)
    elif not 0 < config.client_ip.timeout_seconds <= _MAX_AFFINITY_SECONDS:
        yield invalid(
            f"{path}.clientIP.timeoutSeconds",
            config.client_ip.timeout_seconds,
            f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}",
        )


def address_problems(spec: ServiceSpec, kept: Collection[str], path: str) -> Iterator[FieldError]:
    """What is wrong with a Service's cluster IPs and their families; those it has `kept` may stay."""
    given: list[Any] = list(spec.cluster_ips)
    if spec.cluster_ip and given and given[0] != spec.cluster_ip:
        yield invalid(f"{path}.clusterIPs", given, "first value must match `clusterIP`")
    elif given and not spec.cluster_ip:
        yield invalid(f"{path}.clusterIPs", given, "must be empty when `clusterIP` is not specified")
    for index, family in enumerate(spec.ip_families):
        if family not in _FAMILIES:
            yield not_supported(f"{path}.ipFamilies[{index}]", family, _FAMILIES)
        if family in spec.ip_families[:index]:
            yield duplicate(f"{path}.ipFamilies[{index}]", family)
    if spec.ip_family_policy is not None and spec.ip_family_policy not in _FAMILY_POLICIES:
        yield not_supported(f"{path}.ipFamilyPolicy", spec.ip_family_policy, _FAMILY_POLICIES)
    has_invalid = False
    for index, address in enumerate(spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())):
        if index == 0 and address == HEADLESS:
            if len(given) > 1:
                has_invalid = True
                yield invalid(f"{path}.clusterIPs", given, "'None' must be the first and only value")
            continue
        for complaint in addresses.ip_address(address, kept):
            has_invalid = True
            yield invalid(f"{path}.clusterIPs[{index}]", address, complaint)
    if len(given) > 2:
        yield invalid(f"{path}.clusterIPs", given, "may only hold up to 2 values")
    if has_invalid or not given or is_headless(spec):
        return
    found = [f"IPv{addresses.family(one)}" for one in given]
    if len(found) > 1 and len(set(found)) < 2:
        yield invalid(f"{path}.clusterIPs", given, "may specify no more than one IP for each IP family")
    for index, (family, wanted) in enumerate(zip(found, spec.ip_families, strict=False)):
        if family != wanted:
            why = f"expected an {wanted} value as indicated by `ipFamilies[{index}]`"
            yield invalid(f"{path}.clusterIPs[{index}]", given[index], why)


def _source_ranges(service: Service, old: Service | None) -> Iterator[FieldError]:
    spec = service.spec
    ranges, annotation = spec.load_balancer_source_ranges, None
    kept = {one.strip() for one in old.spec.load_balancer_source_ranges} if old is not None else set()
    if ranges:
        where = "spec.LoadBalancerSourceRanges"
    else:
        annotation = service.metadata.annotations.get(_SOURCE_RANGES_ANNOTATION)
        if annotation is None:
            return
        where = f"metadata.annotations[{_SOURCE_RANGES_ANNOTATION}]"
        is_kept = old is not None and old.metadata.annotations.get(_SOURCE_RANGES_ANNOTATION) == annotation
        ranges = tuple(annotation.split(",")) if annotation.strip() and not is_kept else ()
    if spec.type != "LoadBalancer":
        yield forbidden(where, _ONLY_FOR_BALANCERS)
    for index, source in enumerate(ranges):
        here = where if annotation is not None else f"{where}[{index}]"
        for complaint in addresses.cidr(source.strip(), kept):
            yield invalid(here, source.strip(), complaint)


def _of_balancers(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    is_balancer = spec.type == "LoadBalancer"
    if spec.allocate_load_balancer_node_ports is not None and not is_balancer:
        yield forbidden(f"{path}.allocateLoadBalancerNodePorts", _ONLY_FOR_BALANCERS)
    yield from validate_class(spec, f"{path}.loadBalancerClass")


def validate_class(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with which kind of load balancer is asked for."""
    if spec.load_balancer_class is None:
        return
    if spec.type != "LoadBalancer":
        yield forbidden(path, _ONLY_FOR_BALANCERS)
        return
    for complaint in names.qualified_name(spec.load_balancer_class):
        yield invalid(path, spec.load_balancer_class, complaint)


def _traffic(spec: ServiceSpec, path: str) -> Iterator[FieldError]:
    policy, port = spec.external_traffic_policy, spec.health_check_node_port
    if not is_externally_accessible(spec):
        if policy:
            why = "may only be set for externally-accessible services"
            yield invalid(f"{path}.externalTrafficPolicy", policy, why)
    elif not policy:
        yield required(f"{path}.externalTrafficPolicy")
    elif policy not in _POLICIES:
        yield not_supported(f"{path}.externalTrafficPolicy", policy, _POLICIES)
    if port and not needs_health_check(spec):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid(f"{path}.healthCheckNodePort", port, why)
    elif port:
        for complaint in names.port_number(port):
            yield invalid(f"{path}.healthCheckNodePort", port, complaint)
    internal = spec.internal_traffic_policy
    if internal is None and spec.type in ("ClusterIP", "LoadBalancer", "NodePort"):
        yield required(f"{path}.internalTrafficPolicy")
    if internal is not None and internal not in _POLICIES:
        yield not_supported(f"{path}.internalTrafficPolicy", internal, _POLICIES)
    distribution = spec.traffic_distribution
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        yield not_supported(f"{path}.trafficDistribution", distribution, _DISTRIBUTIONS, in_given_order=True)
