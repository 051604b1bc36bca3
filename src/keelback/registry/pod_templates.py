"""What a pod's spec may say, in a pod and in the template of a workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api.core_v1 import PodDNSConfig, PodSpec, PodTemplateSpec
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import ObjectMeta
from keelback.apimachinery.validation import annotation_map, finalizers, label_map
from keelback.registry import containers, placement, security_contexts, volumes

RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
_DNS_POLICIES: Final = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
MAX_INT32: Final = 2**31 - 1


def validate(template: PodTemplateSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a template of pods."""
    metadata = template.metadata or ObjectMeta()
    yield from label_map(metadata.labels, f"{path}.labels")
    yield from annotation_map(metadata.annotations, f"{path}.annotations")
    yield from finalizers(metadata.finalizers, f"{path}.finalizers")
    yield from validate_spec(template.spec, f"{path}.spec")
    if template.spec.ephemeral_containers:
        yield forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def validate_spec(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a pod's spec."""
    if spec.volumes:
        yield from volumes.validate(spec.volumes, f"{path}.volumes")
    known = {volume.name for volume in spec.volumes}
    taken: set[str] = set()
    yield from containers.validate_containers(
        spec.containers, known, f"{path}.containers", taken, host_network=spec.host_network
    )
    if spec.init_containers:
        yield from containers.validate_init_containers(
            spec.init_containers, known, f"{path}.initContainers", taken, host_network=spec.host_network
        )
    if spec.ephemeral_containers:
        yield from containers.validate_ephemeral_containers(
            spec.ephemeral_containers, known, f"{path}.ephemeralContainers", taken, set(taken)
        )
    yield from _policies(spec, path)
    yield from _names(spec, path)
    if spec.node_selector:
        yield from label_map(spec.node_selector, f"{path}.nodeSelector")
    if spec.security_context is not _NO_CONTEXT:
        yield from security_contexts.validate_of_pod(spec.security_context, f"{path}.securityContext")
    if spec.tolerations:
        yield from placement.validate_tolerations(spec.tolerations, f"{path}.tolerations")
    if spec.affinity is not None:
        yield from placement.validate_affinity(spec.affinity, f"{path}.affinity")
    if spec.topology_spread_constraints:
        yield from placement.validate_spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints")
    yield from _lists(spec, path)


_NO_CONTEXT: Final = PodSpec().security_context


def _policies(spec: PodSpec, path: str) -> Iterator[FieldError]:
    if not spec.restart_policy:
        yield required(f"{path}.restartPolicy")
    elif spec.restart_policy not in RESTART_POLICIES:
        yield not_supported(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES)
    if not spec.dns_policy:
        yield required(f"{path}.dnsPolicy")
    elif spec.dns_policy not in _DNS_POLICIES:
        yield not_supported(f"{path}.dnsPolicy", spec.dns_policy, _DNS_POLICIES)
    if spec.dns_policy == "None" and (spec.dns_config is None or not spec.dns_config.nameservers):
        where = f"{path}.dnsConfig" if spec.dns_config is None else f"{path}.dnsConfig.nameservers"
        yield required(where, "must provide at least one DNS nameserver when `dnsPolicy` is None")
    if spec.dns_config is not None:
        yield from _dns_config(spec.dns_config, f"{path}.dnsConfig")
    deadline = spec.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        yield invalid(f"{path}.activeDeadlineSeconds", deadline, names.inclusive_range_error(1, MAX_INT32))


def _dns_config(config: PodDNSConfig, path: str) -> Iterator[FieldError]:
    if len(config.nameservers) > 3:
        yield invalid(f"{path}.nameservers", list(config.nameservers), "must not have more than 3 nameservers")
    for index, server in enumerate(config.nameservers):
        for complaint in names.ip_address(server):
            yield invalid(f"{path}.nameservers[{index}]", server, complaint)
    if len(config.searches) > 32:
        yield invalid(f"{path}.searches", list(config.searches), "must not have more than 32 search paths")
    for index, option in enumerate(config.options):
        if not option.name:
            yield required(f"{path}.options[{index}]", "must not be empty")


def _names(spec: PodSpec, path: str) -> Iterator[FieldError]:
    for field, value, complaints in (
        ("serviceAccountName", spec.service_account_name, names.dns1123_subdomain),
        ("nodeName", spec.node_name, names.dns1123_subdomain),
        ("hostname", spec.hostname, names.dns1123_label),
        ("subdomain", spec.subdomain, names.dns1123_label),
        ("priorityClassName", spec.priority_class_name, names.dns1123_subdomain),
        ("runtimeClassName", spec.runtime_class_name, names.dns1123_subdomain),
    ):
        if value:
            for complaint in complaints(value):
                yield invalid(f"{path}.{field}", value, complaint)
    if spec.scheduler_name:
        for complaint in names.qualified_name(spec.scheduler_name):
            yield invalid(f"{path}.schedulerName", spec.scheduler_name, complaint)


def _lists(spec: PodSpec, path: str) -> Iterator[FieldError]:
    for index, alias in enumerate(spec.host_aliases):
        for complaint in names.ip_address(alias.ip):
            yield invalid(f"{path}.hostAliases[{index}].ip", alias.ip, complaint)
    yield from _unique([one.name for one in spec.scheduling_gates], f"{path}.schedulingGates")
    for index, gate in enumerate(spec.readiness_gates):
        for complaint in names.qualified_name(gate.condition_type):
            yield invalid(f"{path}.readinessGates[{index}].conditionType", gate.condition_type, complaint)
    if spec.os is not None and spec.os.name not in ("linux", "windows"):
        if not spec.os.name:
            yield required(f"{path}.os.name", "cannot be empty")
        else:
            yield not_supported(f"{path}.os", spec.os.name, ("linux", "windows"))
    if spec.share_process_namespace and spec.host_pid:
        yield invalid(
            f"{path}.shareProcessNamespace",
            spec.share_process_namespace,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        )


def _unique(values: Sequence[str], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        for complaint in names.qualified_name(value):
            yield invalid(f"{path}[{index}]", value, complaint)
        if value in seen:
            yield duplicate(f"{path}[{index}]", value)
        seen.add(value)
