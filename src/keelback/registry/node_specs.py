"""What a node may say, and what may change in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api.core_v1 import ConfigMapNodeConfigSource, Node, NodeConfigSource, NodeSpec, NodeStatus, Taint
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import DUPLICATE, FieldError, duplicate, forbidden, invalid, required
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import replace
from keelback.registry import container_resources, placement
from keelback.registry.internal_forms import internal

_is_feature: Final = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z0-9]+)*").fullmatch
_FEATURE_FORM: Final = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
    "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)
_ONE_SUBFIELD: Final = "exactly one reference subfield must be non-nil"


def validate(node: Node) -> Iterator[FieldError]:
    """Everything wrong with a node."""
    yield from _taints(node.spec.taints)
    yield from _resources(node)
    yield from _status(node.status)
    cidrs = node.spec.pod_cidrs
    for index, cidr in enumerate(cidrs):
        for complaint in addresses.cidr(cidr):
            yield invalid(f"spec.podCIDRs[{index}]", cidr, complaint)
    families = {found.version for found in map(addresses.subnet, cidrs) if found is not None}
    if len(cidrs) > 2 or (len(cidrs) == 2 and len(families) < 2):
        yield invalid("spec.podCIDRs", list(cidrs), "may specify no more than one CIDR for each IP family")


def validate_update(new: Node, old: Node) -> Iterator[FieldError]:
    """Everything wrong with a change of a node, or of its status."""
    yield from _resources(new)
    yield from _declared_features(new.status.declared_features, "status.declaredFeatures")
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(new.status.addresses):
        if (address.type, address.address) in seen:
            yield duplicate(f"status.addresses[{index}]", internal(address))
        seen.add((address.type, address.address))
    yield from _assigned_subnets(new.spec.pod_cidrs, old.spec.pod_cidrs)
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
    if new.spec.config_source is not None:
        yield from _config_source(new.spec.config_source, "spec.configSource", in_status=False)
    config = new.status.config
    for field, source in (
        (("assigned", config.assigned), ("active", config.active), ("lastKnownGood", config.last_known_good))
        if config is not None
        else ()
    ):
        if source is not None:
            yield from _config_source(source, f"status.config.{field}", in_status=True)
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


def _assigned_subnets(after: Sequence[str], before: Sequence[str]) -> Iterator[FieldError]:
    if not before:
        return
    changes = 1 if len(after) != len(before) else sum(new != old for new, old in zip(after, before, strict=True))
    for _ in range(changes):
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')


def _status(status: NodeStatus) -> Iterator[FieldError]:
    swap = status.node_info.swap
    if swap is not None and swap.capacity is not None and swap.capacity <= 0:
        # Upstream looks for it in the metadata.
        yield invalid("metadata.nodeSwapStatus.capacity", swap.capacity, "must be greater than zero")
    yield from _declared_features(status.declared_features, "status.declaredFeatures")


def _declared_features(features: Sequence[str], path: str) -> Iterator[FieldError]:
    for index, feature in enumerate(features):
        if len(feature.encode()) > names.DNS1123_SUBDOMAIN_MAX_LENGTH:
            why = f"must be no more than {names.DNS1123_SUBDOMAIN_MAX_LENGTH} characters"
            yield invalid(f"{path}[{index}]", feature, f"invalid feature name {go_quoted(feature)}: {why}")
        elif not _is_feature(feature):
            yield invalid(f"{path}[{index}]", feature, f"invalid feature name {go_quoted(feature)}: {_FEATURE_FORM}")
        after = features[index + 1] if index + 1 < len(features) else None
        if after == feature:
            yield duplicate(f"{path}[{index + 1}]", after)
        elif after is not None and after < feature:
            yield invalid(f"{path}[{index + 1}]", after, "list must be sorted alphabetically")


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


def _config_source(source: NodeConfigSource, path: str, *, in_status: bool) -> Iterator[FieldError]:
    if source.config_map is None:
        yield invalid(path, internal(source), _ONE_SUBFIELD)
    else:
        yield from _config_map(source.config_map, f"{path}.configMap", in_status=in_status)


def _config_map(source: ConfigMapNodeConfigSource, path: str, *, in_status: bool) -> Iterator[FieldError]:
    for field, value in (("uid", source.uid), ("resourceVersion", source.resource_version)):
        if in_status and not value:
            yield required(f"{path}.{field}")
        elif value and not in_status:
            yield forbidden(f"{path}.{field}", f"{field} must not be set in spec")
    for field, value, complaints in (
        ("namespace", source.namespace, names.dns1123_label),
        ("name", source.name, names.dns1123_subdomain),
        ("kubeletConfigKey", source.kubelet_config_key, names.config_map_key),
    ):
        if not value:
            yield required(f"{path}.{field}")
        else:
            for complaint in complaints(value):
                yield invalid(f"{path}.{field}", value, complaint)
