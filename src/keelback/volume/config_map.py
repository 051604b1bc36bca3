"""configMap volumes: the keys of a ConfigMap as files, kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keelback.api.core_v1 import ConfigMap, KeyToPath, Pod, Volume
from keelback.apimachinery.errors import NotFound
from keelback.concurrency.clock import Clock
from keelback.volume.atomic_writer import File
from keelback.volume.mounts import Mounter
from keelback.volume.protocol import Reader, VolumeError
from keelback.volume.written import selected, show


async def projected_files(
    reader: Reader, namespace: str, name: str, items: Sequence[KeyToPath], default_mode: int, *, optional: bool
) -> dict[str, File]:
    """The files of a ConfigMap; none where it is optional and does not exist. Raises VolumeError."""
    try:
        config_map = await reader.get(ConfigMap, name, namespace)
    except NotFound as error:
        if optional:
            return {}
        raise VolumeError(f'configmap "{name}" not found') from error
    data = {key: text.encode() for key, text in config_map.data.items()} | dict(config_map.binary_data)
    return selected(data, items, default_mode, optional=optional, what="config")


@dataclass(frozen=True, slots=True)
class ConfigMapVolume:
    reader: Reader
    mounter: Mounter
    clock: Clock
    name: str = "kubernetes.io/configmap"

    def handles(self, volume: Volume) -> bool:
        return volume.config_map is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        source = volume.config_map
        assert source is not None
        files = await projected_files(
            self.reader,
            pod.metadata.namespace,
            source.name,
            source.items,
            source.default_mode,
            optional=bool(source.optional),
        )
        return await show(files, pod, path, self.mounter, self.clock, in_memory=False)
