"""What a pod or template may say and had better not: warnings beside the answer, never a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from keelback.api.core_v1 import (
    Affinity,
    Container,
    ContainerPort,
    EnvVar,
    EphemeralContainer,
    Pod,
    PodAffinity,
    PodAntiAffinity,
    PodSpec,
    PodTemplateSpec,
    Volume,
    VolumeProjection,
)
from keelback.apimachinery import names, quantity
from keelback.apimachinery.meta import ObjectMeta
from keelback.apimachinery.remembered import remembered
from keelback.registry import claim_warnings, node_label_warnings, pod_annotations, windows_options

_DEPRECATED_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_DEPRECATED_VOLUMES: Final = (
    ("photon_persistent_disk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("git_repo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scale_io", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
)
_BYTES: Final = ("memory", "ephemeral-storage")
_PICKS_NOTHING: Final = "a null labelSelector results in matching no pod"


def of_pod(pod: Pod) -> Iterator[str]:
    """The warnings about a new pod."""
    complaints = names.dns1123_label(pod.metadata.name)
    if complaints:
        yield (
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label "
            f"is recommended: [{' '.join(complaints)}]"
        )
    yield from _of(pod.spec, pod.metadata, "") if pod.metadata.annotations else _of_spec(pod.spec)


def of_template(template: PodTemplateSpec, path: str) -> Iterator[str]:
    """The warnings about a template."""
    yield from _of(template.spec, template.metadata or ObjectMeta(), f"{path}.")


@remembered
def _of_spec(spec: PodSpec) -> tuple[str, ...]:
    """Of a pod without annotations, which most are."""
    return tuple(_of(spec, ObjectMeta(), ""))


def _of(spec: PodSpec, metadata: ObjectMeta, prefix: str) -> Iterator[str]:
    path = f"{prefix}spec"
    for key in spec.node_selector:
        if key in node_label_warnings.DEPRECATED:
            yield f"{path}.nodeSelector[{key}]: {node_label_warnings.DEPRECATED[key]}"
    yield from _of_node_affinity(spec.affinity, f"{path}.affinity.nodeAffinity")
    for index, constraint in enumerate(spec.topology_spread_constraints):
        here = f"{path}.topologySpreadConstraints[{index}]"
        message = node_label_warnings.DEPRECATED.get(constraint.topology_key)
        if message is not None:
            yield f"{here}.topologyKey: {constraint.topology_key} is {message}"
        if constraint.label_selector is None:
            yield f"{here}.labelSelector: {_PICKS_NOTHING}"
    for key, message in _DEPRECATED_ANNOTATIONS.items():
        if key in metadata.annotations:
            yield f"{prefix}metadata.annotations[{key}]: {message}"
    yield from _of_volumes(spec.volumes, f"{path}.volumes")
    yield from _of_lists(spec, path)
    yield from _of_annotations(spec, metadata.annotations, prefix)
    for here, container in windows_options.containers(spec, path):
        yield from _of_container(container, here)
    yield from _of_ports(spec, path)
    if spec.termination_grace_period_seconds < 0:
        yield (
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    if spec.affinity is not None:
        yield from _of_pod_affinity(spec.affinity.pod_affinity, f"{path}.affinity.podAffinity")
        yield from _of_pod_affinity(spec.affinity.pod_anti_affinity, f"{path}.affinity.podAntiAffinity")


def _of_node_affinity(affinity: Affinity | None, path: str) -> Iterator[str]:
    if affinity is None or affinity.node_affinity is None:
        return
    wanted = affinity.node_affinity.required_during_scheduling_ignored_during_execution
    here = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    for index, term in enumerate(wanted.node_selector_terms if wanted is not None else ()):
        yield from node_label_warnings.of_node_term(term, f"{here}[{index}]")
    preferred = affinity.node_affinity.preferred_during_scheduling_ignored_during_execution
    for index, one in enumerate(preferred):
        here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}].preference"
        yield from node_label_warnings.of_node_term(one.preference, here)


def _of_pod_affinity(affinity: PodAffinity | PodAntiAffinity | None, path: str) -> Iterator[str]:
    if affinity is None:
        return
    for index, term in enumerate(affinity.required_during_scheduling_ignored_during_execution):
        if term.label_selector is None:
            yield f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{index}].labelSelector: {_PICKS_NOTHING}"
    for index, weighted in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        if weighted.pod_affinity_term.label_selector is None:
            here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}].podAffinityTerm"
            yield f"{here}.labelSelector: {_PICKS_NOTHING}"


def _of_volumes(volumes: Sequence[Volume], path: str) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        for attribute, name, message in _DEPRECATED_VOLUMES:
            if getattr(volume, attribute) is not None:
                yield f"{path}[{index}].{name}: {message}"
        if volume.ephemeral is not None and volume.ephemeral.volume_claim_template is not None:
            template = volume.ephemeral.volume_claim_template
            yield from claim_warnings.of_spec(template.spec, f"{path}[{index}].ephemeral.volumeClaimTemplate.spec")
    projected = [(index, one.projected) for index, one in enumerate(volumes) if one.projected is not None]
    tokens = {
        source.service_account_token.path
        for _, one in projected
        for source in one.sources
        if source.service_account_token is not None
    }
    if not tokens:
        return
    for index, one in projected:
        for source in one.sources:
            for name, files in _files(source).items():
                for place, file in enumerate(files):
                    if file in tokens:
                        here = f"{path}[{index}].projected.sources.{name}[{place}]"
                        yield f'{here}: has duplicated path with ServiceAccountToken "{file}"'


def _files(source: VolumeProjection) -> dict[str, list[str]]:
    """The paths of the files of a projection, by what upstream calls its source."""
    return {
        "configMap": [one.path for one in source.config_map.items] if source.config_map is not None else [],
        "secrets": [one.path for one in source.secret.items] if source.secret is not None else [],
        "downwardAPI": [one.path for one in source.downward_api.items] if source.downward_api is not None else [],
    }


def _of_lists(spec: PodSpec, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, alias in enumerate(spec.host_aliases):
        if alias.ip in seen:
            yield f'{path}.hostAliases[{index}].ip: duplicate ip "{alias.ip}"'
        seen.add(alias.ip)
    seen = set()
    for index, secret in enumerate(spec.image_pull_secrets):
        if secret.name in seen:
            yield f'{path}.imagePullSecrets[{index}].name: duplicate name "{secret.name}"'
        seen.add(secret.name)
    for index, secret in enumerate(spec.image_pull_secrets):
        if not secret.name:
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
    yield from _fractions(spec.overhead, f"{path}.overhead")


def _of_annotations(spec: PodSpec, annotations: Mapping[str, str], prefix: str) -> Iterator[str]:
    path = f"{prefix}metadata.annotations"
    context = spec.security_context
    seccomp = 'non-functional in v1.27+; use the "seccompProfile" field instead'
    if context.seccomp_profile is None and pod_annotations.SECCOMP_OF_POD in annotations:
        yield f"{path}[{pod_annotations.SECCOMP_OF_POD}]: {seccomp}"
    if not annotations:
        return
    for _, container in windows_options.containers(spec, ""):
        own = container.security_context
        key = pod_annotations.SECCOMP_OF_CONTAINER + container.name
        if key in annotations and (own is None or own.seccomp_profile is None):
            yield f"{path}[{key}]: {seccomp}"
        key = pod_annotations.APPARMOR + container.name
        has_field = context.app_armor_profile is not None or (own is not None and own.app_armor_profile is not None)
        if key in annotations and not has_field:
            yield f'{path}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'


def _of_container(container: Container | EphemeralContainer, path: str) -> Iterator[str]:
    resources = container.resources
    if resources.limits or resources.requests:
        for name in _BYTES:
            for field, held in (("limits", resources.limits), ("requests", resources.requests)):
                if name in held:
                    yield from _fractions({name: held[name]}, f"{path}.resources.{field}")
    if len(container.env) < 2:
        return
    names: set[str] = set()
    for index, variable in enumerate(container.env):
        if variable.name in names and _hides(variable):
            yield (
                f'{path}.env[{index}]: hides previous definition of "{variable.name}", '
                "which may be dropped when using apply"
            )
        names.add(variable.name)


def _hides(variable: EnvVar) -> bool:
    """Whether a second definition does more than add to the first."""
    reference = f"$({variable.name})"
    return variable.value_from is not None or variable.value == reference or reference not in variable.value


def _fractions(resources: Mapping[str, str], path: str) -> Iterator[str]:
    for name in _BYTES:
        amount = resources.get(name)
        if amount is not None and quantity.parse(amount).milli_value % 1000:
            yield f'{path}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'


def _of_ports(spec: PodSpec, path: str) -> Iterator[str]:
    taken: dict[tuple[int, str], list[tuple[str, ContainerPort]]] = {}
    for where, container in windows_options.containers(spec, path):
        for index, port in enumerate(container.ports):
            here = f"{where}.ports[{index}]"
            if port.host_ip and not port.host_port:
                shown = (
                    f"{{Name:{port.name} HostPort:{port.host_port} ContainerPort:{port.container_port} "
                    f"Protocol:{port.protocol} HostIP:{port.host_ip}}}"
                )
                yield f"{here}: hostIP set without hostPort: {shown}"
            others = taken.setdefault((port.container_port, port.protocol), [])
            for there, other in others:
                if (port.host_ip, port.host_port) == (other.host_ip, other.host_port):
                    yield f"{here}: duplicate port definition with {there}"
                elif not port.host_port or not other.host_port:
                    yield f"{here}: overlapping port definition with {there}"
                elif port.host_port == other.host_port and (not port.host_ip) != (not other.host_ip):
                    yield f"{here}: dangerously ambiguous port definition with {there}"
            others.append((here, port))
