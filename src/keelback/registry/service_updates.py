"""What an update of a service keeps of what was given to it, and what it may not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keelback.api.core_v1 import ServiceSpec
from keelback.apimachinery.errors import FieldError, invalid
from keelback.apimachinery.meta import replace
from keelback.registry.service_specs import needs_health_check


def with_allocations_of(new: ServiceSpec, old: ServiceSpec) -> ServiceSpec:
    """The spec with the addresses and ports that were given to the old one, where the client left them out.

    What only the old type had is dropped, unless the client says otherwise (upstream's dropTypeDependentFields).
    """
    changes: dict[str, Any] = {}
    if new.type == "ExternalName":
        if old.type != "ExternalName" and new.cluster_ip == old.cluster_ip:
            changes |= {"cluster_ip": "", "cluster_ips": (), "ip_families": (), "ip_family_policy": None}
    elif old.type != "ExternalName" and not new.cluster_ip:
        changes |= {"cluster_ip": old.cluster_ip, "cluster_ips": new.cluster_ips or old.cluster_ips}
    elif new.cluster_ip == old.cluster_ip and not new.cluster_ips:
        changes["cluster_ips"] = old.cluster_ips
    if "ExternalName" not in (new.type, old.type):
        changes["ip_families"] = new.ip_families or old.ip_families
        changes["ip_family_policy"] = new.ip_family_policy or old.ip_family_policy
    if _has_node_ports(old):
        if _has_node_ports(new):
            changes["ports"] = _with_node_ports_of(new, old)
        elif [port.node_port for port in new.ports] == [port.node_port for port in old.ports]:
            changes["ports"] = tuple(replace(port, node_port=0) for port in new.ports)
        if not _has_node_ports(new) and new.external_traffic_policy == old.external_traffic_policy:
            changes["external_traffic_policy"] = ""
    if new.type != "LoadBalancer" and old.type == "LoadBalancer":
        changes["allocate_load_balancer_node_ports"] = None
        if new.load_balancer_class == old.load_balancer_class:
            changes["load_balancer_class"] = None
    if old.health_check_node_port:
        if new.health_check_node_port == 0 and needs_health_check(new):
            changes["health_check_node_port"] = old.health_check_node_port
        elif new.health_check_node_port == old.health_check_node_port and not needs_health_check(new):
            changes["health_check_node_port"] = 0
    return replace(new, **changes) if changes else new


def validate(new: ServiceSpec, old: ServiceSpec) -> Iterator[FieldError]:
    """Everything that an update changes and may not: a service keeps its first address while it has one."""
    if "ExternalName" not in (new.type, old.type) and old.cluster_ip and new.cluster_ip != old.cluster_ip:
        yield invalid("spec.clusterIPs[0]", new.cluster_ip, "may not change once set")
    if (
        new.type == old.type == "LoadBalancer"
        and old.load_balancer_class is not None
        and new.load_balancer_class != old.load_balancer_class
    ):
        yield invalid("spec.loadBalancerClass", new.load_balancer_class, "may not change once set")


def _has_node_ports(spec: ServiceSpec) -> bool:
    return spec.type in ("LoadBalancer", "NodePort")


def _with_node_ports_of(new: ServiceSpec, old: ServiceSpec) -> tuple[Any, ...]:
    given = {(port.protocol, port.port): port.node_port for port in old.ports}
    taken = {port.node_port for port in new.ports if port.node_port}
    made = []
    for port in new.ports:
        before = given.get((port.protocol, port.port), 0)
        is_free = before and before not in taken
        made.append(replace(port, node_port=before) if not port.node_port and is_free else port)
    return tuple(made)
