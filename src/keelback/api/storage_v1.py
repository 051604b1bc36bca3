"""The types of storage/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.api.core_v1 import PersistentVolumeSpec, TopologySelectorTerm
from keelback.apimachinery.meta import (
    Atomic,
    LabelSelector,
    ListMap,
    ListSet,
    Object,
    Quantity,
    Time,
    Value,
    kind,
    written,
    written_as,
)


class CSIDriverSpec(Value):
    attach_required: bool = written(True)
    fs_group_policy: str = written("ReadWriteOnceWithFSType")
    node_allocatable_update_period_seconds: int | None = None
    pod_info_on_mount: bool = written(False)
    prevent_pod_scheduling_if_missing: bool | None = None
    requires_republish: bool = written(False)
    se_linux_mount: bool = written(False)
    service_account_token_in_secrets: bool | None = None
    storage_capacity: bool = written(False)
    token_requests: tuple[TokenRequest, ...] = ()
    volume_lifecycle_modes: Annotated[tuple[str, ...], ListSet()] = written(("Persistent",))


@kind("storage.k8s.io/v1", "csidrivers", namespaced=False)
class CSIDriver(Object):
    spec: CSIDriverSpec = written(CSIDriverSpec())


class CSINodeSpec(Value):
    drivers: Annotated[tuple[CSINodeDriver, ...] | None, ListMap("name", merge_key="name")] = written(None)


@kind("storage.k8s.io/v1", "csinodes", namespaced=False)
class CSINode(Object):
    spec: CSINodeSpec = written(CSINodeSpec())


class CSINodeDriver(Value):
    allocatable: VolumeNodeResources | None = None
    name: str = written("")
    node_id: str = written_as("nodeID", "")
    topology_keys: tuple[str, ...] | None = written(None)


@kind("storage.k8s.io/v1", "csistoragecapacities")
class CSIStorageCapacity(Object):
    capacity: Quantity | None = None
    maximum_volume_size: Quantity | None = None
    node_topology: Annotated[LabelSelector | None, Atomic()] = None
    storage_class_name: str = written("")


@kind("storage.k8s.io/v1", "storageclasses", namespaced=False, short_names=("sc",))
class StorageClass(Object):
    allow_volume_expansion: bool | None = None
    allowed_topologies: tuple[TopologySelectorTerm, ...] = ()
    mount_options: tuple[str, ...] = ()
    parameters: Mapping[str, str] = {}
    provisioner: str = written("")
    reclaim_policy: str = written("Delete")
    volume_binding_mode: str = written("Immediate")


class TokenRequest(Value):
    audience: str = written("")
    expiration_seconds: int | None = None


class VolumeAttachmentSource(Value):
    inline_volume_spec: PersistentVolumeSpec | None = None
    persistent_volume_name: str | None = None


class VolumeAttachmentSpec(Value):
    attacher: str = written("")
    node_name: str = written("")
    source: VolumeAttachmentSource = written(VolumeAttachmentSource())


class VolumeAttachmentStatus(Value):
    attach_error: VolumeError | None = None
    attached: bool = written(False)
    attachment_metadata: Mapping[str, str] = {}
    detach_error: VolumeError | None = None


@kind("storage.k8s.io/v1", "volumeattachments", namespaced=False)
class VolumeAttachment(Object):
    spec: VolumeAttachmentSpec = written(VolumeAttachmentSpec())
    status: VolumeAttachmentStatus = written(VolumeAttachmentStatus())


@kind("storage.k8s.io/v1", "volumeattributesclasses", namespaced=False, short_names=("vac",))
class VolumeAttributesClass(Object):
    driver_name: str = written("")
    parameters: Mapping[str, str] = {}


class VolumeError(Value):
    error_code: int | None = None
    message: str = ""
    time: Time | None = written(None)


class VolumeNodeResources(Value):
    count: int | None = None
