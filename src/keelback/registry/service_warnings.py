"""What a service may say and had better not."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import Service
from keelback.apimachinery import addresses
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
            yield from addresses.warnings_for_ip(address, f"spec.clusterIPs[{index}]")
    else:
        for is_set, field in (
            (spec.load_balancer_ip, "loadBalancerIP"),
            (spec.external_ips, "externalIPs"),
            (spec.session_affinity != "None", "SessionAffinity"),
        ):
            if is_set:
                yield f"spec.{field} is ignored for headless services"
    for index, address in enumerate(spec.external_ips):
        yield from addresses.warnings_for_ip(address, f"spec.externalIPs[{index}]")
    if spec.external_ips and not is_headless and spec.type != "ExternalName":
        yield "spec.externalIPs is deprecated"
    if spec.load_balancer_ip:
        yield from addresses.warnings_for_ip(spec.load_balancer_ip, "spec.loadBalancerIP")
    for index, subnet in enumerate(spec.load_balancer_source_ranges):
        yield from addresses.warnings_for_cidr(subnet, f"spec.loadBalancerSourceRanges[{index}]")
    if spec.type == "ExternalName" and spec.external_ips:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if spec.type != "ExternalName" and spec.external_name:
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.traffic_distribution == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'
