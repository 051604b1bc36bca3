"""image volumes (KEP-4639): the files of an image or artifact, read-only, pulled as a container's image is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keelback.api.core_v1 import Pod, Volume
from keelback.volume.mounts import Mounter


class ImageLayers(Protocol):
    """Gets images onto the node."""

    async def layers(self, pod: Pod, reference: str, pull_policy: str, *, is_mounted: bool) -> Sequence[str]:
        """The directories of the image's layers, topmost first. One that is mounted already is not pulled again.

        Raises VolumeError.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImageVolume:
    images: ImageLayers
    mounter: Mounter
    name: str = "kubernetes.io/image"

    def handles(self, volume: Volume) -> bool:
        return volume.image is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        source = volume.image
        assert source is not None
        is_mounted = path in await asyncio.to_thread(self.mounter.mounted_below, path)
        layers = await self.images.layers(pod, source.reference, source.pull_policy, is_mounted=is_mounted)

        def work() -> None:
            path.mkdir(parents=True, exist_ok=True)
            self.mounter.layers(layers, path)

        if not is_mounted:
            await asyncio.to_thread(work)
        return path
