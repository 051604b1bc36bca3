"""What a pod's spec may say, in a pod and in the template of a workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from keelback.api import pods
from keelback.api.core_v1 import HostAlias, PodDNSConfig, PodResourceClaim, PodSpec, PodTemplateSpec, Volume
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required, too_long
from keelback.apimachinery.meta import ObjectMeta
from keelback.apimachinery.validation import annotation_map, label_map
from keelback.registry import (
    container_ports,
    container_resources,
    containers,
    environment,
    placement,
    pod_annotations,
    security_contexts,
    volumes,
    windows_options,
)
from keelback.registry.internal_forms import internal

RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION_POLICIES: Final = ("PreemptLowerPriority", "Never")
MAX_INT32: Final = 2**31 - 1
_MAX_SEARCH_LENGTH: Final = 2048
_MAX_HOSTNAME: Final = 64


def validate(template: PodTemplateSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a template of pods."""
    metadata = template.metadata or _NO_METADATA
    yield from label_map(metadata.labels, f"{path}.labels")
    yield from annotation_map(metadata.annotations, f"{path}.annotations")
    has_ours = pod_annotations.concern(metadata.annotations)
    if has_ours:
        yield from pod_annotations.validate(metadata.annotations, template.spec, f"{path}.annotations")
    yield from validate_spec(template.spec, None, f"{path}.spec")
    if has_ours:
        yield from pod_annotations.validate_agreement(metadata.annotations, template.spec, f"{path}.spec")
    if template.spec.ephemeral_containers:
        yield forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


_NO_METADATA: Final = ObjectMeta()


def validate_spec(spec: PodSpec, metadata: ObjectMeta | None, path: str) -> Iterator[FieldError]:
    """Everything wrong with a pod's spec. `metadata` is the pod's; a template gives none."""
    sound: dict[str, Volume] = {}
    if spec.volumes:
        yield from volumes.validate(spec.volumes, metadata, f"{path}.volumes", sound)
    if spec.resource_claims:
        yield from _claims(spec.resource_claims, metadata, f"{path}.resourceClaims")
    yield from _containers(spec, sound, path)
    if spec.resources is not None:
        yield from container_resources.validate_of_pod(spec, f"{path}.resources")
    if spec.host_network:
        yield from container_ports.validate_on_host_network(
            spec.containers, f"{path}.containers", is_pod=metadata is not None
        )
    yield from _policies(spec, path)
    if spec.node_selector:
        yield from label_map(spec.node_selector, f"{path}.nodeSelector")
    is_plain = security_contexts.is_of_no_concern(spec.security_context)
    if not is_plain or spec.share_process_namespace:
        yield from security_contexts.validate_of_pod(spec, f"{path}.securityContext")
    if spec.affinity is not None:
        yield from placement.validate_affinity(spec.affinity, f"{path}.affinity")
    if spec.dns_config is not None or spec.dns_policy == "None":
        yield from _dns_config(spec.dns_config, spec.dns_policy, f"{path}.dnsConfig")
    for index, gate in enumerate(spec.readiness_gates):
        for complaint in names.qualified_name(gate.condition_type):
            yield invalid(f"{path}.readinessGates[{index}].conditionType", gate.condition_type, complaint)
    if spec.scheduling_gates:
        yield from _scheduling_gates([one.name for one in spec.scheduling_gates], f"{path}.schedulingGates")
    if spec.topology_spread_constraints:
        yield from placement.validate_spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints")
    if not is_plain or any(one.security_context is not None for one in spec.containers):
        yield from windows_options.validate_host_process(spec, path)
    yield from security_contexts.validate_host_users(spec, path)
    if spec.hostname_override is not None:
        yield from _hostname_override(spec, spec.hostname_override, f"{path}.hostnameOverride")
    yield from _names(spec, path)
    yield from environment.validate_files(spec, path)


def _containers(spec: PodSpec, sound: Mapping[str, Volume], path: str) -> Iterator[FieldError]:
    pod = containers.Surroundings(
        volumes=sound,
        claims=frozenset(one.name for one in spec.resource_claims if one.name),
        grace_period_seconds=spec.termination_grace_period_seconds,
        restart_policy=spec.restart_policy,
        has_host_users=spec.host_users is not False,
    )
    yield from containers.validate_containers(spec.containers, pod, f"{path}.containers")
    if spec.init_containers:
        yield from containers.validate_init_containers(
            spec.init_containers, spec.containers, pod, f"{path}.initContainers"
        )
    if spec.ephemeral_containers:
        others = (*spec.containers, *spec.init_containers)
        yield from containers.validate_ephemeral_containers(
            spec.ephemeral_containers, others, pod, f"{path}.ephemeralContainers"
        )


def _claims(claims: Sequence[PodResourceClaim], metadata: ObjectMeta | None, path: str) -> Iterator[FieldError]:
    if metadata is not None and pods.MIRROR_ANNOTATION in metadata.annotations:
        for _ in claims:
            yield forbidden("", "static pods do not support resource claims")
        return
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        here = f"{path}[{index}]"
        if not claim.name:
            yield required(f"{here}.name")
        elif claim.name in seen:
            yield duplicate(f"{here}.name", claim.name)
        else:
            for complaint in names.dns1123_label(claim.name):
                yield invalid(f"{here}.name", claim.name, complaint)
        seen.add(claim.name)
        name, template = claim.resource_claim_name, claim.resource_claim_template_name
        if name is not None and template is not None:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield invalid(here, internal(claim), why)
        if name is None and template is None:
            why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield invalid(here, internal(claim), why)
        for field, value in (("resourceClaimName", name), ("resourceClaimTemplateName", template)):
            for complaint in names.dns1123_subdomain(value) if value is not None else ():
                yield invalid(f"{here}.{field}", value, complaint)


def _policies(spec: PodSpec, path: str) -> Iterator[FieldError]:
    if spec.restart_policy not in RESTART_POLICIES:
        yield not_supported(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES, in_given_order=True)
    if spec.dns_policy not in _DNS_POLICIES:
        yield not_supported(f"{path}.dnsPolicy", spec.dns_policy, _DNS_POLICIES, in_given_order=True)


def _dns_config(config: PodDNSConfig | None, policy: str, path: str) -> Iterator[FieldError]:
    if config is None:
        yield required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        return
    if policy == "None" and not config.nameservers:
        yield required(f"{path}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
        return
    if len(config.nameservers) > 3:
        yield invalid(f"{path}.nameservers", list(config.nameservers), "must not have more than 3 nameservers")
    for index, server in enumerate(config.nameservers):
        for complaint in addresses.ip_address(server):
            yield invalid(f"{path}.nameservers[{index}]", server, complaint)
    if len(config.searches) > 32:
        yield invalid(f"{path}.searches", list(config.searches), "must not have more than 32 search paths")
    if len(" ".join(config.searches)) > _MAX_SEARCH_LENGTH:
        why = f"must not have more than {_MAX_SEARCH_LENGTH} characters (including spaces) in the search list"
        yield invalid(f"{path}.searches", list(config.searches), why)
    for index, search in enumerate(config.searches):
        if search != ".":
            domain = search.removesuffix(".")
            for complaint in names.dns1123_subdomain_with_underscore(domain):
                yield invalid(f"{path}.searches[{index}]", domain, complaint)
    for index, option in enumerate(config.options):
        if not option.name:
            yield required(f"{path}.options[{index}]", "must not be empty")


def _scheduling_gates(gates: Sequence[str], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        for complaint in names.qualified_name(gate):
            yield invalid(f"{path}[{index}]", gate, complaint)
        if gate in seen:
            yield duplicate(f"{path}[{index}]", gate)
        seen.add(gate)


def _names(spec: PodSpec, path: str) -> Iterator[FieldError]:
    for field, value in (("serviceAccountName", spec.service_account_name), ("nodeName", spec.node_name)):
        for complaint in names.dns1123_subdomain(value) if value else ():
            yield invalid(f"{path}.{field}", value, complaint)
    deadline = spec.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        yield invalid(f"{path}.activeDeadlineSeconds", deadline, names.inclusive_range_error(1, MAX_INT32))
    for field, value in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        for complaint in names.dns1123_label(value) if value else ():
            yield invalid(f"{path}.{field}", value, complaint)
    if spec.tolerations:
        yield from placement.validate_tolerations(spec.tolerations, f"{path}.tolerations")
    if spec.host_aliases:
        yield from _host_aliases(spec.host_aliases, f"{path}.hostAliases")
    if spec.priority_class_name:
        for complaint in names.dns1123_subdomain(spec.priority_class_name):
            yield invalid(f"{path}.priorityClassName", spec.priority_class_name, complaint)
    if spec.runtime_class_name is not None:
        for complaint in names.dns1123_subdomain(spec.runtime_class_name):
            yield invalid(f"{path}.runtimeClassName", spec.runtime_class_name, complaint)
    preemption = spec.preemption_policy
    if preemption is not None and preemption not in _PREEMPTION_POLICIES:
        yield not_supported(f"{path}.preemptionPolicy", preemption, _PREEMPTION_POLICIES, in_given_order=True)
    if spec.overhead:
        yield from container_resources.validate_overhead(spec.overhead, f"{path}.overhead")
    if spec.os is not None:
        yield from windows_options.validate_os(spec, path)


def _hostname_override(spec: PodSpec, name: str, path: str) -> Iterator[FieldError]:
    # There is one host name: on the host's network it is the host's (KEP-4762).
    if spec.set_hostname_as_fqdn:
        yield forbidden(path, "may not be specified when setHostnameAsFQDN is true")
    if spec.host_network:
        yield forbidden(path, "may not be specified when hostNetwork is true")
    if len(name) > _MAX_HOSTNAME:
        yield too_long(path, _MAX_HOSTNAME)
    for complaint in names.dns1123_subdomain(name):
        yield invalid(path, name, complaint)


def _host_aliases(aliases: Sequence[HostAlias], path: str) -> Iterator[FieldError]:
    for index, alias in enumerate(aliases):
        for complaint in addresses.ip_address(alias.ip):
            yield invalid(f"{path}[{index}].ip", alias.ip, complaint)
        for place, hostname in enumerate(alias.hostnames):
            for complaint in names.dns1123_subdomain(hostname):
                yield invalid(f"{path}[{index}].hostnames[{place}]", hostname, complaint)
