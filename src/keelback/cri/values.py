"""CRI v1's messages as frozen values: what a node tells a container runtime, and what it is told.

Names, states and meanings are CRI's. Instants are nanoseconds since the epoch, as on the wire; 0 means "not yet".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class SandboxState(IntEnum):
    READY = 0
    NOT_READY = 1


class ContainerState(IntEnum):
    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


class NamespaceMode(IntEnum):
    """Whose namespace: the pod's, the container's own, the node's, or another container's (TARGET)."""

    POD = 0
    CONTAINER = 1
    NODE = 2
    TARGET = 3


class MountPropagation(IntEnum):
    PRIVATE = 0
    HOST_TO_CONTAINER = 1
    BIDIRECTIONAL = 2


class Protocol_(IntEnum):  # noqa: N801 - `Protocol` is typing's here
    TCP = 0
    UDP = 1
    SCTP = 2


class SeccompType(IntEnum):
    RUNTIME_DEFAULT = 0
    UNCONFINED = 1
    LOCALHOST = 2


class ContainerEventType(IntEnum):
    CREATED = 0
    STARTED = 1
    STOPPED = 2
    DELETED = 3


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    name: str
    version: str
    api_version: str


@dataclass(frozen=True, slots=True)
class Condition:
    """`RuntimeReady` or `NetworkReady`."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SecurityProfile:
    type: SeccompType = SeccompType.RUNTIME_DEFAULT
    localhost_ref: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceOptions:
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class LinuxResources:
    """cgroup limits; 0 and "" leave a value as it is."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)
    memory_swap_limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PortMapping:
    container_port: int
    host_port: int = 0
    protocol: Protocol_ = Protocol_.TCP
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class DNSConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxSecurityContext:
    namespace_options: NamespaceOptions = NamespaceOptions()
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    readonly_rootfs: bool = False
    privileged: bool = False
    seccomp: SecurityProfile | None = None


@dataclass(frozen=True, slots=True)
class PodSandboxConfig:
    """One pod's sandbox. (name, namespace, uid, attempt) is its identity."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    dns: DNSConfig | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    security_context: SandboxSecurityContext = SandboxSecurityContext()
    overhead: LinuxResources | None = None
    resources: LinuxResources | None = None


@dataclass(frozen=True, slots=True)
class PodSandbox:
    """A sandbox as it is listed."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    state: SandboxState
    created_at: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class PodSandboxStatus:
    """A sandbox and its addresses; `ips` is empty for the node's own network."""

    sandbox: PodSandbox
    ips: tuple[str, ...] = ()
    network: NamespaceMode = NamespaceMode.POD


@dataclass(frozen=True, slots=True)
class ImageSpec:
    image: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuthConfig:
    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the node. `id` is the digest of its configuration; `user` is set where it is not numeric."""

    id: str
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    size_bytes: int = 0
    uid: int | None = None
    user: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    timestamp: int
    mountpoint: str
    used_bytes: int
    inodes_used: int = 0


@dataclass(frozen=True, slots=True)
class ImageFilesystems:
    images: tuple[FilesystemUsage, ...] = ()
    containers: tuple[FilesystemUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    container_path: str
    host_path: str
    readonly: bool = False
    propagation: MountPropagation = MountPropagation.PRIVATE
    selinux_relabel: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    container_path: str
    host_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Capabilities:
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerSecurityContext:
    """`run_as_username` only where `run_as_user` is None."""

    capabilities: Capabilities = Capabilities()
    privileged: bool = False
    namespace_options: NamespaceOptions = NamespaceOptions()
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: tuple[int, ...] = ()
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: SecurityProfile | None = None


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """One container. (name, attempt) is its identity within the sandbox; `log_path` is under the log directory."""

    name: str
    image: ImageSpec
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    envs: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: LinuxResources = LinuxResources()
    security_context: ContainerSecurityContext = ContainerSecurityContext()


@dataclass(frozen=True, slots=True)
class Container:
    """A container as it is listed."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: int
    image: str = ""
    image_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """A container in full. `reason` means something only when EXITED (`Completed`, `Error`, `OOMKilled`)."""

    container: Container
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""
    mounts: tuple[Mount, ...] = ()
    resources: LinuxResources | None = None


@dataclass(frozen=True, slots=True)
class ExecResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class NetworkUsage:
    """Bytes and errors of one interface since it was made."""

    name: str
    rx_bytes: int = 0
    rx_errors: int = 0
    tx_bytes: int = 0
    tx_errors: int = 0


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """Usage at `timestamp`; CPU is cumulative core nanoseconds."""

    id: str
    name: str
    labels: Mapping[str, str]
    timestamp: int
    cpu_usage_core_nanoseconds: int = 0
    memory_working_set_bytes: int = 0
    memory_usage_bytes: int = 0
    memory_rss_bytes: int = 0
    memory_page_faults: int = 0
    memory_major_page_faults: int = 0
    writable_layer_bytes: int = 0
    writable_layer_inodes: int = 0


@dataclass(frozen=True, slots=True)
class PodSandboxStats:
    id: str
    name: str
    namespace: str
    uid: str
    timestamp: int
    cpu_usage_core_nanoseconds: int = 0
    memory_working_set_bytes: int = 0
    network: tuple[NetworkUsage, ...] = ()
    containers: tuple[ContainerStats, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something happened to a container or a sandbox (then both ids are the same). A hint: look, do not trust."""

    container_id: str
    sandbox_id: str
    type: ContainerEventType
    created_at: int = 0
    exit_code: int = 0
