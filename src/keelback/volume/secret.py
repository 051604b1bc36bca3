"""secret volumes: the keys of a Secret as files in memory, kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keelback.api.core_v1 import KeyToPath, Pod, Secret, Volume
from keelback.apimachinery.errors import NotFound
from keelback.concurrency.clock import Clock
from keelback.volume.atomic_writer import File
from keelback.volume.mounts import Mounter
from keelback.volume.protocol import Reader, VolumeError
from keelback.volume.written import selected, show


async def projected_files(
    reader: Reader, namespace: str, name: str, items: Sequence[KeyToPath], default_mode: int, *, optional: bool
) -> dict[str, File]:
    """The files of a Secret; none where it is optional and does not exist. Raises VolumeError."""
    try:
        secret = await reader.get(Secret, name, namespace)
    except NotFound as error:
        if optional:
            return {}
        raise VolumeError(f'secret "{name}" not found') from error
    return selected(secret.data, items, default_mode, optional=optional, what="secret")


@dataclass(frozen=True, slots=True)
class SecretVolume:
    reader: Reader
    mounter: Mounter
    clock: Clock
    name: str = "kubernetes.io/secret"

    def handles(self, volume: Volume) -> bool:
        return volume.secret is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        source = volume.secret
        assert source is not None
        files = await projected_files(
            self.reader,
            pod.metadata.namespace,
            source.secret_name,
            source.items,
            source.default_mode,
            optional=bool(source.optional),
        )
        return await show(files, pod, path, self.mounter, self.clock, in_memory=True)
