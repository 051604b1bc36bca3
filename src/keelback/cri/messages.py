"""Between Keelback's own runtime values and CRI's protobuf messages: pure conversion, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keelback.cri._proto import cri_pb2 as pb
from keelback.cri.values import (
    AuthConfig,
    Container,
    ContainerConfig,
    ContainerSecurityContext,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    FilesystemUsage,
    Image,
    ImageSpec,
    LinuxResources,
    Mount,
    MountPropagation,
    NamespaceMode,
    NamespaceOptions,
    NetworkUsage,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxStats,
    PodSandboxStatus,
    SandboxSecurityContext,
    SandboxState,
    SecurityProfile,
)

Message = Any


def sandbox_config(config: PodSandboxConfig) -> Message:
    message = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=config.name, uid=config.uid, namespace=config.namespace, attempt=config.attempt
        ),
        hostname=config.hostname,
        log_directory=config.log_directory,
        port_mappings=[
            pb.PortMapping(
                protocol=int(mapping.protocol),
                container_port=mapping.container_port,
                host_port=mapping.host_port,
                host_ip=mapping.host_ip,
            )
            for mapping in config.port_mappings
        ],
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=config.cgroup_parent,
            security_context=_sandbox_security(config.security_context),
            sysctls=dict(config.sysctls),
            overhead=linux_resources(config.overhead) if config.overhead else None,
            resources=linux_resources(config.resources) if config.resources else None,
        ),
    )
    if config.dns is not None:
        message.dns_config.CopyFrom(
            pb.DNSConfig(servers=config.dns.servers, searches=config.dns.searches, options=config.dns.options)
        )
    return message


def container_config(config: ContainerConfig) -> Message:
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=image_spec(config.image),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[pb.KeyValue(key=key, value=value) for key, value in config.envs.items()],
        mounts=[
            pb.Mount(
                container_path=mount.container_path,
                host_path=mount.host_path,
                readonly=mount.readonly,
                selinux_relabel=mount.selinux_relabel,
                propagation=int(mount.propagation),
            )
            for mount in config.mounts
        ],
        devices=[
            pb.Device(container_path=device.container_path, host_path=device.host_path, permissions=device.permissions)
            for device in config.devices
        ],
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux=pb.LinuxContainerConfig(
            resources=linux_resources(config.resources), security_context=_container_security(config.security_context)
        ),
    )


def linux_resources(resources: LinuxResources) -> Message:
    return pb.LinuxContainerResources(
        cpu_period=resources.cpu_period,
        cpu_quota=resources.cpu_quota,
        cpu_shares=resources.cpu_shares,
        memory_limit_in_bytes=resources.memory_limit_bytes,
        oom_score_adj=resources.oom_score_adj,
        cpuset_cpus=resources.cpuset_cpus,
        cpuset_mems=resources.cpuset_mems,
        hugepage_limits=[
            pb.HugepageLimit(page_size=size, limit=limit) for size, limit in resources.hugepage_limits.items()
        ],
        unified=dict(resources.unified),
        memory_swap_limit_in_bytes=resources.memory_swap_limit_bytes,
    )


def image_spec(spec: ImageSpec) -> Message:
    return pb.ImageSpec(image=spec.image, annotations=dict(spec.annotations))


def auth_config(auth: AuthConfig) -> Message:
    return pb.AuthConfig(
        username=auth.username,
        password=auth.password,
        auth=auth.auth,
        server_address=auth.server_address,
        identity_token=auth.identity_token,
        registry_token=auth.registry_token,
    )


def to_sandbox(message: Message) -> PodSandbox:
    """From a `PodSandbox` or a `PodSandboxStatus`: they share these fields."""
    return PodSandbox(
        id=message.id,
        name=message.metadata.name,
        namespace=message.metadata.namespace,
        uid=message.metadata.uid,
        attempt=message.metadata.attempt,
        state=SandboxState(message.state),
        created_at=message.created_at,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        runtime_handler=message.runtime_handler,
    )


def to_sandbox_status(message: Message) -> PodSandboxStatus:
    first = [message.network.ip] if message.network.ip else []
    return PodSandboxStatus(
        sandbox=to_sandbox(message),
        ips=(*first, *(address.ip for address in message.network.additional_ips)),
        network=NamespaceMode(message.linux.namespaces.options.network),
    )


def to_container(message: Message) -> Container:
    return Container(
        id=message.id,
        sandbox_id=message.pod_sandbox_id,
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        state=ContainerState(message.state),
        created_at=message.created_at,
        image=message.image.image,
        image_ref=message.image_ref,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
    )


def to_container_status(message: Message, sandbox_id: str) -> ContainerStatus:
    """CRI's status does not name the sandbox: the caller does."""
    resources = message.resources.linux if message.HasField("resources") else None
    return ContainerStatus(
        container=Container(
            id=message.id,
            sandbox_id=sandbox_id,
            name=message.metadata.name,
            attempt=message.metadata.attempt,
            state=ContainerState(message.state),
            created_at=message.created_at,
            image=message.image.image,
            image_ref=message.image_ref,
            labels=dict(message.labels),
            annotations=dict(message.annotations),
        ),
        started_at=message.started_at,
        finished_at=message.finished_at,
        exit_code=message.exit_code,
        reason=message.reason,
        message=message.message,
        log_path=message.log_path,
        mounts=tuple(
            Mount(
                container_path=mount.container_path,
                host_path=mount.host_path,
                readonly=mount.readonly,
                propagation=MountPropagation(mount.propagation),
                selinux_relabel=mount.selinux_relabel,
            )
            for mount in message.mounts
        ),
        resources=None if resources is None else _to_resources(resources),
    )


def to_image(message: Message) -> Image:
    return Image(
        id=message.id,
        repo_tags=tuple(message.repo_tags),
        repo_digests=tuple(message.repo_digests),
        size_bytes=message.size,
        uid=message.uid.value if message.HasField("uid") else None,
        user=message.username,
        pinned=message.pinned,
    )


def to_filesystem(message: Message) -> FilesystemUsage:
    return FilesystemUsage(
        timestamp=message.timestamp,
        mountpoint=message.fs_id.mountpoint,
        used_bytes=message.used_bytes.value,
        inodes_used=message.inodes_used.value,
    )


def to_container_stats(message: Message) -> ContainerStats:
    return ContainerStats(
        id=message.attributes.id,
        name=message.attributes.metadata.name,
        labels=dict(message.attributes.labels),
        timestamp=message.cpu.timestamp or message.memory.timestamp,
        cpu_usage_core_nanoseconds=message.cpu.usage_core_nano_seconds.value,
        memory_working_set_bytes=message.memory.working_set_bytes.value,
        memory_usage_bytes=message.memory.usage_bytes.value,
        memory_rss_bytes=message.memory.rss_bytes.value,
        memory_page_faults=message.memory.page_faults.value,
        memory_major_page_faults=message.memory.major_page_faults.value,
        writable_layer_bytes=message.writable_layer.used_bytes.value,
        writable_layer_inodes=message.writable_layer.inodes_used.value,
    )


def to_sandbox_stats(message: Message) -> PodSandboxStats:
    linux = message.linux
    interfaces = [linux.network.default_interface] if linux.network.HasField("default_interface") else []
    return PodSandboxStats(
        id=message.attributes.id,
        name=message.attributes.metadata.name,
        namespace=message.attributes.metadata.namespace,
        uid=message.attributes.metadata.uid,
        timestamp=linux.cpu.timestamp or linux.memory.timestamp,
        cpu_usage_core_nanoseconds=linux.cpu.usage_core_nano_seconds.value,
        memory_working_set_bytes=linux.memory.working_set_bytes.value,
        network=tuple(
            NetworkUsage(
                name=interface.name,
                rx_bytes=interface.rx_bytes.value,
                rx_errors=interface.rx_errors.value,
                tx_bytes=interface.tx_bytes.value,
                tx_errors=interface.tx_errors.value,
            )
            for interface in (*interfaces, *linux.network.interfaces)
        ),
        containers=tuple(to_container_stats(container) for container in linux.containers),
    )


def _sandbox_security(context: SandboxSecurityContext) -> Message:
    return pb.LinuxSandboxSecurityContext(
        namespace_options=_namespaces(context.namespace_options),
        run_as_user=_optional(context.run_as_user),
        run_as_group=_optional(context.run_as_group),
        readonly_rootfs=context.readonly_rootfs,
        supplemental_groups=context.supplemental_groups,
        privileged=context.privileged,
        seccomp=_profile(context.seccomp),
    )


def _container_security(context: ContainerSecurityContext) -> Message:
    return pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(
            add_capabilities=context.capabilities.add, drop_capabilities=context.capabilities.drop
        ),
        privileged=context.privileged,
        namespace_options=_namespaces(context.namespace_options),
        run_as_user=_optional(context.run_as_user),
        run_as_group=_optional(context.run_as_group),
        run_as_username=context.run_as_username,
        readonly_rootfs=context.readonly_rootfs,
        supplemental_groups=context.supplemental_groups,
        no_new_privs=context.no_new_privs,
        masked_paths=context.masked_paths,
        readonly_paths=context.readonly_paths,
        seccomp=_profile(context.seccomp),
    )


def _namespaces(options: NamespaceOptions) -> Message:
    return pb.NamespaceOption(
        network=int(options.network), pid=int(options.pid), ipc=int(options.ipc), target_id=options.target_id
    )


def _optional(value: int | None) -> Message:
    return None if value is None else pb.Int64Value(value=value)


def _profile(profile: SecurityProfile | None) -> Message:
    if profile is None:
        return None
    return pb.SecurityProfile(profile_type=int(profile.type), localhost_ref=profile.localhost_ref)


def _to_resources(message: Message) -> LinuxResources:
    limits: Mapping[str, int] = {limit.page_size: limit.limit for limit in message.hugepage_limits}
    return LinuxResources(
        cpu_period=message.cpu_period,
        cpu_quota=message.cpu_quota,
        cpu_shares=message.cpu_shares,
        memory_limit_bytes=message.memory_limit_in_bytes,
        oom_score_adj=message.oom_score_adj,
        cpuset_cpus=message.cpuset_cpus,
        cpuset_mems=message.cpuset_mems,
        hugepage_limits=limits,
        unified=dict(message.unified),
        memory_swap_limit_bytes=message.memory_swap_limit_in_bytes,
    )
