"""hostPath volumes: a path of the node, checked against what the pod says it is."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keelback.api.core_v1 import HostPathVolumeSource, Pod, Volume
from keelback.volume.protocol import VolumeError

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


@dataclass(frozen=True, slots=True)
class HostPathVolume:
    name: str = "kubernetes.io/host-path"

    def handles(self, volume: Volume) -> bool:
        return volume.host_path is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        assert volume.host_path is not None
        return await asyncio.to_thread(check, volume.host_path)


def check(source: HostPathVolumeSource) -> Path:
    """The path, made where its type says so. Raises VolumeError where it is not what it should be."""
    path = Path(source.path)
    if not source.type:
        return path
    if source.type not in _CHECKS:
        raise VolumeError(f"hostPath type {source.type} is not known")
    if source.type == "DirectoryOrCreate" and not path.exists():
        path.mkdir(parents=True, mode=0o755)
    if source.type == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    is_right, what = _CHECKS[source.type]
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise VolumeError(f"hostPath type check failed: {path} is not {what}") from error
    if not is_right(mode):
        raise VolumeError(f"hostPath type check failed: {path} is not {what}")
    return path
