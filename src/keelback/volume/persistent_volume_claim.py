"""persistentVolumeClaim and ephemeral volumes, for claims bound to hostPath and local persistent volumes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from keelback.api.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod, Volume
from keelback.apimachinery.errors import NotFound
from keelback.volume import host_path
from keelback.volume.ownership import apply_fs_group, has_fs_group
from keelback.volume.protocol import Reader, VolumeError


@dataclass(frozen=True, slots=True)
class PersistentVolumeClaimVolume:
    reader: Reader
    name: str = "kubernetes.io/persistent-claim"

    def handles(self, volume: Volume) -> bool:
        return volume.persistent_volume_claim is not None or volume.ephemeral is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        if volume.persistent_volume_claim is not None:
            claim_name = volume.persistent_volume_claim.claim_name
        else:
            claim_name = f"{pod.metadata.name}-{volume.name}"
        claim = await self._claim(claim_name, pod, owned=volume.ephemeral is not None)
        if claim.spec.volume_mode == "Block":
            raise VolumeError(f"claim {claim_name} is a block volume, which this node does not support")
        try:
            persistent = await self.reader.get(PersistentVolume, claim.spec.volume_name)
        except NotFound as error:
            raise VolumeError(f'persistentvolume "{claim.spec.volume_name}" not found') from error
        source = await self._contents(persistent)
        group = pod.spec.security_context.fs_group
        if group is not None and persistent.spec.local is not None:
            policy = pod.spec.security_context.fs_group_change_policy
            if policy != "OnRootMismatch" or not has_fs_group(source, group):
                await asyncio.to_thread(apply_fs_group, source, group)
        return source

    async def _claim(self, name: str, pod: Pod, *, owned: bool) -> PersistentVolumeClaim:
        try:
            claim = await self.reader.get(PersistentVolumeClaim, name, pod.metadata.namespace)
        except NotFound as error:
            raise VolumeError(f'persistentvolumeclaim "{name}" not found') from error
        if owned and all(owner.uid != pod.metadata.uid for owner in claim.metadata.owner_references):
            raise VolumeError(f"PVC {pod.metadata.namespace}/{name} was not created for pod {pod.metadata.name}")
        if claim.metadata.deletion_timestamp is not None:
            raise VolumeError(f"can't start pod because PVC {pod.metadata.namespace}/{name} is being deleted")
        if claim.status.phase != "Bound" or not claim.spec.volume_name:
            raise VolumeError(f"PVC {pod.metadata.namespace}/{name} is not bound")
        return claim

    async def _contents(self, persistent: PersistentVolume) -> Path:
        spec = persistent.spec
        if spec.host_path is not None:
            return await asyncio.to_thread(host_path.check, spec.host_path)
        if spec.local is not None:
            path = Path(spec.local.path)
            if not await asyncio.to_thread(path.exists):
                raise VolumeError(f'path "{path}" does not exist')
            return path
        name = persistent.metadata.name
        raise VolumeError(f"no volume plugin matched: this node does not support the type of persistent volume {name}")
