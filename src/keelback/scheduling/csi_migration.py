"""In-tree volumes as the CSI driver knows them that has taken over from their plugin: (plugin, driver, handle)."""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

from keelback.api.core_v1 import AWSElasticBlockStoreVolumeSource, AzureDiskVolumeSource, GCEPersistentDiskVolumeSource

MIGRATED_ANNOTATION: Final = "storage.alpha.kubernetes.io/migrated-plugins"
"""On a CSINode: the in-tree plugins whose volumes its drivers attach, by name and separated by commas."""

InTree: TypeAlias = tuple[str, str, str]


class _WithVolumeId(Protocol):
    @property
    def volume_id(self) -> str: ...


class Sources(Protocol):
    """A volume of a pod, or the spec of a PersistentVolume."""

    @property
    def aws_elastic_block_store(self) -> AWSElasticBlockStoreVolumeSource | None: ...

    @property
    def azure_disk(self) -> AzureDiskVolumeSource | None: ...

    @property
    def cinder(self) -> _WithVolumeId | None: ...

    @property
    def gce_persistent_disk(self) -> GCEPersistentDiskVolumeSource | None: ...


def translated(volume: Sources) -> InTree | None:
    """None for a volume of another kind."""
    if (ebs := volume.aws_elastic_block_store) is not None:
        return "kubernetes.io/aws-ebs", "ebs.csi.aws.com", ebs.volume_id
    if (disk := volume.gce_persistent_disk) is not None:
        handle = f"projects/UNSPECIFIED/zones/UNSPECIFIED/disks/{disk.pd_name}"
        return "kubernetes.io/gce-pd", "pd.csi.storage.gke.io", handle
    if (azure := volume.azure_disk) is not None:
        return "kubernetes.io/azure-disk", "disk.csi.azure.com", azure.disk_uri
    if (cinder := volume.cinder) is not None:
        return "kubernetes.io/cinder", "cinder.csi.openstack.org", cinder.volume_id
    return None
