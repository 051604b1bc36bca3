"""What an update of a pod's status may say: a kubelet's report, kept from what cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from keelback.api import pods
from keelback.api.core_v1 import Pod, PodExtendedResourceClaimStatus, PodIP, PodSpec, PodStatus
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, required
from keelback.apimachinery.meta import Value, replace
from keelback.registry import container_statuses
from keelback.registry.internal_forms import internal

_SYSTEM_CONDITIONS: Final = ("PodScheduled", "Ready", "Initialized")
_NOT_NEGATIVE: Final = "must be a non-negative integer"
_ONE_PER_FAMILY: Final = "may specify no more than one IP for each IP family"


def validate_update(new: Pod, old: Pod) -> Iterator[FieldError]:
    """Everything that an update of a status says and may not."""
    after, before = new.status, old.status
    for index, condition in enumerate(after.conditions):
        here = f"status.conditions[{index}]"
        if condition.observed_generation < 0:
            yield invalid(f"{here}.observedGeneration", condition.observed_generation, _NOT_NEGATIVE)
        if condition.type not in _SYSTEM_CONDITIONS:
            for complaint in names.qualified_name(condition.type):
                yield invalid(f"{here}.Type", condition.type, complaint)
    nominated = after.nominated_node_name
    if nominated and nominated != before.nominated_node_name:
        for complaint in names.dns1123_subdomain(nominated):
            yield invalid("status.nominatedNodeName", nominated, complaint)
        if old.spec.node_name:
            yield forbidden("status.nominatedNodeName", "may not be set on pods that are already bound to a node")
    if after.observed_generation < 0:
        yield invalid("status.observedGeneration", after.observed_generation, _NOT_NEGATIVE)
    if after.qos_class != before.qos_class:
        yield invalid("status.qosClass", after.qos_class, "field is immutable")
    yield from container_statuses.validate_transitions(new, old)
    yield from _claims(new)
    if after.extended_resource_claim_status is not None:
        yield from _extended_resources(after.extended_resource_claim_status, new.spec)
    if after.pod_ips:
        kept = [one.ip for one in before.pod_ips]
        yield from _addresses([one.ip for one in after.pod_ips], after.pod_ips, kept, "status.podIPs")
    yield from _host_addresses(after, before)
    yield from container_statuses.validate(new)


def with_same_addresses(status: PodStatus) -> PodStatus:
    """A status whose podIP is the first of its podIPs: where they differ, the older field is right."""
    address, addresses = status.pod_ip, status.pod_ips
    first = addresses[0].ip if addresses else ""
    if address == first:
        return status
    if address:
        return replace(status, pod_ips=(PodIP(ip=address),))
    return replace(status, pod_ip=first)


def with_what_was_left_out(status: PodStatus, before: PodStatus) -> PodStatus:
    """A status with the class and the generations that reporters of old leave out."""
    changes: dict[str, Any] = {}
    if not status.qos_class:
        changes["qos_class"] = before.qos_class
    if not status.observed_generation and before.observed_generation:
        changes["observed_generation"] = before.observed_generation
    observed = {one.type: one.observed_generation for one in before.conditions if one.observed_generation}
    if any(not one.observed_generation and one.type in observed for one in status.conditions):
        changes["conditions"] = tuple(
            one if one.observed_generation else replace(one, observed_generation=observed.get(one.type, 0))
            for one in status.conditions
        )
    return replace(status, **changes) if changes else status


def _claims(pod: Pod) -> Iterator[FieldError]:
    known = {one.name for one in pod.spec.resource_claims}
    seen: set[str] = set()
    for index, status in enumerate(pod.status.resource_claim_statuses):
        here = f"status.resourceClaimStatuses[{index}].name"
        if status.name not in known:
            yield invalid(here, status.name, "must match the name of an entry in `spec.resourceClaims`")
        if status.name in seen:
            yield duplicate(here, status.name)
        seen.add(status.name)
        if status.resource_claim_name is not None:
            for complaint in names.dns1123_subdomain(status.resource_claim_name):
                yield invalid(here, status.resource_claim_name, complaint)


def _extended_resources(claim: PodExtendedResourceClaimStatus, spec: PodSpec) -> Iterator[FieldError]:
    path = "status.extendedResourceClaimStatus"
    containers = {one.name: one for one in pods.all_containers(spec)}
    if not claim.request_mappings:
        yield required(f"{path}.requestMappings", "at least one request mapping is required")
    seen = set()
    for index, mapping in enumerate(claim.request_mappings):
        here = f"{path}.requestMappings[{index}]"
        container = containers.get(mapping.container_name)
        if container is None:
            why = "must match the name of an entry in spec.initContainers.name or spec.containers.name"
            yield invalid(f"{here}.containerName", mapping.container_name, why)
        elif mapping.resource_name not in container.resources.requests:
            why = (
                "must match the extended resource name of an entry in spec.initContainers.resources.requests or "
                "spec.containers.resources.requests"
            )
            yield invalid(f"{here}.resourceName", mapping.resource_name, why)
        for complaint in names.dns1123_label(mapping.request_name):
            # Upstream does not say which of the mappings.
            yield invalid(f"{path}.requestName", mapping.request_name, complaint)
        if mapping in seen:
            yield duplicate(f"{here}.containerName", mapping.container_name)
            yield duplicate(f"{here}.resourceName", mapping.resource_name)
            yield duplicate(f"{here}.requestName", mapping.request_name)
        seen.add(mapping)
    if not claim.resource_claim_name:
        yield required(f"{path}.resourceClaimName")
    else:
        for complaint in names.dns1123_subdomain(claim.resource_claim_name):
            yield invalid(f"{path}.resourceClaimName", claim.resource_claim_name, complaint)


def _host_addresses(after: PodStatus, before: PodStatus) -> Iterator[FieldError]:
    if not after.host_ips:
        return
    if after.host_ip != after.host_ips[0].ip:
        yield invalid("status.hostIPs[0].ip", after.host_ips[0].ip, "must be equal to `hostIP`")
    kept = [one.ip for one in before.host_ips]
    yield from _addresses([one.ip for one in after.host_ips], after.host_ips, kept, "status.hostIPs")


def _addresses(
    given: Sequence[str], shown: tuple[Value, ...], kept: Collection[str], path: str
) -> Iterator[FieldError]:
    for index, address in enumerate(given):
        for complaint in addresses.ip_address(address, kept):
            yield invalid(f"{path}[{index}]", address, complaint)
    if len(given) > 1 and sorted(map(addresses.family, given)) != [4, 6]:
        yield invalid(path, internal(shown), _ONE_PER_FAMILY)
