"""The volume types that this node has. The list is the registration."""

from __future__ import annotations

from keelback.concurrency.clock import Clock
from keelback.volume.config_map import ConfigMapVolume
from keelback.volume.downward_api import DownwardAPIVolume
from keelback.volume.empty_dir import EmptyDirVolume
from keelback.volume.host_path import HostPathVolume
from keelback.volume.image import ImageLayers, ImageVolume
from keelback.volume.mounts import Mounter
from keelback.volume.persistent_volume_claim import PersistentVolumeClaimVolume
from keelback.volume.projected import ProjectedVolume
from keelback.volume.protocol import NodeFacts, Reader, Tokens, VolumeType
from keelback.volume.secret import SecretVolume


def builtin(
    reader: Reader, tokens: Tokens, node: NodeFacts, mounter: Mounter, clock: Clock, images: ImageLayers
) -> tuple[VolumeType, ...]:
    """All types, in the order in which they are asked."""
    return (
        ConfigMapVolume(reader, mounter, clock),
        SecretVolume(reader, mounter, clock),
        EmptyDirVolume(mounter),
        HostPathVolume(),
        DownwardAPIVolume(node, mounter, clock),
        ProjectedVolume(reader, tokens, node, mounter, clock),
        PersistentVolumeClaimVolume(reader),
        ImageVolume(images, mounter),
    )
