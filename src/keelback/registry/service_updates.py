"""What an update of a service keeps of what was given to it, and what it may not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from keelback.api.core_v1 import ServiceSpec
from keelback.apimachinery.errors import FieldError, forbidden, invalid
from keelback.apimachinery.meta import replace
from keelback.registry.service_specs import is_headless, needs_health_check, validate_class


def with_allocations_of(new: ServiceSpec, old: ServiceSpec) -> ServiceSpec:
    """The spec with the addresses and ports that were given to the old one, where the client left them out.

    What only the old type had is dropped, unless the client says otherwise (upstream's dropTypeDependentFields).
    """
    changes: dict[str, Any] = {}
    if new.cluster_ip and new.cluster_ip != old.cluster_ip and new.cluster_ips == old.cluster_ips:
        # Whoever knows only the older field means both (upstream's NormalizeClusterIPs).
        new = replace(new, cluster_ips=(new.cluster_ip,))
    elif new.cluster_ip and not new.cluster_ips and new.cluster_ip != old.cluster_ip:
        new = replace(new, cluster_ips=(new.cluster_ip,))
    if new.ip_family_policy == "SingleStack" and old.ip_family_policy not in (None, "SingleStack"):
        # Giving up the second family takes no more than to say so (upstream's trimFieldsForDualStackDowngrade).
        if len(new.cluster_ips) == 2 and new.cluster_ips == old.cluster_ips:
            new = replace(new, cluster_ips=new.cluster_ips[:1])
        if len(new.ip_families) == 2 and new.ip_families == old.ip_families:
            new = replace(new, ip_families=new.ip_families[:1])
    if new.type == "ExternalName":
        changes |= _without_addresses(new, old) if old.type != "ExternalName" else {}
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


def _without_addresses(new: ServiceSpec, old: ServiceSpec) -> dict[str, Any]:
    """What a service loses that becomes a mere name, as far as the client left it as it was."""
    changes: dict[str, Any] = {}
    if (new.cluster_ip, new.cluster_ips) == (old.cluster_ip, old.cluster_ips):
        changes |= {"cluster_ip": "", "cluster_ips": ()}
    if new.ip_families == old.ip_families:
        changes["ip_families"] = ()
    if new.ip_family_policy == old.ip_family_policy:
        changes["ip_family_policy"] = None
    return changes


def validate(new: ServiceSpec, old: ServiceSpec) -> Iterator[FieldError]:
    """Everything that an update changes and may not: a service keeps its first address while it has one."""
    if "ExternalName" not in (new.type, old.type):
        yield from _addresses(new, old)
        yield from _families(new, old)
    if new.type == old.type == "LoadBalancer" and new.load_balancer_class != old.load_balancer_class:
        yield invalid("spec.loadBalancerClass", new.load_balancer_class, _ONCE)
    yield from validate_class(new, "spec.loadBalancerClass")
    if needs_health_check(old) and needs_health_check(new) and new.health_check_node_port != old.health_check_node_port:
        yield forbidden("spec.healthCheckNodePort", "field is immutable")


_ONCE: Final = "may not change once set"


def _addresses(new: ServiceSpec, old: ServiceSpec) -> Iterator[FieldError]:
    if is_headless(new) and is_headless(old):
        return
    after, before = list(new.cluster_ips), list(old.cluster_ips)
    if len(after) == len(before):
        for index, address in enumerate(before):
            if after[index] != address:
                yield invalid(f"spec.clusterIPs[{index}]", after, _ONCE)
        return
    if len(after) < len(before) and not after:
        yield invalid("spec.clusterIPs[0]", None, "primary clusterIP can not be unset")
    if after and before and after[0] != before[0]:
        yield invalid("spec.clusterIPs[0]", after, _ONCE)
    if len(before) > len(after) == 1 and new.ip_family_policy != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        yield invalid("spec.ipFamilyPolicy", new.ip_family_policy, why)


def _families(new: ServiceSpec, old: ServiceSpec) -> Iterator[FieldError]:
    if is_headless(new) or is_headless(old):
        return
    after, before, path = list(new.ip_families), list(old.ip_families), "spec.ipFamilies[0]"
    if len(after) == len(before):
        for index, family in enumerate(before):
            if after[index] != family:
                yield invalid(path, after, _ONCE)
        return
    if len(after) < len(before) and not new.cluster_ips:
        yield invalid(path, after or None, "primary ipFamily can not be unset")
    if after and before and after[0] != before[0]:
        # Upstream shows the addresses.
        yield invalid(path, list(new.cluster_ips), _ONCE)
    if len(before) > len(after) == 1 and new.ip_family_policy != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield invalid("spec.ipFamilyPolicy", new.ip_family_policy, why)


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
