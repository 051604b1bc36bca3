"""A pod's spec in the terms of the runtime: the configuration of the sandbox and of each container. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from keelback.api import pods
from keelback.api.core_v1 import (
    Container,
    Pod,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
    Volume,
    VolumeMount,
)
from keelback.cri.values import (
    Capabilities,
    ContainerConfig,
    ContainerSecurityContext,
    Image,
    ImageSpec,
    Mount,
    MountPropagation,
    NamespaceMode,
    NamespaceOptions,
    PodSandboxConfig,
    PortMapping,
    Protocol_,
    SandboxSecurityContext,
    SeccompType,
    SecurityProfile,
)
from keelback.kubelet.cgroups import container_resources, pod_cgroup
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.expansion import expand
from keelback.kubelet.network_files import ResolvConf, dns_config, kernel_hostname
from keelback.kubelet.observed import (
    CONTAINER_NAME_LABEL,
    GRACE_ANNOTATION,
    HASH_ANNOTATION,
    RESTART_COUNT_ANNOTATION,
    TERMINATION_PATH_ANNOTATION,
    TERMINATION_POLICY_ANNOTATION,
    pod_labels,
)
from keelback.kubelet.plan import AnyContainer, container_hash

_MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_PROPAGATION = {
    "None": MountPropagation.PRIVATE,
    "HostToContainer": MountPropagation.HOST_TO_CONTAINER,
    "Bidirectional": MountPropagation.BIDIRECTIONAL,
}


class Unconfigurable(Exception):
    """The container must not run as its spec says; the text goes into CreateContainerConfigError."""


def sandbox_config(pod: Pod, attempt: int, config: KubeletConfig, resolv_conf: ResolvConf) -> PodSandboxConfig:
    """The sandbox of a pod."""
    meta, spec = pod.metadata, pod.spec
    labels = dict(meta.labels)
    labels.update(pod_labels(meta.name, meta.namespace, meta.uid))
    security = spec.security_context
    return PodSandboxConfig(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        attempt=attempt,
        hostname="" if spec.host_network else kernel_hostname(pod, config.node_name, config.cluster_domain),
        log_directory=str(config.pod_log_directory(meta.namespace, meta.name, meta.uid)),
        dns=dns_config(pod, config.cluster_dns, config.cluster_domain, resolv_conf),
        port_mappings=() if spec.host_network else _port_mappings(pod),
        labels=labels,
        annotations=dict(meta.annotations),
        cgroup_parent=pod_cgroup(config.cgroup_root, pod),
        sysctls={one.name: one.value for one in security.sysctls},
        security_context=SandboxSecurityContext(
            namespace_options=_namespaces(pod, None),
            run_as_user=security.run_as_user,
            run_as_group=security.run_as_group if security.run_as_user is not None else None,
            supplemental_groups=_groups(security),
            privileged=any(_is_privileged(one) for one in _all(pod)),
            seccomp=SecurityProfile(SeccompType.RUNTIME_DEFAULT),
        ),
    )


def container_config(
    container: AnyContainer,
    pod: Pod,
    attempt: int,
    config: KubeletConfig,
    *,
    image: Image,
    environment: Mapping[str, str],
    mounts: Sequence[Mount],
    memory_capacity_bytes: int,
    target_id: str = "",
) -> ContainerConfig:
    """One container. Raises Unconfigurable."""
    _check_non_root(container, pod, image)
    return ContainerConfig(
        name=container.name,
        attempt=attempt,
        image=ImageSpec(image.id or container.image),
        command=tuple(expand(text, environment) for text in container.command),
        args=tuple(expand(text, environment) for text in container.args),
        working_dir=container.working_dir,
        envs=environment,
        mounts=tuple(mounts),
        labels={
            **pod_labels(pod.metadata.name, pod.metadata.namespace, pod.metadata.uid),
            CONTAINER_NAME_LABEL: container.name,
        },
        annotations={
            HASH_ANNOTATION: container_hash(container),
            RESTART_COUNT_ANNOTATION: str(attempt),
            TERMINATION_PATH_ANNOTATION: container.termination_message_path,
            TERMINATION_POLICY_ANNOTATION: container.termination_message_policy,
            GRACE_ANNOTATION: str(pods.grace_period_seconds(pod)),
        },
        log_path=log_path(container.name, attempt),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        resources=container_resources(container.resources, pod, memory_capacity_bytes),
        security_context=_security(container, pod, image, config, target_id),
    )


def log_path(name: str, attempt: int) -> str:
    """Where a container's log is, below its pod's log directory."""
    return f"{name}/{attempt}.log"


def volume_mount(mount: VolumeMount, host_path: Path, pod: Pod) -> Mount:
    """One volumeMount in the runtime's terms. Raises Unconfigurable."""
    if mount.recursive_read_only == "Enabled":
        text = f'volume "{mount.name}" requested recursive read-only mode, but it is not supported by the runtime'
        raise Unconfigurable(text)
    volume = next((one for one in pod.spec.volumes if one.name == mount.name), None)
    path = mount.mount_path if mount.mount_path.startswith("/") else "/" + mount.mount_path
    return Mount(
        container_path=path,
        host_path=str(host_path),
        readonly=mount.read_only or (volume is not None and _is_written_by_node(volume)),
        propagation=_PROPAGATION[mount.mount_propagation or "None"],
    )


def _is_written_by_node(volume: Volume) -> bool:
    """Whether only the node may write it: what a container put there would be lost with the next update."""
    sources = (volume.config_map, volume.secret, volume.downward_api, volume.projected, volume.image)
    return any(source is not None for source in sources)


def effective_user(container: AnyContainer, pod: Pod) -> int | None:
    """The numeric user that the spec asks for."""
    own = container.security_context
    if own is not None and own.run_as_user is not None:
        return own.run_as_user
    return pod.spec.security_context.run_as_user


# Security


def _all(pod: Pod) -> tuple[AnyContainer, ...]:
    return (*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers)


def _is_privileged(container: AnyContainer) -> bool:
    return container.security_context is not None and bool(container.security_context.privileged)


def _security(
    container: AnyContainer, pod: Pod, image: Image, config: KubeletConfig, target_id: str
) -> ContainerSecurityContext:
    own = container.security_context or SecurityContext()
    shared = pod.spec.security_context
    user = effective_user(container, pod)
    username = ""
    if user is None:
        username = image.user if image.uid is None else ""
        # An image that names no user is root's; the runtime takes a group only together with a user.
        user = 0 if image.uid is None and not username else image.uid
    group = shared.run_as_group if own.run_as_group is None else own.run_as_group
    privileged = bool(own.privileged)
    added = own.capabilities.add if own.capabilities else ()
    dropped = own.capabilities.drop if own.capabilities else ()
    unmasked = privileged or own.proc_mount == "Unmasked"
    return ContainerSecurityContext(
        capabilities=Capabilities(tuple(map(_bare, added)), tuple(map(_bare, dropped))),
        privileged=privileged,
        namespace_options=_namespaces(pod, target_id or None),
        run_as_user=user,
        run_as_group=group if user is not None or username else None,
        run_as_username=username,
        supplemental_groups=_groups(shared),
        readonly_rootfs=bool(own.read_only_root_filesystem),
        no_new_privs=own.allow_privilege_escalation is False,
        masked_paths=() if unmasked else _MASKED,
        readonly_paths=() if unmasked else _READONLY,
        seccomp=_seccomp(own.seccomp_profile or shared.seccomp_profile, config, privileged=privileged),
    )


def _bare(capability: str) -> str:
    return capability.removeprefix("CAP_")


def _groups(shared: PodSecurityContext) -> tuple[int, ...]:
    groups = shared.supplemental_groups
    if shared.fs_group is not None and shared.fs_group not in groups:
        groups = (*groups, shared.fs_group)
    return groups


def _seccomp(profile: SeccompProfile | None, config: KubeletConfig, *, privileged: bool) -> SecurityProfile:
    if privileged or profile is None:
        return SecurityProfile(SeccompType.UNCONFINED)
    match profile.type:
        case "RuntimeDefault":
            return SecurityProfile(SeccompType.RUNTIME_DEFAULT)
        case "Localhost":
            path = config.root / "seccomp" / (profile.localhost_profile or "")
            return SecurityProfile(SeccompType.LOCALHOST, str(path))
        case _:
            return SecurityProfile(SeccompType.UNCONFINED)


def _namespaces(pod: Pod, target_id: str | None) -> NamespaceOptions:
    pid = NamespaceMode.CONTAINER
    if pod.spec.host_pid:
        pid = NamespaceMode.NODE
    elif pod.spec.share_process_namespace:
        pid = NamespaceMode.POD
    elif target_id:
        pid = NamespaceMode.TARGET
    return NamespaceOptions(
        network=NamespaceMode.NODE if pod.spec.host_network else NamespaceMode.POD,
        pid=pid,
        ipc=NamespaceMode.NODE if pod.spec.host_ipc else NamespaceMode.POD,
        target_id=target_id or "" if pid == NamespaceMode.TARGET else "",
    )


def _check_non_root(container: AnyContainer, pod: Pod, image: Image) -> None:
    own = container.security_context
    non_root = pod.spec.security_context.run_as_non_root
    if own is not None and own.run_as_non_root is not None:
        non_root = own.run_as_non_root
    if not non_root:
        return
    where = f'(pod: "{pods.full_name(pod)}({pod.metadata.uid})", container: {container.name})'
    user = effective_user(container, pod)
    if user is not None:
        if user == 0:
            raise Unconfigurable(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.uid == 0 or (image.uid is None and not image.user):
        raise Unconfigurable(f"container has runAsNonRoot and image will run as root {where}")
    if image.user:
        raise Unconfigurable(
            f"container has runAsNonRoot and image has non-numeric user ({image.user}), "
            f"cannot verify user is non-root {where}"
        )


def _port_mappings(pod: Pod) -> tuple[PortMapping, ...]:
    serving: tuple[Container, ...] = (*pods.sidecars(pod.spec), *pod.spec.containers)
    return tuple(
        PortMapping(port.container_port, port.host_port, Protocol_[port.protocol or "TCP"], port.host_ip)
        for one in serving
        for port in one.ports
        if port.host_port
    )
