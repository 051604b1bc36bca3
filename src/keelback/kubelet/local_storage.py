"""Pods that use more of the node's disk than they said they would: they are evicted. Deciding is apart from measuring.

Upstream's eviction manager does the same every ten seconds; a volume in memory is bounded by the kernel instead.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keelback.api import pods
from keelback.api.core_v1 import Pod
from keelback.apimachinery import quantity
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.observed import PodRuntime
from keelback.volume.pod_volumes import PodVolumes

_EPHEMERAL = "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk, by volume and by container; a container's are its writable layer and its logs."""

    volumes: Mapping[str, int] = field(default_factory=dict)
    containers: Mapping[str, int] = field(default_factory=dict)


def is_bounded(pod: Pod) -> bool:
    """Whether there is anything to measure."""
    return any(_limited_volumes(pod)) or any(
        _EPHEMERAL in one.resources.limits for one in pods.all_containers(pod.spec)
    )


def excess(pod: Pod, usage: Usage) -> str:
    """The limit that the pod is over, in upstream's words; empty where it keeps to all of them."""
    for name, limit in _limited_volumes(pod).items():
        if usage.volumes.get(name, 0) > quantity.value(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    total = pods.limits(pod).get(_EPHEMERAL, 0)
    if total and sum(usage.volumes.values()) + sum(usage.containers.values()) > total:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {_written(total)}. "
    for one in pods.all_containers(pod.spec):
        limit = one.resources.limits.get(_EPHEMERAL, "")
        if limit and usage.containers.get(one.name, 0) > quantity.value(limit):
            return f'Container {one.name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


async def measure(
    pod: Pod, observed: PodRuntime, runtime: ContainerRuntime, volumes: PodVolumes, config: KubeletConfig
) -> Usage:
    """What the pod has on disk now."""
    meta = pod.metadata
    logs = config.pod_log_directory(meta.namespace, meta.name, meta.uid)
    containers: dict[str, int] = {}
    for one in observed.running:
        name = one.container.name
        try:
            layer = (await runtime.container_stats(one.container.id)).writable_layer_bytes
        except ContainerRuntimeError:
            # It has just ended.
            layer = 0
        containers[name] = layer + await asyncio.to_thread(_size, logs / name)
    directories = {
        volume.name: volumes.pod_directory(meta.uid) / "volumes" / "kubernetes.io~empty-dir" / volume.name
        for volume in pod.spec.volumes
        if volume.empty_dir is not None and volume.empty_dir.medium == ""
    }
    return Usage({name: await asyncio.to_thread(_size, path) for name, path in directories.items()}, containers)


def _limited_volumes(pod: Pod) -> Mapping[str, str]:
    return {
        volume.name: volume.empty_dir.size_limit
        for volume in pod.spec.volumes
        if volume.empty_dir is not None and volume.empty_dir.medium == "" and volume.empty_dir.size_limit
    }


def _written(size_bytes: int) -> str:
    return str(quantity.of(size_bytes, quantity.Format.BINARY_SI))


def _size(directory: Path) -> int:
    """Bytes on disk below a directory; files with several names count once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for root, names, files in os.walk(directory):
        for name in (*names, *files):
            try:
                found = os.lstat(os.path.join(root, name))
            except OSError:
                # It went while we looked.
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total
