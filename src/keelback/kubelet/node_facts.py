"""What the machine is and has: read once at the start, or when asked how it is."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keelback.api.core_v1 import NodeSystemInfo
from keelback.apimachinery import quantity

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Pressure:
    """Whether the node is short of something."""

    memory: bool = False
    disk: bool = False
    pids: bool = False


def architecture() -> str:
    """Go's name of the machine's architecture."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def memory_bytes() -> int:
    """All memory of the machine."""
    return _meminfo().get("MemTotal", 0)


def capacity(root: Path, max_pods: int, pods_per_core: int, given: Mapping[str, str]) -> dict[str, str]:
    """What the node has; `given` beats what is found."""
    cores = len(os.sched_getaffinity(0))
    disk = shutil.disk_usage(_existing(root))
    limit = min(max_pods, pods_per_core * cores) if pods_per_core else max_pods
    found = {
        "cpu": str(cores),
        "memory": f"{memory_bytes() // 1024}Ki",
        "ephemeral-storage": f"{disk.total // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "pods": str(limit),
    }
    return {**found, **given}


def allocatable(capacity: Mapping[str, str], reserved: Mapping[str, str]) -> dict[str, str]:
    """What pods may have of it."""
    left = dict(capacity)
    for name, amount in reserved.items():
        if name in left:
            rest = quantity.parse(left[name]) - quantity.parse(amount)
            left[name] = str(max(rest, quantity.of(0)))
    return left


def pressure(root: Path, *, memory_bytes_left: int, disk_percent_left: int) -> Pressure:
    """How short the node is of memory, disk and process ids."""
    meminfo = _meminfo()
    disk = shutil.disk_usage(_existing(root))
    running = sum(1 for name in os.listdir("/proc") if name.isdigit())
    pid_max = int(_text("/proc/sys/kernel/pid_max") or "4194304")
    return Pressure(
        memory=0 < meminfo.get("MemAvailable", 0) < memory_bytes_left,
        disk=disk.free * 100 < disk.total * disk_percent_left,
        pids=running > pid_max * 9 // 10,
    )


def system_info(kubelet_version: str, runtime_version: str) -> NodeSystemInfo:
    """The node's `status.nodeInfo`."""
    release = dict(line.split("=", 1) for line in _text("/etc/os-release").splitlines() if "=" in line)
    machine_id = _text("/etc/machine-id")
    return NodeSystemInfo(
        architecture=architecture(),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        container_runtime_version=runtime_version,
        kernel_version=platform.release(),
        kube_proxy_version="",
        kubelet_version=kubelet_version,
        machine_id=machine_id,
        operating_system="linux",
        os_image=release.get("PRETTY_NAME", "Linux").strip('"'),
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or machine_id,
    )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _meminfo() -> dict[str, int]:
    found = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
