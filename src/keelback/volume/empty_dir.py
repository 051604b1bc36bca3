"""emptyDir volumes: a directory that lives as long as the pod, on disk or in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from keelback.api.core_v1 import Pod, Volume
from keelback.apimachinery import quantity
from keelback.volume.mounts import Mounter
from keelback.volume.ownership import apply_fs_group, has_fs_group
from keelback.volume.protocol import VolumeError


@dataclass(frozen=True, slots=True)
class EmptyDirVolume:
    mounter: Mounter
    name: str = "kubernetes.io/empty-dir"

    def handles(self, volume: Volume) -> bool:
        return volume.empty_dir is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        source = volume.empty_dir
        assert source is not None
        if source.medium not in ("", "Memory"):
            raise VolumeError(f"unknown storage medium {source.medium!r}: this node has no huge pages")
        limit = quantity.value(source.size_limit) if source.size_limit else 0

        def work() -> None:
            ready = path.with_name(f"{path.name}.ready")
            if ready.exists() and (source.medium != "Memory" or self.mounter.mounted_below(path)):
                return
            path.mkdir(parents=True, exist_ok=True)
            if source.medium == "Memory":
                self.mounter.tmpfs(path, limit)
            path.chmod(0o777)
            group = pod.spec.security_context.fs_group
            if group is not None and not has_fs_group(path, group):
                apply_fs_group(path, group)
            # What the pod has made of it since must survive a restart of the kubelet.
            ready.touch()

        await asyncio.to_thread(work)
        return path
