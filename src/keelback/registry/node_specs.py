"""What a node may say, and what may change in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api.core_v1 import ConfigMapNodeConfigSource, Node, NodeConfigSource, NodeSpec, Taint
from keelback.apimachinery import names
from keelback.apimachinery.errors import DUPLICATE, FieldError, duplicate, forbidden, invalid, required
from keelback.apimachinery.meta import replace
from keelback.registry import container_resources, placement
from keelback.registry.internal_forms import internal

_ONE_SUBFIELD: Final = "exactly one reference subfield must be non-nil"


def validate(node: Node) -> Iterator[FieldError]:
    """Everything wrong with a node."""
    yield from _taints(node.spec.taints)
    yield from _resources(node)
    cidrs = node.spec.pod_cidrs
    for index, cidr in enumerate(cidrs):
        for complaint in names.cidr(cidr):
            yield invalid(f"spec.podCIDRs[{index}]", cidr, complaint)
    if len(cidrs) > 1:
        if len(cidrs) > 2 or len({_family(one) for one in cidrs}) < 2:
            yield invalid("spec.podCIDRs", list(cidrs), "may specify no more than one CIDR for each IP family")
        for index, cidr in enumerate(cidrs):
            if cidr in cidrs[:index]:
                yield duplicate(f"spec.podCIDRs[{index}]", cidr)


def validate_update(new: Node, old: Node) -> Iterator[FieldError]:
    """Everything wrong with a change of a node, or of its status."""
    yield from _resources(new)
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(new.status.addresses):
        if (address.type, address.address) in seen:
            yield duplicate(f"status.addresses[{index}]", internal(address))
        seen.add((address.type, address.address))
    if old.spec.pod_cidrs and new.spec.pod_cidrs != old.spec.pod_cidrs:
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
    if new.spec.config_source is not None:
        yield from _config_source(new.spec.config_source, "spec.configSource")
    yield from _taints(new.spec.taints)
    if new.spec.external_id != old.spec.external_id:
        yield forbidden("spec.externalID", "may not be updated")


def with_same_subnets(spec: NodeSpec) -> NodeSpec:
    """A spec whose podCIDR is the first of its podCIDRs: where they differ, the older field is right."""
    subnet, subnets = spec.pod_cidr, spec.pod_cidrs
    first = subnets[0] if subnets else ""
    if subnet == first:
        return spec
    return replace(spec, pod_cidrs=(subnet,)) if subnet else replace(spec, pod_cidr=first)


def _family(cidr: str) -> int:
    try:
        return ipaddress.ip_interface(cidr).version
    except ValueError:
        return 0


def _taints(taints: Sequence[Taint]) -> Iterator[FieldError]:
    """Upstream looks for the taints in the metadata."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        here = f"metadata.taints[{index}]"
        for complaint in names.qualified_name(taint.key):
            yield invalid(f"{here}.key", taint.key, complaint)
        complaints = names.label_value(taint.value)
        if complaints:
            yield invalid(f"{here}.value", taint.value, ";".join(complaints))
        if not taint.effect:
            yield required(f"{here}.effect")
        else:
            yield from placement.validate_effect(taint.effect, f"{here}.effect")
        if (taint.key, taint.effect) in seen:
            yield FieldError(here, DUPLICATE, "taints must be unique by key and effect pair", internal(taint))
        seen.add((taint.key, taint.effect))


def _resources(node: Node) -> Iterator[FieldError]:
    for field, held in (("capacity", node.status.capacity), ("allocatable", node.status.allocatable)):
        for name, amount in held.items():
            yield from container_resources.validate_amount(name, amount, f"status.{field}.{name}")


def _config_source(source: NodeConfigSource, path: str) -> Iterator[FieldError]:
    if source.config_map is None:
        yield invalid(path, internal(source), _ONE_SUBFIELD)
    else:
        yield from _config_map(source.config_map, f"{path}.configMap")


def _config_map(source: ConfigMapNodeConfigSource, path: str) -> Iterator[FieldError]:
    if source.uid:
        yield forbidden(f"{path}.uid", "uid must not be set in spec")
    if source.resource_version:
        yield forbidden(f"{path}.resourceVersion", "resourceVersion must not be set in spec")
    for field, value, complaints in (
        ("namespace", source.namespace, names.dns1123_label),
        ("name", source.name, names.dns1123_subdomain),
        ("kubeletConfigKey", source.kubelet_config_key, names.config_map_key),
    ):
        if not value:
            yield required(f"{path}.{field}", f"{field} must be set")
        else:
            for complaint in complaints(value):
                yield invalid(f"{path}.{field}", value, complaint)
