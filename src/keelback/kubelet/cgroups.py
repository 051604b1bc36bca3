"""The cgroups of quality-of-service classes and pods, in whatever hierarchies the machine has (v1 or v2)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keelback.api import pods
from keelback.api.core_v1 import Pod, ResourceRequirements
from keelback.cri.values import LinuxResources

CPU_PERIOD = 100_000
MIN_SHARES, MAX_SHARES, MIN_QUOTA = 2, 262_144, 1_000
_GUARANTEED_OOM, _BEST_EFFORT_OOM = -997, 1000
_SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


def pod_cgroup(root: str, pod: Pod) -> str:
    """The cgroup path that the pod's containers are put below."""
    return f"{qos_cgroup(root, pods.qos_class(pod))}/pod{pod.metadata.uid}"


def qos_cgroup(root: str, qos: str) -> str:
    """The cgroup path of a class; Guaranteed pods are directly below kubepods."""
    return f"{root.rstrip('/')}/kubepods" + ("" if qos == "Guaranteed" else f"/{qos.lower()}")


def shares(milli_cpu: int) -> int:
    """CPU weight in cgroup v1's terms."""
    return max(MIN_SHARES, min(MAX_SHARES, milli_cpu * 1024 // 1000)) if milli_cpu else MIN_SHARES


def quota(milli_cpu: int) -> int:
    """CPU microseconds per period; 0 is no limit."""
    return max(MIN_QUOTA, milli_cpu * CPU_PERIOD // 1000) if milli_cpu else 0


def container_resources(resources: ResourceRequirements, pod: Pod, memory_capacity_bytes: int) -> LinuxResources:
    """A container's limits as the runtime takes them."""
    requests, limits = pods.amounts(resources.requests), pods.amounts(resources.limits)
    cpu_request = requests.get("cpu", limits.get("cpu", 0) if "cpu" not in requests else 0)
    return LinuxResources(
        cpu_period=CPU_PERIOD,
        cpu_quota=quota(limits.get("cpu", 0)),
        cpu_shares=shares(cpu_request),
        memory_limit_bytes=limits.get("memory", 0),
        oom_score_adj=oom_score_adj(pod, requests.get("memory", 0), memory_capacity_bytes),
    )


def oom_score_adj(pod: Pod, memory_request_bytes: int, memory_capacity_bytes: int) -> int:
    """How ready the kernel should be to kill it: BestEffort first, then whoever uses more than it asked for."""
    if (pod.spec.priority or 0) >= _SYSTEM_CRITICAL_PRIORITY:
        return _GUARANTEED_OOM
    match pods.qos_class(pod):
        case "Guaranteed":
            return _GUARANTEED_OOM
        case "BestEffort":
            return _BEST_EFFORT_OOM
    adjusted = 1000 - 1000 * memory_request_bytes // max(1, memory_capacity_bytes)
    return max(1000 + _GUARANTEED_OOM, min(adjusted, _BEST_EFFORT_OOM - 1))


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The hierarchies below `mount`. Where they cannot be written the runtime's own cgroups have to do."""

    root: str = ""
    mount: Path = Path("/sys/fs/cgroup")
    pids_limit: int = 0

    @property
    def is_v2(self) -> bool:
        """Whether there is one unified hierarchy."""
        return (self.mount / "cgroup.controllers").exists()

    def set_up(self, pod: Pod) -> None:
        """Make the pod's cgroup with the limits of the pod as a whole. Raises OSError."""
        name = pod_cgroup(self.root, pod).lstrip("/")
        requests, limits = pods.requests(pod), pods.limits(pod)
        bounded = {kind for kind in ("cpu", "memory") if _all_limit(pod, kind)}
        values: dict[str, dict[str, str]] = {"cpu": {}, "memory": {}, "pids": {}}
        cpu_shares = shares(requests.get("cpu", 0))
        if self.is_v2:
            values["cpu"]["cpu.weight"] = str(1 + (cpu_shares - 2) * 9999 // 262_142)
            if "cpu" in bounded:
                values["cpu"]["cpu.max"] = f"{quota(limits['cpu'])} {CPU_PERIOD}"
            if "memory" in bounded:
                values["memory"]["memory.max"] = str(limits["memory"])
        else:
            values["cpu"]["cpu.shares"] = str(cpu_shares)
            if "cpu" in bounded:
                values["cpu"]["cpu.cfs_period_us"] = str(CPU_PERIOD)
                values["cpu"]["cpu.cfs_quota_us"] = str(quota(limits["cpu"]))
            if "memory" in bounded:
                values["memory"]["memory.limit_in_bytes"] = str(limits["memory"])
        if self.pids_limit:
            values["pids"]["pids.max"] = str(self.pids_limit)
        for controller, settings in values.items():
            self._write(controller, name, settings)

    def remove(self, uid: str) -> None:
        """Remove the pod's cgroups in every hierarchy; what is still in use is left for the next time."""
        for hierarchy in self._hierarchies():
            for qos in ("Guaranteed", "Burstable", "BestEffort"):
                _remove(hierarchy / qos_cgroup(self.root, qos).lstrip("/") / f"pod{uid}")

    def known_uids(self) -> frozenset[str]:
        """The pods that have cgroups."""
        found: set[str] = set()
        for hierarchy in self._hierarchies():
            for qos in ("Guaranteed", "Burstable", "BestEffort"):
                found.update(one.name[3:] for one in (hierarchy / qos_cgroup(self.root, qos).lstrip("/")).glob("pod*"))
        return frozenset(found)

    def _hierarchies(self) -> Iterator[Path]:
        if self.is_v2:
            yield self.mount
            return
        for one in sorted(self.mount.iterdir()) if self.mount.is_dir() else ():
            # Hybrid machines have a directory that is no hierarchy inside a node.
            if not one.is_symlink() and (one / "cgroup.procs").exists():
                yield one

    def _write(self, controller: str, name: str, settings: dict[str, str]) -> None:
        base = self.mount if self.is_v2 else self.mount / controller
        if not base.is_dir():
            return
        directory = base / name
        if self.is_v2:
            made = base
            for part in Path(name).parts:
                if not (made / part).is_dir():
                    (made / part).mkdir()
                made = made / part
        directory.mkdir(parents=True, exist_ok=True)
        for file, value in settings.items():
            (directory / file).write_text(value)


def _all_limit(pod: Pod, resource: str) -> bool:
    """Whether every container has the limit, so that their sum bounds the pod."""
    level = pod.spec.resources
    if level is not None and resource in level.limits:
        return True
    return all(resource in one.resources.limits for one in pods.all_containers(pod.spec))


def _remove(directory: Path) -> None:
    if not directory.is_dir():
        return
    for root, names, _ in os.walk(directory, topdown=False):
        for name in names:
            _rmdir(Path(root, name))
    _rmdir(directory)


def _rmdir(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOENT, errno.ENOTEMPTY):
            raise
