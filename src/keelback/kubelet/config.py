"""What a kubelet is told at its start. Durations are in seconds, quantities are Kubernetes' texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keelback.api.core_v1 import Taint


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    """One node's agent. Paths are as the node's mount namespace has them."""

    node_name: str
    node_ips: tuple[str, ...]
    root: Path = Path("/var/lib/kubelet")
    pod_logs: Path = Path("/var/log/pods")
    container_logs: Path = Path("/var/log/containers")
    manifests: Path | None = None
    runtime_socket: str = "/run/containerd/containerd.sock"
    cgroup_root: str = ""
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    hosts: Path = Path("/etc/hosts")

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    max_pods: int = 110
    pods_per_core: int = 0
    capacity: Mapping[str, str] = field(default_factory=dict)
    reserved: Mapping[str, str] = field(default_factory=dict)
    pod_cidr: str = ""
    provider_id: str = ""
    kubelet_version: str = "v1.36.0"

    address: str = "0.0.0.0"  # noqa: S104 - the API server reaches the kubelet at the node's address
    port: int = 10250
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    anonymous: bool = False

    lease_duration_seconds: int = 40
    lease_renew_seconds: float = 10.0
    status_seconds: float = 10.0
    status_report_seconds: float = 300.0
    resync_seconds: float = 60.0
    housekeeping_seconds: float = 30.0
    local_storage_seconds: float = 10.0
    manifest_seconds: float = 5.0
    relist_seconds: float = 1.0
    relist_cap_seconds: float = 10.0
    relist_with_events_seconds: float = 60.0
    endpoint_drain_seconds: float = 1.0
    """How long a Ready pod of a Service goes on serving where nobody knows when its endpoints have left."""
    endpoint_drain_limit_seconds: float = 15.0
    """How long it does so at most where somebody knows; never more than half of its grace period."""

    eviction_memory_bytes: int = 100 * 1024 * 1024
    eviction_disk_percent: int = 5
    image_high_percent: int = 85
    image_low_percent: int = 80
    image_min_age_seconds: float = 120.0
    container_log_max_bytes: int = 10 * 1024 * 1024
    container_log_max_files: int = 5
    dead_containers_per_pod: int = 1
    allowed_unsafe_sysctls: tuple[str, ...] = ()

    def pod_log_directory(self, namespace: str, name: str, uid: str) -> Path:
        """Where the logs of one pod's containers are."""
        return self.pod_logs / f"{namespace}_{name}_{uid}"
