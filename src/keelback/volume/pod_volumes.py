"""All volumes of a pod: set up until they are as desired, torn down when it is gone; and the subpaths of its mounts."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keelback.api import pods
from keelback.api.core_v1 import Container, EphemeralContainer, Pod, Volume
from keelback.volume.mounts import Mounter, remove_tree
from keelback.volume.protocol import VolumeError, VolumeType

_MAX_AT_ONCE = 4
_MAX_READ_BYTES = 1 << 20


class SetUpFailed(VolumeError):
    """One volume could not be set up."""

    def __init__(self, volume: str, reason: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {reason}')
        self.volume = volume


@dataclass(frozen=True, slots=True)
class PodVolumes:
    """Volumes below `<root>/pods/<uid>/volumes`, as upstream lays them out."""

    root: Path
    types: Sequence[VolumeType]
    mounter: Mounter

    def pod_directory(self, uid: str) -> Path:
        """Where everything of one pod is kept."""
        return self.root / "pods" / uid

    async def set_up(self, pod: Pod) -> Mapping[str, Path]:
        """Bring all volumes up to date: where each one's contents are. Raises SetUpFailed for the first that fails."""
        used = _used(pod)
        room = asyncio.Semaphore(_MAX_AT_ONCE)

        async def one(volume: Volume) -> Path:
            async with room:
                return await self._set_up(volume, pod)

        wanted = [volume for volume in pod.spec.volumes if volume.name in used]
        results = await asyncio.gather(*(one(volume) for volume in wanted), return_exceptions=True)
        paths = {}
        for volume, result in zip(wanted, results, strict=True):
            if isinstance(result, BaseException):
                if isinstance(result, VolumeError | OSError | TimeoutError) or hasattr(result, "status"):
                    raise SetUpFailed(volume.name, str(result)) from result
                raise result
            paths[volume.name] = result
        return paths

    async def tear_down(self, uid: str) -> None:
        """Unmount and remove everything of the pod. Raises OSError where something is still in the way."""
        directory = self.pod_directory(uid)
        if directory.exists():
            await asyncio.to_thread(remove_tree, directory, self.mounter)

    def known_uids(self) -> tuple[str, ...]:
        """The pods of which something is left on disk."""
        directory = self.root / "pods"
        return tuple(sorted(os.listdir(directory))) if directory.is_dir() else ()

    async def _set_up(self, volume: Volume, pod: Pod) -> Path:
        for kind in self.types:
            if kind.handles(volume):
                directory = kind.name.replace("/", "~")
                path = self.pod_directory(pod.metadata.uid) / "volumes" / directory / volume.name
                return await kind.set_up(volume, pod, path)
        raise VolumeError("no volume plugin matched")

    def sub_path(self, pod: Pod, volume: str, contents: Path, sub_path: str, container: str, index: int) -> Path:
        """A place that shows `sub_path` of a volume and cannot be led out of it. Raises VolumeError, OSError."""
        parts = Path(sub_path).parts
        if Path(sub_path).is_absolute():
            raise VolumeError(f"error SubPath `{sub_path}` must not be an absolute path")
        if ".." in parts:
            raise VolumeError(f"unable to provision SubPath `{sub_path}`: must not contain '..'")
        target = self.pod_directory(pod.metadata.uid) / "volume-subpaths" / volume / container / str(index)
        if target in self.mounter.mounted_below(target):
            self.mounter.unmount(target)
        descriptor = _open_within(contents, parts)
        try:
            is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_directory:
                target.mkdir(exist_ok=True)
            else:
                target.touch()
            # Through the descriptor: what was checked is what is bound, whatever the path says by now.
            self.mounter.bind(f"/proc/self/fd/{descriptor}", target)
        finally:
            os.close(descriptor)
        return target


def read_within(root: Path, path: str) -> bytes:
    """A file of a volume, which links must not lead out of it. Raises FileNotFoundError, OSError, VolumeError."""
    parts = Path(path).parts
    if Path(path).is_absolute() or ".." in parts:
        raise VolumeError(f"path {path!r} must be relative and must not contain '..'")
    real_root = Path(os.path.realpath(root))
    real = Path(os.path.realpath(real_root.joinpath(*parts)))
    if not real.is_relative_to(real_root):
        raise VolumeError(f"path {path!r} leads out of the volume")
    # Not through a link that was put there meanwhile, and not into a pipe that nobody writes to.
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not Path(os.readlink(f"/proc/self/fd/{file.fileno()}")).is_relative_to(real_root):
            raise VolumeError(f"path {path!r} leads out of the volume")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise VolumeError(f"path {path!r} is not a file")
        return file.read(_MAX_READ_BYTES)


def _used(pod: Pod) -> frozenset[str]:
    every: tuple[Container | EphemeralContainer, ...] = (
        *pods.all_containers(pod.spec),
        *pod.spec.ephemeral_containers,
    )
    mounted = [mount.name for one in every for mount in one.volume_mounts]
    sources = [variable.value_from for one in every for variable in one.env if variable.value_from is not None]
    return frozenset((*mounted, *(source.file_key_ref.volume_name for source in sources if source.file_key_ref)))


def _open_within(root: Path, parts: Sequence[str]) -> int:
    """A descriptor of the path below `root`; links may lead about within it, not out. Missing directories are made."""
    real_root = Path(os.path.realpath(root))
    path = real_root.joinpath(*parts)
    if not Path(os.path.realpath(path)).is_relative_to(real_root):
        raise VolumeError(f"subpath {str(Path(*parts))!r} not within volume path {str(root)!r}".replace("'", '"'))
    if not path.exists():
        mode = stat.S_IMODE(real_root.stat().st_mode) & 0o777
        made = real_root
        for part in parts:
            made = made / part
            if not made.exists():
                made.mkdir()
                made.chmod(mode or 0o750)
    descriptor = os.open(os.path.realpath(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    actual = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    if not actual.is_relative_to(real_root):
        os.close(descriptor)
        raise VolumeError(f"subpath {str(Path(*parts))!r} not within volume path {str(root)!r}".replace("'", '"'))
    return descriptor
