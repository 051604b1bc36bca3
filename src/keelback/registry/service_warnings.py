"""What a service may say and had better not."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from keelback.api.core_v1 import Service
from keelback.registry import service_specs
from keelback.registry.service_specs import HEADLESS


def of_service(service: Service) -> Iterator[str]:
    """The warnings about a service."""
    spec = service.spec
    if service_specs.TOPOLOGY_HINTS_ANNOTATION in service.metadata.annotations:
        yield (
            f"annotation {service_specs.TOPOLOGY_HINTS_ANNOTATION} is deprecated, please use "
            f"{service_specs.TOPOLOGY_MODE_ANNOTATION} instead"
        )
    is_headless = spec.type == "ClusterIP" and spec.cluster_ip == HEADLESS
    if not is_headless:
        for index, address in enumerate(spec.cluster_ips):
            yield from of_address(address, f"spec.clusterIPs[{index}]")
    else:
        for is_set, field in (
            (spec.load_balancer_ip, "loadBalancerIP"),
            (spec.external_ips, "externalIPs"),
            (spec.session_affinity != "None", "SessionAffinity"),
        ):
            if is_set:
                yield f"spec.{field} is ignored for headless services"
    for index, address in enumerate(spec.external_ips):
        yield from of_address(address, f"spec.externalIPs[{index}]")
    if spec.load_balancer_ip:
        yield from of_address(spec.load_balancer_ip, "spec.loadBalancerIP")
    for index, subnet in enumerate(spec.load_balancer_source_ranges):
        yield from of_subnet(subnet, f"spec.loadBalancerSourceRanges[{index}]")
    if spec.type == "ExternalName" and spec.external_ips:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if spec.type != "ExternalName" and spec.external_name:
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'


def of_address(address: str, path: str) -> Iterator[str]:
    """The warning about an address that is not written as it would be printed."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        yield f"{path}: IPv4-mapped IPv6 address; use {str(parsed.ipv4_mapped)!r} instead".replace("'", '"')
    elif str(parsed) != address:
        yield f'{path}: IPv6 address should be in RFC 5952 canonical format ("{parsed}")'


def of_subnet(subnet: str, path: str) -> Iterator[str]:
    """The warning about a subnet with bits set beyond its prefix, or not written as it would be printed."""
    try:
        interface = ipaddress.ip_interface(subnet.strip())
    except ValueError:
        return
    if interface.ip != interface.network.network_address:
        shown = f'use "{interface.network}" or "{interface.ip}" instead'
        yield f'{path}: CIDR value "{subnet.strip()}" is ambiguous in this context ({shown})'
    elif str(interface) != subnet.strip():
        yield f'{path}: IPv6 CIDR value should be in RFC 5952 canonical format ("{interface.network}")'
