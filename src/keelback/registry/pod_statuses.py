"""What an update of a pod's status may say: a kubelet's report, kept from what cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from keelback.api import pods
from keelback.api.core_v1 import ContainerStatus, Pod, PodIP, PodStatus
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid
from keelback.apimachinery.meta import Value, replace
from keelback.registry.internal_forms import internal

_SYSTEM_CONDITIONS: Final = ("PodScheduled", "Ready", "Initialized")
_ONE_PER_FAMILY: Final = "may specify no more than one IP for each IP family"


def validate_update(new: Pod, old: Pod) -> Iterator[FieldError]:
    """Everything that an update of a status says and may not."""
    after, before = new.status, old.status
    for index, condition in enumerate(after.conditions):
        if condition.type not in _SYSTEM_CONDITIONS:
            for complaint in names.qualified_name(condition.type):
                # Upstream looks for the conditions in the metadata.
                yield invalid(f"metadata.conditions[{index}].Type", condition.type, complaint)
    nominated = after.nominated_node_name
    if nominated and nominated != before.nominated_node_name:
        for complaint in names.dns1123_subdomain(nominated):
            yield invalid("status.nominatedNodeName", nominated, complaint)
    if after.qos_class != before.qos_class:
        yield invalid("status.qosClass", after.qos_class, "field is immutable")
    yield from _transitions(new, old)
    yield from _claims(new)
    if after.pod_ips:
        kept = [one.ip for one in before.pod_ips]
        yield from _addresses([one.ip for one in after.pod_ips], after.pod_ips, kept, "status.podIPs")
    yield from _host_addresses(after, before)


def with_same_addresses(status: PodStatus) -> PodStatus:
    """A status whose podIP is the first of its podIPs: where they differ, the older field is right."""
    address, addresses = status.pod_ip, status.pod_ips
    first = addresses[0].ip if addresses else ""
    if address == first:
        return status
    if address:
        return replace(status, pod_ips=(PodIP(ip=address),))
    return replace(status, pod_ip=first)


def _transitions(new: Pod, old: Pod) -> Iterator[FieldError]:
    policy = old.spec.restart_policy
    sidecars = {one.name for one in old.spec.init_containers if pods.is_restartable_init(one)}
    # A container with rules of its own may be started again whatever the pod's policy says.
    ruled = {one.name for one in pods.all_containers(old.spec) if one.restart_policy is not None}
    after, before = new.status, old.status
    yield from _ends(after.container_statuses, before.container_statuses, policy, ruled, "containerStatuses")
    inits, old_inits = after.init_container_statuses, before.init_container_statuses
    yield from _ends(inits, old_inits, policy, ruled | sidecars, "initContainerStatuses")
    others, old_others = after.ephemeral_container_statuses, before.ephemeral_container_statuses
    yield from _ends(others, old_others, "Never", set(), "ephemeralContainerStatuses")


def _ends(
    after: Sequence[ContainerStatus], before: Sequence[ContainerStatus], policy: str, exempt: set[str], field: str
) -> Iterator[FieldError]:
    """The complaints about containers that have ended for good and are said to be alive again."""
    if policy == "Always":
        return
    for index, old in enumerate(before):
        ended = old.state.terminated
        if ended is None or old.name in exempt or (ended.exit_code != 0 and policy == "OnFailure"):
            continue
        for new in after:
            if new.name == old.name and new.state.terminated is None:
                yield forbidden(f"status.{field}[{index}].state", "may not be transitioned to non-terminated state")


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
